"""The set-up cell of the chapters, and what it does on a machine such as Colab's."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from replay_colab import COLAB

from vlms import machine

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").rglob("*.ipynb"))
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP = f"""\
try:
    import dualmech as dm
except ImportError:  # on Colab, once: install the library, no more
    %pip install -q --no-deps git+{REPOSITORY["url"]}@v{PROJECT["version"]}
    import dualmech as dm
dm.machine.ready()  # adds what is missing, changes nothing else
"""


# --- one address, one cell ---------------------------------------------------------------


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_sets_up_in_its_first_cell_and_only_there(path):
    first, *rest = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    assert SETUP in first, f"{path.name} has another set-up cell:\n{first}"
    for source in rest:
        assert "pip install" not in source and "import dualmech as dm" not in source


# --- packages ----------------------------------------------------------------------------


def test_on_colab_only_two_packages_are_missing_and_none_is_out_of_range():
    there = {name.replace("_", "-"): version for name, version in (p.split("==") for p in COLAB)}
    there["torch"] += "+cu128"
    missing, wrong = machine.compare(PROJECT["dependencies"], there)
    assert [Requirement(line).name for line in missing] == ["transformer-lens", "jaxtyping"]
    assert wrong == []
    _, wrong = machine.compare(PROJECT["dependencies"], there | {"transformers": "5.0.0"})
    assert len(wrong) == 1 and wrong[0].startswith("transformers 5.0.0 is here")


def test_compare_minds_markers_extras_and_spellings():
    asked = ["Hugging_Face.Hub>=1", "old; python_version < '3'", "book; extra == 'book'", "pre>1"]
    assert machine.compare(asked, {"hugging-face-hub": "1.0+local", "pre": "2.0rc1"}) == ([], [])
    missing, wrong = machine.compare(asked, {"hugging-face-hub": "0.9"})
    assert missing == ["pre>1"]
    assert wrong == ["Hugging_Face.Hub 0.9 is here and the book needs Hugging_Face.Hub>=1"]


def test_an_installed_package_out_of_range_stops_the_set_up_before_pip(monkeypatch):
    monkeypatch.setattr(machine, "needs", lambda: ["numpy>=99", "no-such-package-of-the-book"])
    with pytest.raises(machine.SetupError, match="^numpy .* needs numpy>=99.*restart") as error:
        machine.ready()
    assert "\n" not in str(error.value)


def wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """A package without code."""
    info = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", about)
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_pip_adds_what_is_missing_and_may_not_replace_what_is_there(tmp_path, monkeypatch):
    pytest.importorskip("pip")
    wheel(tmp_path, "numpy", "99.0")
    wheel(tmp_path, "modest", "1.0", needs="numpy>=1")
    wheel(tmp_path, "greedy", "1.0", needs="numpy>=99")
    told = tmp_path / "report.json"
    how = {"NO_INDEX": "1", "FIND_LINKS": tmp_path, "DRY_RUN": "1", "REPORT": told}
    for option, value in how.items():
        monkeypatch.setenv(f"PIP_{option}", str(value))

    def added():
        return sorted(p["metadata"]["name"] for p in json.loads(told.read_text())["install"])

    machine.install(["modest"])
    assert added() == ["modest"]
    with pytest.raises(machine.SetupError, match="cannot add greedy.*ERROR") as error:
        machine.install(["greedy"])
    assert "\n" not in str(error.value)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "greedy"], check=True)
    assert added() == ["greedy", "numpy"], "without the constraints pip would have replaced numpy"


def test_the_module_needs_no_torch_to_begin_with():
    code = "import sys, vlms.machine; print({'torch', 'numpy', 'psutil'} & set(sys.modules))"
    path = {"PYTHONPATH": str(Path(machine.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | path, capture_output=True)
    assert done.stdout.decode().strip() == "set()", done.stderr.decode()


# --- memory and precision ----------------------------------------------------------------

T4, L4, A100 = (7, 5), (8, 9), (8, 0)


@pytest.mark.parametrize(
    ("billions", "free", "capability", "held"),
    [
        (0.0023, 8e9, None, "float32"),  # mini, on a laptop
        (2.2, 15.6e9, T4, "float32"),  # 8.8e9 bytes of weights: 9.68e9 needed
        (4.3, 15.6e9, T4, "float32"),  # 18.92e9 needed, and a T4 has no bfloat16
        (4.3, 23.6e9, L4, "float32"),
        (8.3, 23.6e9, L4, "bfloat16"),  # 36.52e9 in float32, 18.26e9 in bfloat16
        (12.7, 42e9, A100, "bfloat16"),
        (4.3, 12e9, None, "float32"),  # a CPU is not asked to imitate bfloat16
        (0.25, 1.1e9, A100, "float32"),  # exactly as much as there is
    ],
)
def test_precision(billions, free, capability, held):
    assert machine.precision(round(4e9 * billions), round(free), capability) == held


def test_the_line_of_a_machine(monkeypatch):
    there, gib = {"torch": "2.11.0+cu128", "transformers": "5.15.0"}, 2**30
    monkeypatch.setattr(machine, "free_memory", lambda device: 11 * gib)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.facts(there).endswith(
        ", torch 2.11.0+cu128, transformers 5.15.0, transformer-lens missing. "
        "No GPU, 11.0 GiB free: room for 2.7 billion parameters in float32."
    )
    monkeypatch.setattr(machine, "free_memory", lambda device: 44 * gib)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: A100)
    assert machine.facts(there).endswith(
        "NVIDIA A100, 44.0 GiB free: "
        "room for 10.7 billion parameters in float32, 21.5 billion in bfloat16."
    )


def test_this_machine_is_ready():
    machine.ready()  # nothing is missing here, so that nothing is installed
    assert 0 < machine.free_memory(torch.device("cpu"))
    assert machine.installed()["torch"] == torch.__version__
