"""One command moves the book to another address, another gives it a version."""

import subprocess

import nbformat
import pytest
import yaml
from test_sources import ROOT

from bookbuild import address, release

OLD = yaml.safe_load((ROOT / "_config.yml").read_text())


@pytest.fixture
def copy(tmp_path):
    """The book's tracked text files, as they are now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in (name for name in names.split("\0") if not name.startswith("tests/")):
        path = ROOT / name
        if path.suffix in {".yml", ".md", ".cff", ".toml", ".ipynb", ".py"} and path.is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(path.read_bytes())
    return tmp_path


def texts(folder) -> str:
    return "\n".join(p.read_text() for p in sorted(folder.rglob("*.*")) if p.is_file())


def test_every_mention_moves_and_nothing_else(copy):
    before = texts(copy)
    for wrong in (
        ["github.com/a/b"], ["https://gitlab.com/a/b"], ["https://github.com/a"],
        ["https://github.com/a/b c"], ["https://github.com/a/b", "ftp://x.org"],
        ["https://github.com/a/b", "https://x.org/a b"],
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is not an address like"):
            address.move(copy, *wrong)
    assert texts(copy) == before

    def addresses():
        config = yaml.safe_load((copy / "_config.yml").read_text())
        return config["repository"]["url"], config["html"]["baseurl"]

    url, pages = "https://github.com/some-lab/vlm.book", "https://some-lab.github.io/vlm.book/"
    address.move(copy, url)
    after = texts(copy)
    old = OLD["repository"]["url"].removeprefix("https://github.com/")
    assert f"github.com/{old}" not in after and f"/github/{old}/" not in after
    assert OLD["html"]["baseurl"] not in after and addresses() == (url, pages)
    back = after.replace("some-lab/vlm.book", old).replace(pages, OLD["html"]["baseurl"])
    assert back == before
    for chapter in (copy / "chapters").rglob("*.ipynb"):
        assert nbformat.read(chapter, 4).cells
    assert address.move(copy, f"{url}/") == []

    address.move(copy, "https://github.com/A/b.git", "https://example.org/vlm")
    assert addresses() == ("https://github.com/A/b", "https://example.org/vlm/")
    assert address.pages_of("https://github.com/A/a.github.io") == "https://a.github.io/"


def test_a_version_reaches_the_package_the_citation_and_every_set_up_cell(copy):
    for version in ("9.8.7", "10.0.0"):
        changed = release.number(copy, version)
        assert len(changed) == 3 + len(list((copy / "chapters").rglob("*.ipynb")))
        assert f'version = "{version}"' in (copy / "pyproject.toml").read_text()
        assert f"\nversion: {version}\n" in (copy / "CITATION.cff").read_text()
        assert f'__version__ = "{version}"' in (copy / "lib/dualmech/__init__.py").read_text()
        for chapter in (copy / "chapters").rglob("*.ipynb"):
            first = next(c for c in nbformat.read(chapter, 4).cells if c.cell_type == "code")
            assert f"git+{OLD['repository']['url']}@v{version}\n" in first.source
    with pytest.raises(ValueError, match="is not a version like"):
        release.number(copy, "v1")
