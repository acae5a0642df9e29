"""Where the shipped models and the published figures are."""

from pathlib import Path


def data_dir() -> Path:
    """The folder with `mini`, `mini-local` and `paper.json`: in the wheel, or in the checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "data", package.parents[1] / "data"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no data folder at {package / 'data'} or {package.parents[1] / 'data'}: "
        "install the project again with `pip install .` from a full checkout"
    )
