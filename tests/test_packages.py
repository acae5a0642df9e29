"""Who imports whom: arrows point at dualmech, its own at vlms, and no circle closes."""

import ast
import inspect
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dualmech

LIB = Path(__file__).parents[1] / "lib"
PACKAGES = sorted(p.name for p in LIB.iterdir() if p.is_dir() and any(p.glob("*.py")))


def imported(path: Path, everywhere: bool) -> set[str]:
    """Modules that a file imports, ".name" for those beside it; everywhere: in functions, too."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found |= {f".{node.module or alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_an_arrow_goes_one_way(package):
    files = (LIB / package).rglob("*.py")
    found = {name.split(".")[0] for path in files for name in imported(path, everywhere=True)}
    allowed = {"bookbuild": set(PACKAGES), "vlms": {"vlms"}, "dualmech": {"vlms", "dualmech"}}
    assert found & set(PACKAGES) <= allowed.get(package, {"vlms", "dualmech", package})
    assert not found & {"tests", "tiny", "conftest"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_closes(package):
    graph = {
        path.stem: {name[1:] for name in imported(path, everywhere=False) if name[0] == "."}
        for path in (LIB / package).glob("*.py")
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_dir_shows_a_reader_what_there_is():
    files = {path.stem for path in (LIB / "dualmech").glob("*.py") if path.stem[0] != "_"}
    shown = {name: getattr(dualmech, name) for name in dir(dualmech)}
    assert files == {name for name, one in shown.items() if inspect.ismodule(one)}
    assert all(one.__doc__ for one in shown.values())
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dualmech.nothing
