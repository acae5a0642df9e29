"""Results from strangers: what is refused, and that no word of them is more than a word."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from held import held
from hostile import PAYLOADS, SECRET, payloads, poisoned, sent
from nbclient import NotebookClient

import dualmech
from dualmech import figures, metrics, record
from dualmech.__main__ import main
from vlms._paths import data_dir

ROOT = Path(__file__).parents[1]
STRIPS = "strip swap, left, slot 0"


def save(folder: Path, one, name: str = "strips") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(one))
    return folder / f"{name}.json"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


# --- check-result ------------------------------------------------------------------------


def test_forty_hostile_files_are_refused_and_stop_no_other(tmp_path, secret, capsys):
    assert len(PAYLOADS) == 40
    for k, words in enumerate(payloads(secret)):
        save(tmp_path / "sent" / f"owner--{k}", poisoned(words))
    save(tmp_path / "sent" / "owner--Made-Up-2B", sent())
    refused = []
    (one,) = record.collect(tmp_path / "sent", refused=refused)
    assert one["provenance"]["model"] == "owner/Made-Up-2B" and len(refused) == 40
    files = sorted((tmp_path / "sent").glob("*/*.json"))
    assert main(["check-result", *map(str, files)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("bad: ") for line in lines) == 40
    told = (
        f"ok: {files[-1]}, for data/results/owner--Made-Up-2B/strips.json, its verdicts as reported"
    )
    assert lines.count(told) == 1
    assert len(lines) == 41 and all(line.isprintable() for line in lines)
    held("strangers", "a result full of scripts, links, directives and look-alikes", len(refused),
         "refused; the sound result beside them is shown")  # fmt: skip


@pytest.mark.parametrize("where", ["device", "claim", "check", "value", "revision", "more"])
def test_no_place_takes_what_begins_a_markup(where):
    harmless = [words for words in PAYLOADS if re.fullmatch(r"[a-zA-Z0-9 :/.,-]*", words)]
    assert len(harmless) == 1, "plain words, which the page shows as they are"
    for words in set(PAYLOADS) - set(harmless):
        one = sent()
        if where == "claim":
            one["claims"][0]["claim"] = words
        elif where == "check":
            one["claims"][0]["checks"][words] = True
        elif where == "value":
            one["values"][words] = one["values"][STRIPS]
        else:
            one["provenance"][where] = words
        with pytest.raises(ValueError, match="what no result needs|is not valid under any"):
            record.check(one)


MADE_UP = [  # where a sound result is changed, what stands there, and what is said of it
    (["provenance", "model"], "owner/Qw\u0435n2-VL", "use a hub id"),  # a Cyrillic letter
    (["provenance", "model"], "owner/name/more", "use a hub id"),
    (["provenance", "model"], "../mini", "use a hub id"),
    (["provenance", "model"], "mini", "name, hash and numbers go together"),
    (["provenance", "model"], "mini-local", "name, hash and numbers go together"),
    (["provenance", "date"], "2099-01-01", "has not been"),
    (["provenance", "date"], "1999-01-01", "provenance.date"),
    (["provenance", "seconds"], 1e400, "provenance.seconds"),
    (["provenance", "seconds"], 10**400, "provenance.seconds"),
    (["provenance", "device"], "x" * 201, "provenance.device"),
    (["provenance", "device"], "cpu\n", "provenance.device"),
    (["provenance", "alpha"], {"deep": {}}, "provenance.alpha"),
    (["provenance", "alpha"], [0.5] * 100, "provenance.alpha"),
    (["values", STRIPS, "n"], 10**10, "n: "),
    (["values", STRIPS, "high"], 1.01, "a probability lies between 0 and 1"),
    (["values", STRIPS, "low"], -0.01, "a probability lies between 0 and 1"),
    (["values", "strip swap, left, slot 99"], {"value": 7.0, "low": 6.0, "high": 8.0, "n": 35},
     "a probability lies between 0 and 1"),
    (["values", STRIPS, "html"], "<b>", "html"),
    (["claims", 0, "paper", 0], "<b>", "paper"),
    (["claims", 0, "note"], "more", "note"),
    (["claims"], [sent()["claims"][0]] * 100, "$.claims: "),
    (["claims", 0, "checks"], {f"check {k}": True for k in range(100)}, "checks: "),
    (["values"], {f"strip swap, {k}": sent()["values"][STRIPS] for k in range(2001)}, "$.values: "),
    (["values", STRIPS, "value"], True, "value: True is not of type 'number'"),
    (["values", STRIPS, "slot"], float("nan"), "slot"),
    (["values", STRIPS, "value"], float("nan"), "value: nan is not of type 'number'"),
    (["provenance", "alpha"], float("nan"), "provenance.alpha"),
    (["provenance", "alpha"], [0.5, float("-inf")], "provenance.alpha"),
    (["provenance", "date"], "2026-11-27\n", "provenance.date"),
    (["provenance", "weights"], "0123456789abcdef\n", "provenance.weights"),
    (["provenance", "weights"], "0123456789ABCDEF", "provenance.weights"),
    (["provenance", "model"], "owner/name\n", "provenance.model"),
    (["provenance", "model"], "owner/\u202ename", "use a hub id"),
    (["provenance", "model"], "own\u0435r/name", "use a hub id"),
    (["provenance", "model"], "owner/\uff4eame", "use a hub id"),  # a letter of full width
    (["provenance", "model"], "owner/..", "use a hub id"),
    (["provenance", "model"], "\ud800/name", "use a hub id"),
    (["claims", 0, "claim"], "The str\u0456ps lead.", "what no result needs"),
    (["values", "str\u0456p swap"], sent()["values"][STRIPS], "what no result needs"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "new", "words"), MADE_UP)
def test_what_cannot_be_is_refused(keys, new, words, tmp_path, capsys):
    one = sent()
    box = one
    for key in keys[:-1]:
        box = box[key]
    box[keys[-1]] = new
    path = save(tmp_path, one)
    assert main(["check-result", str(path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"bad: {path}: ") and words in line and len(line) < 700


def test_as_many_made_up_results_as_the_page_says():
    held("strangers", "a result with a name, date, number or setting that cannot be", len(MADE_UP),
         "refused, each case alone")  # fmt: skip


SOUND = json.dumps(sent())


def with_text(key: str, text: str) -> str:
    """The sound result, with a text in the place of one string of it."""
    assert SOUND.count(json.dumps(key)) >= 1
    return SOUND.replace(json.dumps(key), text, 1)


def odd_files() -> dict[str, bytes]:
    told = {
        "a mark of the order of bytes": b"\xef\xbb\xbf" + SOUND.encode(),
        "UTF-16": SOUND.encode("utf-16"), "UTF-32": SOUND.encode("utf-32"),
        "Latin-1": with_text("strips", '"str\xefps"').encode("latin-1"),
        "two documents": (SOUND + SOUND).encode(), "a comma too many": SOUND[:-1].encode() + b",}",
        "a comment": b"// mine\n" + SOUND.encode(),
        "single quotes": SOUND.replace('"', "'").encode(),
        "a digit too many": with_text("0123456789abcdef", "1" * 5000).encode(),
        "a name twice": with_text("values", '"values": {"a": 1}, "values"').encode(),
        "a name twice, written in two ways": with_text(
            "values", '"values": {"a": 1}, "v\\u0061lues"').encode(),
        "half a letter": with_text("owner/Made-Up-2B", '"owner/\\ud83d"').encode(),
        "a name with half a letter": with_text("values", '"\\ud83d": 1, "values"').encode(),
        "no object": b'"strips"', "null": b"null", "true": b"true", "": b"", "white": b" \n ",
    }  # fmt: skip
    for depth in (30, 300, 600, 900, 930, 950, 960, 970, 980, 990, 1000, 3000, 10_000):
        for key in ("strips", "owner/Made-Up-2B", sent()["claims"][0]["claim"]):
            for left, right in (("[", "]"), ('{"a":', "}")):
                deep = left * depth + "1" + right * depth
                told[f"{left} {depth} deep at {key}"] = with_text(key, deep).encode()
    large = ("1e999999999", "-1e400", "1E+400", "1" + "0" * 4000)
    for number in (*large, "Infinity", "-Infinity", "NaN"):
        for key in ("seconds", "value", "n", "slot"):
            told[f"{key} {number[:20]}"] = re.sub(
                rf'"{key}": [-\d.e]+', f'"{key}": {number}', SOUND, count=1).encode()  # fmt: skip
    return told


def test_an_odd_file_is_refused_in_one_line(tmp_path, capsys):
    files = odd_files()
    files = {what: raw for what, raw in files.items() if raw != SOUND.encode()}
    for what, raw in files.items():
        path = tmp_path / "strips.json"
        path.write_bytes(raw)
        assert main(["check-result", str(path)]) == 1, what
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"bad: {path}: ") or line.startswith(
            f"bad: cannot read the result {path}: "
        ), (what, line)
        assert len(line) < 700 and line.isprintable() and len(line.split()) > 5, (what, line)
    held("strangers", "an odd file as a result: other encodings, depths, numbers, names twice",
         len(files), "refused in one line")  # fmt: skip


def test_a_file_name_that_is_no_text_is_shown_all_the_same(tmp_path):
    """As the shell gives it, and a terminal that takes UTF-8 alone."""
    good, bad = (os.fsencode(tmp_path) + name for name in (b"/\xffgood.json", b"/\xffbad\n.json"))
    Path(os.fsdecode(good)).write_text(SOUND)
    Path(os.fsdecode(bad)).write_text("{")
    command = [sys.executable, "-m", "dualmech", "check-result", good, bad]
    lib = {"PYTHONPATH": str(Path(dualmech.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | lib)
    first, second = run.stdout.splitlines()
    assert first == (f"ok: {tmp_path}/?good.json, for data/results/owner--Made-Up-2B/strips.json, "
                     "its verdicts as reported")  # fmt: skip
    assert second.startswith(f"bad: cannot read the result {tmp_path}/?bad?.json: ")
    assert run.returncode == 1 and not run.stderr


def test_what_is_said_of_a_verdict_is_the_same_everywhere(tmp_path, capsys):
    """By the command, the page that tells how to send a result, README and the page of checks."""
    assert main(["check-result", str(save(tmp_path, sent()))]) == 0
    assert capsys.readouterr().out.endswith("/strips.json, its verdicts as reported\n")
    pages = ("chapters/send-a-result.md", "README.md", "chapters/what-holds.ipynb",
             "chapters/scoreboard.ipynb")  # fmt: skip
    for name in pages:
        assert "as reported" in (ROOT / name).read_text(), name


def test_a_share_has_the_interval_of_its_n(tmp_path):
    values = sent(experiment="behaviour")["values"]
    name, told = next((k, s) for k, s in values.items() if 0 < s["value"] < 1)
    assert told == metrics.share([True] * round(told["value"] * told["n"])
                                 + [False] * round((1 - told["value"]) * told["n"]))  # fmt: skip
    for change in ({"n": told["n"] // 4}, {"low": told["low"] - 0.01}, {"value": told["high"]},
                   {"high": told["value"]}):  # fmt: skip
        one = sent(experiment="behaviour")
        one["values"][name] |= change
        record.check(one)
        with pytest.raises(ValueError, match="no share of .* with its interval"):
            record.check_sent(one, "x.json")


@pytest.mark.parametrize("kept", ["mini/strips", "layout/amplification"])  # its weights do not ship
def test_an_own_model_is_known_by_name_hash_and_numbers(kept):
    shipped = json.loads((data_dir() / f"results/{kept}.json").read_text())
    record.check_sent(shipped, "x.json")
    renamed = sent()
    renamed["provenance"]["weights"] = shipped["provenance"]["weights"]
    better = json.loads(json.dumps(shipped))
    next(iter(better["values"].values()))["value"] += 1e-6
    other = json.loads(json.dumps(shipped))
    other["provenance"]["weights"] = "0" * 16
    for one in (renamed, better, other):
        with pytest.raises(ValueError, match="name, hash and numbers go together"):
            record.check_sent(one, "x.json")


def test_among_the_shipped_results_a_file_lies_in_its_place(tmp_path, monkeypatch):
    """So that a stranger's file takes the place of no other."""
    shutil.copytree(data_dir() / "results", tmp_path / "results")
    for name in ("result.schema.json", "paper.json"):
        shutil.copy(data_dir() / name, tmp_path)
    count = len(record.collect(tmp_path / "results"))
    monkeypatch.setattr(record, "data_dir", lambda: tmp_path)
    save(tmp_path / "results" / "owner--Made-Up-2B", sent())
    save(tmp_path / "results" / "zzz", sent("owner/Another"))
    refused = []
    found = record.collect(tmp_path / "results", refused=refused)
    assert len(found) == count + 1 and len(refused) == 1
    assert "zzz/strips.json: $: it belongs in owner--Another/strips.json" in refused[0]


