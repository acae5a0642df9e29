"""The build on a toy book: what runs again when what changes."""

import os

import nbformat
import pytest

from bookbuild import build

CODE = "from pathlib import Path\nprint('data says', Path({path!r}).read_text())"


@pytest.fixture
def book(tmp_path):
    for folder in ("chapters", "lib/dualmech", "data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "lib/dualmech/__init__.py").write_text("")
    (tmp_path / "data/number.txt").write_text("one")
    (tmp_path / "requirements.lock").write_text("torch==1\n")
    (tmp_path / "_config.yml").write_text(
        "only_build_toc_files: true\nexecute: {execute_notebooks: 'off'}\n"
    )
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/a\n")
    write(tmp_path, text="Old words.", code=CODE.format(path=str(tmp_path / "data/number.txt")))
    return tmp_path


def write(book, text=None, code=None):
    """Change the toy chapter's Markdown or code, and leave the rest of it as it is."""
    path = book / "chapters/a.ipynb"
    notebook = (
        nbformat.read(path, 4)
        if path.exists()
        else nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell(), nbformat.v4.new_code_cell()]
        )
    )
    if text:
        notebook.cells[0].source = f"# Toy\n\n{text}"
    if code:
        notebook.cells[1].source = code
    nbformat.write(notebook, path)


def digest(book) -> str:
    notebook = nbformat.read(book / "chapters/a.ipynb", 4)
    return build.digest(build.bare(notebook), build.fingerprints(book))


@pytest.mark.parametrize(
    "path",
    [
        "lib/dualmech/__init__.py",
        "lib/dualmech/new.py",
        "data/number.txt",
        "data/deep/er/model.bin",
        "requirements.lock",
    ],
)
def test_a_change_in_any_input_is_seen(book, path):
    before = digest(book)
    (book / path).parent.mkdir(parents=True, exist_ok=True)
    (book / path).write_text("changed")
    assert digest(book) != before


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("results/mini/strips.json", "dm.record.collect()"),
        ("bench/strips.json", "dm.record.benchmarks()"),
    ],
)
def test_kept_results_count_only_for_a_chapter_that_collects_them(book, name, call):
    path = book / "data" / name
    path.parent.mkdir(parents=True)
    for code, counts in (("1 + 1", False), (call, True), ("open('strips.json')", True)):
        write(book, code=code)
        path.write_text("old")
        before = digest(book)
        path.write_text("new")
        assert (digest(book) != before) == counts


def test_a_moved_or_deleted_input_is_seen(book):
    before = digest(book)
    (book / "data/number.txt").rename(book / "data/moved.txt")
    moved = digest(book)
    (book / "data/moved.txt").unlink()
    assert len({before, moved, digest(book)}) == 3


def test_code_and_its_tags_count_but_text_outputs_and_caches_do_not(book):
    before = digest(book)
    write(book, text="New words.")
    (book / "lib/dualmech/__pycache__").mkdir()
    (book / "lib/dualmech/__pycache__/x.pyc").write_text("cache")
    notebook = nbformat.read(book / "chapters/a.ipynb", 4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="left by a reader")]
    notebook.cells[1].execution_count = 7
    nbformat.write(notebook, book / "chapters/a.ipynb")
    assert digest(book) == before

    notebook.cells[1].metadata["tags"] = ["raises-exception"]
    nbformat.write(notebook, book / "chapters/a.ipynb")
    tagged = digest(book)
    write(book, code="print('other code')")
    assert len({before, tagged, digest(book)}) == 3


def test_pages_follow_data_and_text_and_only_data_runs_the_chapter(book):
    assert build.refresh(book) == ["a.ipynb"]
    page = build.build_html(book).with_name("chapters") / "a.html"
    assert "data says one" in page.read_text() and "Old words." in page.read_text()

    write(book, text="New words.")
    (book / "chapters/left-over.md").write_text("# Not for long")
    assert build.refresh(book) == []
    build.build_html(book)
    assert "data says one" in page.read_text() and "New words." in page.read_text()

    (book / "data/number.txt").write_text("two")
    (book / "chapters/left-over.md").unlink()
    assert build.refresh(book) == ["a.ipynb"]
    build.build_html(book)
    assert "data says two" in page.read_text() and "data says one" not in page.read_text()
    assert not (book / "_build/executed/chapters/left-over.md").exists()
    assert nbformat.read(book / "chapters/a.ipynb", 4).cells[1].outputs == []


def test_a_failing_cell_stops_the_build_and_is_shown(book, capsys):
    write(book, code="wanted = 3\nassert wanted == 4, 'not four'")
    with pytest.raises(build.BuildError, match="a.ipynb"):
        build.refresh(book)
    log = capsys.readouterr().out
    assert "wanted == 4" in log and "AssertionError" in log and "not four" in log
    assert not (book / "_build/executed/chapters/a.ipynb").exists()


def test_a_chapter_that_edits_its_own_inputs_is_refused(book):
    path = book / "data/number.txt"
    write(book, code=f"open({str(path)!r}, 'a').write('!')")
    with pytest.raises(build.BuildError, match="changed while the chapters ran.*data/number.txt"):
        build.refresh(book)


def test_a_warning_fails_the_pages_on_every_build(book):
    write(book, text="[nowhere](#no-such-place)", code="1 + 1")
    build.refresh(book)
    for _ in range(2):
        with pytest.raises(build.BuildError, match="no-such-place"):
            build.build_html(book)


def test_side_by_side_a_chapter_that_collects_results_waits_for_the_others(book):
    said = book / "said.txt"
    write(book, code=f"# record.collect()\nprint(open({str(said)!r}).read())")
    slow = f"import os, time; time.sleep(2); open({str(said)!r}, 'a').write(%r)"
    toy = nbformat.read(book / "chapters/a.ipynb", 4)
    for name in "bc":
        toy.cells[1].source = slow % name + "; print(os.environ['OMP_NUM_THREADS'])"
        nbformat.write(toy, book / f"chapters/{name}.ipynb")
    assert build.refresh(book, jobs=2) == ["a.ipynb", "b.ipynb", "c.ipynb"]
    executed = book / "_build/executed/chapters"
    shown = {n: nbformat.read(executed / f"{n}.ipynb", 4).cells[1].outputs[0].text for n in "abc"}
    assert sorted(shown["a"].strip()) == ["b", "c"]
    assert shown["b"] == shown["c"] == f"{max(1, (os.cpu_count() or 1) // 2)}\n"
    assert build.refresh(book, jobs=2) == []
    toy.cells[1].source = slow % "d"  # what the collecting chapter shows is measured anew
    nbformat.write(toy, book / "chapters/b.ipynb")
    assert build.refresh(book, jobs=2) == ["a.ipynb", "b.ipynb"]
    again = nbformat.read(executed / "a.ipynb", 4).cells[1].outputs[0].text
    assert again == shown["a"].strip() + "d\n"
