"""The build on a toy book: what runs again when what changes."""

import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from bookbuild import build, form, inputs, watch

CODE = "from pathlib import Path\nprint('data says', Path({path!r}).read_text())"


@pytest.fixture
def book(tmp_path):
    for folder in ("chapters", "lib/dualmech", "lib/organism", "lib/live", "data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "lib/dualmech/__init__.py").write_text("")
    (tmp_path / "lib/organism/__init__.py").write_text("from . import train")
    (tmp_path / "lib/organism/train.py").write_text("def f():\n    from dualmech import load")
    (tmp_path / "lib/live/__init__.py").write_text("")
    (tmp_path / "data/number.txt").write_text("one")
    (tmp_path / "requirements.lock").write_text("torch==1\n")
    (tmp_path / "_config.yml").write_text(
        "only_build_toc_files: true\nexecute: {execute_notebooks: 'off'}\n"
    )
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapters/a\n")
    cells = [nbformat.v4.new_markdown_cell(), nbformat.v4.new_code_cell()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "chapters/a.ipynb")
    write(tmp_path, text="Old words.", code=CODE.format(path=str(tmp_path / "data/number.txt")))
    return tmp_path


def write(book, text=None, code=None):
    """Change the toy chapter's Markdown or code, and leave the rest of it as it is."""
    path = book / "chapters/a.ipynb"
    notebook = nbformat.read(path, 4)
    if text:
        notebook.cells[0].source = f"# Toy\n\n{text}"
    if code:
        notebook.cells[1].source = code
    nbformat.write(notebook, path)


def digest(book) -> str:
    notebook = build.bare(nbformat.read(book / "chapters/a.ipynb", 4))
    files = inputs.of(notebook, inputs.fingerprints(book), inputs.packages(book))
    return inputs.digest(notebook, files)


def test_a_changed_new_moved_or_deleted_input_is_seen(book):
    write(book, code="import dualmech as dm")
    seen = [digest(book)]
    for path in ("lib/dualmech/__init__.py", "lib/dualmech/new.py", "data/number.txt",
                 "data/deep/er/model.bin", "requirements.lock"):  # fmt: skip
        (book / path).parent.mkdir(parents=True, exist_ok=True)
        (book / path).write_text("changed")
        assert digest(book) not in seen, path
        seen.append(digest(book))
    moved = (book / "data/number.txt").rename(book / "data/moved.txt")
    assert digest(book) not in seen
    seen.append(digest(book))
    moved.unlink()
    assert digest(book) not in seen


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import numpy", set()),
        ("import dualmech as dm", {"dualmech"}),
        ("if True:\n    from dualmech.stimuli import Item", {"dualmech"}),
        ("import organism.train", {"organism", "dualmech"}),  # by way of a function of it
        ("%pip install x\n!ls\nimport live", {"live"}),
        ("!python -m organism out", {"organism", "dualmech"}),
        ("subprocess.run([sys.executable, '-m', 'live'])", {"live"}),
        ("this does not parse", set()),
    ],
)
def test_a_chapter_needs_what_it_imports_and_what_that_imports(book, code, needed):
    assert inputs.needed([code], inputs.packages(book)) == needed
    write(book, code=code)
    for package in ("dualmech", "organism", "live"):
        before = digest(book)
        (book / "lib" / package / "page.js").write_text("new")
        assert (digest(book) != before) == (package in needed), package


@pytest.mark.parametrize(("name", "call"), [
    ("results/mini/strips.json", "dm.record.collect()"),
    ("bench/strips.json", "dm.record.benchmarks()"),
])  # fmt: skip
def test_kept_results_count_only_for_a_chapter_that_collects_them(book, name, call):
    path = book / "data" / name
    path.parent.mkdir(parents=True)
    for code, counts in (("1 + 1", False), (call, True), ("open('strips.json')", True)):
        write(book, code=code)
        path.write_text("old")
        before = digest(book)
        path.write_text("new")
        assert (digest(book) != before) == counts


def test_code_and_its_tags_count_but_text_outputs_and_caches_do_not(book):
    write(book, code="import dualmech")
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