@pytest.mark.parametrize("content", [
    b"", b"\xff\xfe", b"[" * 10**5, b"NaN", b'"' + b"x" * 2**20 + b'"', b'{"experiment": {}}',
    b'{"experiment": "report", "values": [], "provenance": {}}', b"\x00" * 99, b"[]",
    b'{"experiment": "\\ud800", "values": {}, "provenance": {}}', b"1" * 5000,
])  # fmt: skip
def test_any_bytes_give_one_line(tmp_path, content, capsys):
    path = tmp_path / "a\x1b[31m.json"
    path.write_bytes(content)
    assert main(["check-result", str(path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("bad: ") and len(line) < 700


def test_a_device_or_a_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.json")
    begun = time.monotonic()
    assert main(["check-result", str(tmp_path / "pipe.json"), "/dev/zero", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("bad: ") == 3 and time.monotonic() - begun < 60


# --- the page ------------------------------------------------------------------------------


def test_words_are_shown_letter_by_letter():
    assert figures.plain("two\n words") == "two words"
    assert figures.plain("<b>") == "&#60;b&#62;"
    for words in PAYLOADS:
        assert re.fullmatch(r"(?:[A-Za-z0-9 ]|&#\d+;)*", figures.plain(words))


FOREIGN = """article => [...article.querySelectorAll(
  'iframe, object, embed, form, style, link, meta, base, video, audio, [srcdoc], ' +
  '[href^="javascript:" i], [href*="evil"], [src*="evil"]')].map(e => e.outerHTML.slice(0, 200))
  .concat([...article.querySelectorAll('*')].filter(e =>
    [...e.attributes].some(a => /^on/i.test(a.name))).map(e => e.outerHTML.slice(0, 200)))"""
UNCHECKED = "dm.record.check = lambda *a: None  # so that only the display stands in the way"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The scoreboard with forty hostile files: refused, and with the check taken away."""
    folder = tmp_path_factory.mktemp("scoreboard")
    (folder / "secret.txt").write_text(SECRET)
    for k, words in enumerate(payloads(folder / "secret.txt")):
        save(folder / "sent" / f"owner--{k:02}", poisoned(words))
    save(folder / "sent" / "owner--Made-Up-2B", sent())
    book = folder / "book"
    book.mkdir()
    patch = pytest.MonkeyPatch()
    patch.setenv("DUALMECH_RESULTS", str(folder / "sent"))
    patch.setenv("PYTHONPATH", str(Path(dualmech.__file__).parents[1]))
    for name in ("checked", "unchecked"):
        notebook = nbformat.read(ROOT / "chapters" / "scoreboard.ipynb", 4)
        if name == "unchecked":
            cell = next(c for c in notebook.cells if "import dualmech as dm" in c.source)
            cell.source += f"\n{UNCHECKED}"
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
        nbformat.write(notebook, book / f"{name}.ipynb")
    patch.undo()
    shutil.copy(ROOT / "_config.yml", book)
    shutil.copytree(ROOT / "chapters", book / "chapters",
                    ignore=shutil.ignore_patterns("*.ipynb", "*.md"))  # fmt: skip
    (book / "_toc.yml").write_text(
        "format: jb-book\nroot: checked\nchapters:\n  - file: unchecked\n"
    )
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "-q", str(book)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    return book / "_build" / "html"


@pytest.mark.parametrize("name", ["checked", "unchecked"])
def test_the_page_shows_words_and_nothing_else(pages, browser, name):
    page, dialogs, asked = browser.new_page(), [], []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.route(re.compile("^(?!file:|data:|blob:)"), lambda route: route.abort())
    page.goto((pages / f"{name}.html").as_uri())
    page.wait_for_timeout(1000)
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    article = page.locator("article").first
    assert not dialogs and page.evaluate("window.pwned") is None
    assert not [url for url in asked if "evil" in url]
    assert article.evaluate(FOREIGN) == []
    text = article.inner_text()
    assert SECRET not in page.content() and "Made-Up-2B: in part (as reported)" in text
    assert [e.inner_text().strip("#¶") for e in article.locator("h1").all()] == ["Scoreboard"]
    held("strangers", f"the same results on the scoreboard, {name}", len(PAYLOADS),
         "words alone: no script, request or foreign element in the browser")  # fmt: skip
    if name == "unchecked":  # and the words are there, for all to see
        assert "<script>window.pwned = 1; alert(1)</script>" in text
        assert "[here](javascript:alert(1))" in text and "```{raw} html" in text
    else:
        assert text.count("holds what no result needs") + text.count("is not one of") >= 30
    page.close()
