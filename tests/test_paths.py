import importlib.util
import shutil
from pathlib import Path

import pytest

from vlms import _paths


def test_the_data_folder_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (_paths.data_dir() / "paper.json").is_file()


def installed(folder: Path):
    """`_paths` as it is after `pip install .`, with whatever lies beside it."""
    package = folder / "site-packages" / "dualmech"
    package.mkdir(parents=True)
    spec = importlib.util.spec_from_file_location(
        "installed_paths", shutil.copy(_paths.__file__, package)
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_s_own_data_comes_first(tmp_path):
    module = installed(tmp_path)
    (tmp_path / "data").mkdir()
    assert module.data_dir() == tmp_path / "data"
    (tmp_path / "site-packages/dualmech/data").mkdir()
    assert module.data_dir() == tmp_path / "site-packages/dualmech/data"


def test_no_data_is_one_line_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="pip install") as error:
        installed(tmp_path).data_dir()
    assert "\n" not in str(error.value)
