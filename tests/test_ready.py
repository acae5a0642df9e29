"""The lock, and the environment that is made of it."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bookbuild import ready

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()


def test_every_package_but_torch_is_installed_by_hash_from_any_index():
    hashed, free = ready.split(LOCK)
    assert re.fullmatch(r"torch==[\d.]+\n", free)
    for line in hashed.splitlines():
        assert re.fullmatch(r"\S+==\S+( ;.+?)?( --hash=sha256:[0-9a-f]{64})+", line), line
    assert "://" not in LOCK and "index-url" not in LOCK.replace("--no-emit-index-url", "")


def test_the_lock_is_what_the_project_asks_for_and_what_runs_here():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = "".join(ready.split(LOCK)).splitlines()
    locked = dict(re.split(r" --hash| ;", line)[0].strip().split("==") for line in lines)
    for name, version in locked.items():
        assert metadata.version(name).partition("+")[0] == version, name
    there = {canonicalize_name(name): version for name, version in locked.items()}
    asked = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    for requirement in map(Requirement, asked):
        version = there[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}"


def test_two_at_once_make_one_environment_and_another_lock_another(tmp_path):
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (tmp_path / "pyproject.toml").write_text(build)
    (tmp_path / "requirements.lock").write_text("# nothing\n")
    (tmp_path / "backend.py").write_text(BACKEND)
    command = [sys.executable, ready.__file__, ".venv"]
    how = {"cwd": tmp_path, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **how) for _ in "ab"]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "Preparing .venv (once, some minutes)\n"]
    again = subprocess.run(command, **how)
    assert (again.returncode, again.stdout) == (0, "")
    (tmp_path / "requirements.lock").write_text("another lock, which is none\n")
    again = subprocess.run(command, **how, stderr=subprocess.PIPE)
    assert again.returncode == 1 and "Preparing" in again.stdout
    assert ".venv could not be made: " in again.stderr


BACKEND = """
import zipfile
PARTS = {
    "METADATA": "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n",
    "WHEEL": "Wheel-Version: 1.0\\nTag: py3-none-any\\n",
    "RECORD": "",
}
def build_editable(folder, *_):
    name = "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for part, text in PARTS.items():
            wheel.writestr(f"toy-1.0.dist-info/{part}", text)
    return name
"""


def test_an_old_python_is_told_which_to_take(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    with pytest.raises(SystemExit, match="3.11, 3.12 or 3.13 is needed, and this is 3.9. Try"):
        ready.check_python()
