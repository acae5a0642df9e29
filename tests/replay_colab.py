"""Run chapters as Colab would: among Colab's packages, in an empty folder, set-up cell and all.

    python tests/replay_colab.py chapters/00-start-here.ipynb ...     # `make colab` replays all

The cells run as they are written; the set-up cell, the same in all, installs in the first chapter.
Only git is told to clone this checkout where the cell names the book's address.  Fails if a chapter
fails, or if a package that was there has changed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
# What Colab has of the packages that the book meets, as in `pip-freeze.gpu.txt` of 2026-08-19 in
# https://github.com/googlecolab/backend-info (Python 3.13 there, and torch 2.11.0 for CUDA).
COLAB = """
accelerate==1.14.0 beartype==0.22.9 datasets==4.0.0 einops==0.8.2 fsspec==2025.3.0
huggingface_hub==1.27.0 ipykernel==6.17.1 ipython==7.34.0 ipywidgets==7.7.1 jsonschema==4.26.0
jupyter_client==7.4.9 matplotlib==3.10.0 numpy==2.1.3 packaging==26.3 pandas==2.2.3 pillow==11.3.0
protobuf==5.29.6 psutil==5.9.5 pyarrow==18.1.0 rich==13.9.4 safetensors==0.8.0 scipy==1.16.3
sentencepiece==0.2.2 tokenizers==0.22.2 torch==2.11.0 tornado==6.5.7 tqdm==4.67.3 traitlets==5.7.1
transformers==5.15.0 typeguard==4.6.0 wandb==0.28.1
""".split()
PIP = "pip==24.1.2"


def pip(python: Path, *args: str) -> str:
    command = [str(python), "-m", "pip", *args]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def packages(python: Path) -> dict[str, str]:
    lines = pip(python, "list", "--format=freeze").split()
    return dict(line.split("==") for line in lines)


def pins() -> list[str]:
    """Colab's versions, and the locked torch: Colab's own is several gigabytes of CUDA."""
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    torch = next(line for line in locked if line.startswith("torch=="))
    return [torch if pin.startswith("torch==") else pin for pin in COLAB]


def environment() -> tuple[Path, dict[str, str]]:
    """A Python with Colab's packages and nothing else, made once; and what is in it."""
    folder = ROOT / "_build" / "colab" / f"{zlib.crc32(repr((PIP, pins())).encode()):08x}"
    python, listing = folder / "bin" / "python", folder / "packages.json"
    if not listing.exists():
        print(f"Preparing {folder} (once, some minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip(python, "install", "--quiet", PIP)
        pip(python, "install", "--quiet", *pins())
        listing.write_text(json.dumps(packages(python)))
    return python, json.loads(listing.read_text())


def snapshot(folder: Path) -> Path:
    """The checkout as it is now, committed in a repository of its own, so that pip can clone it."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    who = ["-c", "user.name=replay", "-c", "user.email=replay@localhost"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        [*who, "commit", "-q", "-m", "replay"],
        ["tag", f"v{version}"],  # which the cell installs
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def replay(chapter: Path, python: Path, before: dict[str, str], clone: Path, work: Path) -> str:
    """What is wrong after the chapter has run in the empty folder `work`; "" if nothing is."""
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    kernel = work.with_name("jupyter") / "kernels" / "colab" / "kernel.json"
    kernel.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "colab", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(kernel.parents[2])
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DUALMECH"))}
    env |= {
        "DUALMECH_CACHE": str(work.with_name("cache")),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
    }
    notebook = nbformat.read(chapter, 4)
    place = {"metadata": {"path": str(work)}}
    began = time.perf_counter()
    try:
        NotebookClient(notebook, timeout=600, kernel_name="colab", resources=place).execute(env=env)
    except CellExecutionError as error:
        return str(error)
    after = packages(python)
    changed = [f"{n} {v} is now {after.get(n)}" for n, v in before.items() if after.get(n) != v]
    added = ", ".join(f"{n} {v}" for n, v in sorted(after.items()) if n not in before)
    kept = len(before) - len(changed)
    print(f"  {time.perf_counter() - began:.0f} s; kept {kept} packages; added {added}", flush=True)
    print(*(f"  | {line}" for line in shown(notebook)), sep="\n", flush=True)
    return "; ".join(changed)


def shown(notebook) -> list[str]:
    """What a reader sees below the set-up cell."""
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    data = [out.data for out in cell.outputs if "data" in out]
    streams = [out.text for out in cell.outputs if "text" in out]
    texts = [d.get("text/markdown", d.get("text/plain", "")) for d in data]
    return "\n".join([*streams, *texts]).splitlines()


def main(chapters: list[str]) -> int:
    python, before = environment()
    extra = packages(python).keys() - before.keys()
    if extra:  # of an earlier replay; below, the first chapter installs for all
        pip(python, "uninstall", "--quiet", "--yes", *extra)
    failed = [chapter for chapter in chapters if not passes(Path(chapter), python, before)]
    return 1 if failed else 0


def passes(chapter: Path, python: Path, before: dict[str, str]) -> bool:
    print(chapter, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clone, work = Path(folder) / "book", Path(folder) / "content"
        clone.mkdir(), work.mkdir()
        wrong = replay(chapter, python, before, snapshot(clone), work)
    if wrong:
        print(f"  FAILED: {wrong}", flush=True)
    return not wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