def test_pages_follow_data_and_text_and_only_data_runs_the_chapter(book, capsys):
    """A chapter in a folder below, and one whose executed copy was cut short, like the others."""
    copy, deeper = book / "_build/executed/chapters/a.ipynb", book / "chapters/deeper"
    copy.parent.mkdir(parents=True)
    deeper.mkdir()
    whole = (book / "chapters/a.ipynb").read_text()
    copy.write_text(whole[: len(whole) // 2])
    (deeper / "b.ipynb").write_text(whole)
    (book / "_toc.yml").write_text(
        "format: jb-book\nroot: chapters/a\nchapters: [{file: chapters/deeper/b}]\n"
    )
    assert build.refresh(book) == ["a.ipynb", "b.ipynb"]
    assert "a.ipynb: its executed copy is damaged" in capsys.readouterr().out
    pages = build.build_html(book).with_name("chapters")
    for page in (pages / "a.html", pages / "deeper/b.html"):
        assert "data says one" in page.read_text() and "Old words." in page.read_text()

    write(book, text="New words.")
    (book / "chapters/left-over.md").write_text("# Not for long")
    assert build.refresh(book) == []
    build.build_html(book)
    page = pages / "a.html"
    assert "data says one" in page.read_text() and "New words." in page.read_text()

    (book / "data/number.txt").write_text("two")
    (book / "chapters/left-over.md").unlink()
    assert build.refresh(book, jobs=2) == ["a.ipynb", "b.ipynb"]
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
    write(book, text="[nowhere](#no-such-place)")
    shutil.copytree(book, book / "_build/executed")
    for _ in range(2):
        with pytest.raises(build.BuildError, match="no-such-place"):
            build.build_html(book)


def test_side_by_side_a_chapter_that_collects_results_waits_for_the_others(
    book, capfd, monkeypatch
):
    monkeypatch.setenv("BOOKBUILD_TELL", "1")
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
    log = capfd.readouterr().out  # who watches sees where the slow ones are
    assert all(f"running chapters/{n}.ipynb at cell 1 of 2 (import os, ti" in log for n in "bc")
    assert shown["b"] == shown["c"] == f"{max(1, (os.cpu_count() or 1) // 2)}\n"
    assert build.refresh(book, jobs=2) == []
    toy.cells[1].source = slow % "d"  # what the collecting chapter shows is measured anew
    nbformat.write(toy, book / "chapters/b.ipynb")
    assert build.refresh(book, jobs=2) == ["a.ipynb", "b.ipynb"]
    again = nbformat.read(executed / "a.ipynb", 4).cells[1].outputs[0].text
    assert again == shown["a"].strip() + "d\n"


# --- what can go wrong -------------------------------------------------------------------


def test_a_copy_that_cannot_be_written_leaves_the_old_one(book):
    path = book / "chapters/a.ipynb"
    notebook, before = nbformat.read(path, 4), path.read_text()
    notebook.cells[0].metadata["odd"] = object()
    with pytest.raises(TypeError):
        build.write(notebook, path)
    assert path.read_text() == before


def test_a_second_build_waits_for_the_first(book):
    with build.alone(book):
        second = subprocess.Popen(
            [sys.executable, "-m", "bookbuild.build"], cwd=book, stdout=subprocess.PIPE, text=True
        )
        assert "another build is running" in second.stdout.readline()
        assert not (book / "_build/executed").exists()
    said, _ = second.communicate()
    assert second.returncode == 0 and "1 chapters ran" in said


def test_who_ends_the_builder_ends_its_kernels(book):
    said = book / "kernel.txt"
    write(
        book,
        code=f"import os, time\nopen({str(said)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)",
    )
    builder = subprocess.Popen([sys.executable, "-m", "bookbuild.build"], cwd=book)
    wait(lambda: said.exists() and said.read_text())
    kernel = psutil.Process(int(said.read_text()))
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    wait(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE)


def wait(until, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_a_chapter_that_prints_without_end_is_stopped_by_name(book, capsys):
    write(book, code="for _ in range(100):\n    print('x' * 1_000_000)")
    with pytest.raises(build.BuildError, match="a.ipynb"):
        build.refresh(book)
    log = capsys.readouterr().out
    assert "running chapters/a.ipynb FAILED" in log
    assert "cell 1 (for _ in range(100):): the chapter has printed more than 20 MB" in log
    assert len(log) < 100_000


HANGS = """\
import asyncio
from pathlib import Path
if not Path({path!r}).exists():
    Path({path!r}).write_text("was here")
    await asyncio.Event().wait()
print("done")"""


def test_an_idle_kernel_with_a_pending_cell_costs_one_more_run(book, capsys, monkeypatch):
    monkeypatch.setenv("BOOKBUILD_IDLE", "2")
    write(book, code=HANGS.format(path=str(book / "mark")))
    assert build.refresh(book) == ["a.ipynb"]
    log = capsys.readouterr().out
    assert f"a.ipynb: cell 1 (import asyncio): {watch.IDLE}" in log and "runs once more" in log
    assert "done" in (book / "_build/executed/chapters/a.ipynb").read_text()


def test_a_kernel_that_is_idle_twice_fails_the_chapter_by_the_cell(book, capsys, monkeypatch):
    monkeypatch.setenv("BOOKBUILD_IDLE", "1")
    write(book, code="import asyncio\nawait asyncio.Event().wait()")
    with pytest.raises(build.BuildError, match="a.ipynb"):
        build.refresh(book)
    log = capsys.readouterr().out
    assert "FAILED" in log and log.count(f"cell 1 (import asyncio): {watch.IDLE}") >= 2
    assert "_async_poll_for_reply" in log and log.count("Fatal Python error: Aborted") == 2
    for thread in ("_run_once", "shellchannel.py", "iostream.py", "heartbeat.py"):
        assert thread in log, "where each task and thread stood"


LOSES = """\
import zmq
from ipykernel.kernelapp import IPKernelApp
stream = IPKernelApp.instance().kernel.shell_stream
handlers, fd = stream.io_loop.handlers, stream.socket.FD
reads = handlers[fd]


def lose(_socket, _events):
    if stream.socket.EVENTS & zmq.POLLIN:  # seen, so the wake-up is spent, and not read
        handlers[fd] = reads


def sends_alone(state):  # and does not look again after it
    if state & zmq.POLLOUT:
        stream.io_loop.add_callback(lambda: stream._handle_events(stream.socket, 0))


handlers[fd], stream._update_handler = (reads[0], lose), sends_alone"""


def test_a_request_whose_wake_up_was_lost_is_read_with_a_new_connection(book, capfd, monkeypatch):
    """What a send on the socket beside its stream does to a request that comes just then."""
    monkeypatch.setenv("BOOKBUILD_IDLE", "2")
    write(book, code=LOSES)
    toy = nbformat.read(book / "chapters/a.ipynb", 4)
    toy.cells.append(nbformat.v4.new_code_cell("print('read at last')"))
    nbformat.write(toy, book / "chapters/a.ipynb")
    assert build.refresh(book) == ["a.ipynb"]
    log = capfd.readouterr().out
    assert "cell 2 (print('read at last')): the kernel is idle, and is connected to anew" in log
    assert "once more" not in log and watch.IDLE not in log
    assert "read at last" in (book / "_build/executed/chapters/a.ipynb").read_text()


def test_a_kernel_that_works_in_a_child_is_not_idle(book, monkeypatch):
    monkeypatch.setenv("BOOKBUILD_IDLE", "1")
    work = "import time; end = time.time() + 4\nwhile time.time() < end: pass"
    write(book, code=f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])")
    assert build.refresh(book) == ["a.ipynb"]


def test_a_copy_has_no_trace_of_bars_and_widgets_and_remembers_where_it_ran(book):
    (book / "data/mini").mkdir()
    (book / "data/mini/model.safetensors").write_bytes(b"weights")
    write(
        book,
        code="from tqdm.auto import tqdm\nimport ipywidgets\nfrom IPython.display import display\n"
        "for _ in tqdm(range(3)): pass\ndisplay(ipywidgets.IntSlider())\nprint('seen')",
    )
    build.refresh(book)
    executed = nbformat.read(book / "_build/executed/chapters/a.ipynb", 4)
    assert "widgets" not in executed.metadata
    assert [out.output_type for out in executed.cells[1].outputs] == ["stream"]
    assert executed.cells[1].outputs[0].text == "seen\n"
    made = executed.metadata.provenance
    # printf weights | sha256sum
    assert made.weights.mini.startswith("9a129038d9a00aed")
    assert made.device and made.versions.Python == sys.version.split()[0]
    assert made.date.count("-") == 2


def test_a_bare_value_is_told_from_words():
    bare = "True", "[1, 2]", "'green'", "array([1., 2.])", "tensor(0.98)", "<Axes: >"
    words = "'the green square'", "mini: LLaVA, 8 layers of width 128", "green"
    assert [one for one in bare + words if form.is_raw(one)] == list(bare)
