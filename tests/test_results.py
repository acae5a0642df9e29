import json
import time
from datetime import date

import numpy as np
import pytest
import torch

import dualmech
from dualmech import metrics, results


def test_a_result_comes_back_as_it_was(tmp_path, vlm):
    values = {"rows": [metrics.share([True, False]), {"met": None, "where": "left – right"}]}
    source = results.provenance(vlm, 12.345, seed=3)
    path = tmp_path / "mini" / "new" / "strips.json"
    assert results.save(path, "strips", values, source) == path
    assert results.read(path) == {"experiment": "strips", "provenance": source, "values": values}
    assert results.read(str(path)) == results.read(path)
    assert path.read_text().endswith("}\n")


def test_provenance(vlm):
    source = results.provenance(vlm, 12.345, seed=3)
    assert source["model"] == vlm.name and source["weights"] == vlm.fingerprint
    assert source["dualmech"] == dualmech.__version__ and source["torch"] == torch.__version__
    assert source["precision"] == "float32" and source["device"].startswith("cpu (")
    assert source["seconds"] == 12.3 and source["seed"] == 3
    assert abs((date.today() - date.fromisoformat(source["date"])).days) <= 1
    assert set(source) > {"transformers"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the result {path}: "),
        ("{", "cannot read the result {path}: "),
        ("7", "cannot read the result {path}: "),
        ("[]", "the result {path} lacks experiment, provenance, values"),
        ('{"experiment": "x", "values": {}}', "the result {path} lacks provenance"),
    ],
    ids=["missing", "broken", "a number", "a list", "no provenance"],
)
def test_a_malformed_file_is_named(tmp_path, content, words):
    path = tmp_path / "strips.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError) as error:
        results.read(path)
    assert str(error.value).startswith(words.format(path=path)) and "\n" not in str(error.value)


def test_what_json_cannot_hold_is_refused_whole(tmp_path):
    path = tmp_path / "strips.json"
    results.save(path, "strips", {"n": 1}, {})
    with pytest.raises(TypeError):
        results.save(path, "strips", {"n": np.arange(3)}, {})
    assert json.loads(path.read_text())["values"] == {"n": 1}


def test_the_timer_counts_its_block():
    began = time.perf_counter()
    with results.timer() as clock:
        while time.perf_counter() < began + 0.02:
            pass
    assert 0 < clock.seconds <= time.perf_counter() - began


def test_the_verdict_follows_from_the_checks():
    for checks, verdict in (
        ({"first": True, "then": np.bool_(True)}, "replicates"),
        ({"first": True, "then": False}, "partly"),
        ({"first": False, "then": np.bool_(False)}, "does not"),
    ):
        one = results.claim("First this, then that.", checks, ["table1.x"], ["a value"])
        assert one == {
            "claim": "First this, then that.",
            "verdict": verdict,
            "checks": checks,
            "paper": ["table1.x"],
            "measured": ["a value"],
        }
        json.dumps(one)
    with pytest.raises(ValueError, match="no check for the claim 'Empty.'"):
        results.claim("Empty.", {})


def test_records_are_collected_and_a_later_folder_wins(tmp_path, vlm, monkeypatch):
    values = {"accuracy, left": metrics.share([True, False])}
    claims = [results.claim("It can.", {"above chance": False}, measured=list(values))]
    for folder, n in (("old", 1), ("new", 2)):
        monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path / folder))
        made = results.record(vlm, "strips", values, claims, seconds=n)
        assert made["values"] == values and made["claims"] == claims
    results.record(vlm, "probes", values)
    found = results.collect(tmp_path / "old", tmp_path / "new")
    assert [(r["experiment"], r["provenance"]["seconds"]) for r in found] == [
        ("strips", 2.0),
        ("probes", 0.0),
    ]
    assert (tmp_path / "new" / vlm.name.replace("/", "--") / "probes.json").exists()
    claims[0]["measured"] = ["accuracy, right"]
    with pytest.raises(ValueError, match="reads .'accuracy, right'., which was not measured"):
        results.record(vlm, "lost", values, claims)


def test_results_go_to_the_working_folder_unless_told(monkeypatch):
    monkeypatch.delenv("DUALMECH_RESULTS", raising=False)
    assert str(results.results_dir()) == "results"
