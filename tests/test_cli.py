"""`python -m dualmech` as a reader types it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import dualmech
from dualmech import stimuli as S
from dualmech.__main__ import main
from organism.__main__ import main as organism_main

QUESTION = "The color of the square to the left of the green square is "
PACKAGE = Path(dualmech.__file__).parent


@pytest.fixture
def picture(tmp_path):
    trial = S.trial(tuple(S.task_items("squares")[:3]), "left", "squares")
    trial.stimulus.image.save(tmp_path / "squares.png")
    return tmp_path / "squares.png"


def shell(*arguments, cwd, lib=PACKAGE.parent):
    return subprocess.run(
        [sys.executable, "-m", "dualmech", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(lib)},
        capture_output=True,
        text=True,
    )


def test_the_shipped_model_is_the_default(picture, capsys):
    assert main(["answer", str(picture), QUESTION]) == 0
    word = capsys.readouterr().out
    assert word == dualmech.load("mini").answer([Image.open(picture)], [QUESTION])[0] + "\n"
    assert word.strip() in dualmech.load("mini").words


def test_from_any_folder(picture, checkpoint, vlm, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = shell("answer", "../squares.png", QUESTION, "--model", checkpoint, cwd=elsewhere)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == vlm.answer([Image.open(picture)], [QUESTION])


@pytest.mark.parametrize(
    ("image", "question", "model", "words"),
    [
        ("missing.png", QUESTION, "mini", "no image at .*missing.png: check the path"),
        (".", QUESTION, "mini", "no image at "),
        ("text.png", QUESTION, "mini", "text.png is not an image that can be read .*: use PNG"),
        ("cut.png", QUESTION, "mini", "cut.png is not an image that can be read .*: use PNG"),
        ("squares.png", "Where is the banana ? ", "mini", "mini does not know the word 'banana'"),
        ("squares.png", QUESTION, "maxi", "unknown model 'maxi': use one of mini, mini-local, "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_2(picture, tmp_path, capsys, image, question, model, words):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:-60])
    assert main(["answer", str(tmp_path / image), question, "--model", model]) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(f"error: .*{words}.*\n", err), err


def test_a_damaged_installation_says_how_to_mend_it(picture, checkpoint, tmp_path):
    """The package as `pip install .` lays it out, with a truncated weight file."""
    site = tmp_path / "site-packages"
    for name in ("dualmech", "vlms"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE.parent / name, site / name, ignore=ignored)
    mini = shutil.copytree(checkpoint, site / "vlms" / "data" / "mini")
    (mini / "hashes.json").write_text(json.dumps({file.name: "0000" for file in mini.iterdir()}))
    run = shell("answer", picture, QUESTION, cwd=tmp_path, lib=site)
    assert run.returncode == 2 and run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert re.match(rf"error: {re.escape(str(mini))}/\S+ is truncated or altered: restore", line)


@pytest.mark.parametrize("arguments", [[], ["ask"], ["answer", "only-one.png"]])
def test_unknown_arguments_show_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m dualmech")


def test_check_result_says_where_a_good_file_goes_and_why_another_is_bad(tmp_path, capsys, vlm):
    shipped = PACKAGE.parents[1] / "data" / "results" / "mini" / "strips.json"
    assert main(["check-result", str(shipped)]) == 0
    assert capsys.readouterr().out == f"ok: {shipped}, for data/results/mini/strips.json\n"

    record = json.loads(shipped.read_text())
    hub, local, broken = (tmp_path / f"{name}.json" for name in ("hub", "local", "broken"))
    record["provenance"] |= {"model": "Owner/A-model-2.5", "weights": "0123456789abcdef"}
    hub.write_text(json.dumps(record))
    record["provenance"]["model"] = vlm.name
    local.write_text(json.dumps(record))
    record["provenance"]["date"] = "yesterday"
    broken.write_text(json.dumps(record))
    assert main(["check-result", str(hub), str(local), str(broken), str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"ok: {hub}, for data/results/Owner--A-model-2.5/strips.json, its verdicts as reported",
        f"bad: {local}: provenance.model is a folder: use a hub id, which others can load",
        f"bad: {broken}: $.provenance.date: 'yesterday' is not a 'date'",
    ]
    assert len(lines) == 4 and lines[3].startswith(f"bad: cannot read the result {tmp_path}: ")


def test_train_writes_a_model_and_refuses_another_recipe(tmp_path, capsys):
    out = tmp_path / "run"
    assert organism_main(["train", str(out), "--toy", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"wrote {out / 'model'}\n"
    assert dualmech.load(out / "model", device="cpu").n_layers == 8
    again = ["train", str(out), "--toy", "--device", "cpu", "--objective", "local"]
    for command in (organism_main, main):  # its old name still works, and says where it went
        assert command(again) == 2
        told = capsys.readouterr().err.splitlines()
        assert told[-1] == f"error: {out} holds a run of another recipe; choose another folder"
    assert told[0] == "`python -m dualmech train` is now `python -m organism train`"
