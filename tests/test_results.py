import copy
import json
import math
import shutil
import time
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch

import dualmech
from dualmech import metrics, results
from dualmech._paths import data_dir

SHIPPED = sorted((data_dir() / "results").glob("*/*.json"))


def test_a_result_comes_back_as_it_was(tmp_path, vlm):
    values = {"left – right": metrics.share([True, False]) | {"slot": 3}}
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
    assert set(source) == {"model", "weights", "dualmech", "torch", "transformers", "device",
                           "precision", "seconds", "date", "seed"}  # fmt: skip


def test_provenance_of_a_hub_model(vlm):
    hub = replace(vlm, name="owner/name", revision="0123456789" * 4, quantised="4bit")
    source = results.provenance(hub, 1)
    assert source["revision"] == "0123456789" * 4 and source["quantised"] == "4bit"
    assert not {"revision", "quantised"} & set(results.provenance(vlm, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the result {path}: "),
        ("{", "cannot read the result {path}: "),
        ("7", "{path}: the result must be an object, not 7"),
        ("[]", "{path}: the result must be an object, not []"),
        ("{}", "{path}: experiment is missing; it must be one of behaviour, "),
    ],
    ids=["missing", "broken", "a number", "a list", "empty"],
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
    results.save(path, "strips", {"n": np.int64(2), "value": np.float32(0.5)}, {})
    assert json.loads(path.read_text())["values"] == {"n": 2, "value": 0.5}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_result_is_valid_and_in_its_place(path):
    assert path == data_dir() / "results" / results.place(results.read(path))


STATS = ("values", "strip swap, left, slot 0")
AT = "values['strip swap, left, slot 0']"
GONE = object()
BAD = [  # where a shipped record is damaged, what stands there, and what is said
    (["experiment"], "tea", "experiment must be one of behaviour, "),
    (["provenance"], GONE, "provenance is missing; it must be an object"),
    (["values"], {}, "values must be an object that is not empty, not {}"),
    (["claims"], {}, "claims must be a list, not {}"),
    (["claim"], [], "'claim' is no part of a result"),
    (["provenance", "model"], "", "provenance.model must be the name of a model, not ''"),
    (["provenance", "weights"], "2DC9", "provenance.weights must be 16 hex digits, not '2DC9'"),
    (["provenance", "torch"], GONE, "provenance.torch is missing; it must be a text"),
    (["provenance", "device"], 5, "provenance.device must be a text, not 5"),
    (["provenance", "precision"], "int4", "provenance.precision must be one of float64, "),
    (["provenance", "seconds"], -1, "provenance.seconds must be a number of seconds, not -1"),
    (["provenance", "date"], "20261122", "provenance.date must be a date such as 2026-01-31, not "),
    (["provenance", "date"], "2026-02-30", "provenance.date must be a date such as 2026-01-31, "),
    (["provenance", "revision"], 7, "provenance.revision must be a commit of the hub, not 7"),
    (["provenance", "quantised"], 4, "provenance.quantised must be the name of a method"),
    ([*STATS], 1.0, f"{AT} must be an object, not 1.0"),
    ([*STATS, "n"], GONE, f"{AT}.n is missing; it must be a positive integer"),
    ([*STATS, "n"], 0, f"{AT}.n must be a positive integer, not 0"),
    ([*STATS, "n"], 40.0, f"{AT}.n must be a positive integer, not 40.0"),
    ([*STATS, "n"], True, f"{AT}.n must be a positive integer, not True"),
    ([*STATS, "low"], math.nan, f"{AT}.low must be a finite number, not nan"),
    ([*STATS, "high"], math.inf, f"{AT}.high must be a finite number, not inf"),
    ([*STATS, "value"], "1", f"{AT}.value must be a finite number, not '1'"),
    ([*STATS, "value"], 2, f"{AT} must be low <= value <= high, not [0."),
    ([*STATS, "low"], 1.5, f"{AT} must be low <= value <= high, not [1.5, "),
    (["claims", 0], "x", "claims[0] must be an object, not 'x'"),
    (["claims", 1, "measured"], GONE, "claims[1].measured is missing; it must be a list of names"),
    (["claims", 1, "checks"], {}, "claims[1].checks must be an object with at least one check"),
    (["claims", 1, "checks"], {"a": 1}, "claims[1].checks must be an object with at least one "),
    (["claims", 0, "verdict"], "does not", "claims[0].verdict must be 'replicates', which follows"),
    (["claims", 0, "by"], GONE, "claims[0].by is missing; it must be one of paper, book"),
    (["claims", 0, "by"], "me", "claims[0].by must be one of paper, book, not 'me'"),
    (["claims", 0, "verdict"], "true", "claims[0].verdict must be one of replicates, partly, does"),
    (["claims", 0, "paper", 2], "fig0", "claims[0].paper[2] must be an id of data/paper.json, not"),
    (["claims", 2, "measured", 1], {}, "claims[2].measured[1] must be a name in values, not {}"),
]


@pytest.mark.parametrize(("keys", "new", "words"), BAD, ids=[words for *_, words in BAD])
def test_a_malformed_record_is_refused_with_its_place(tmp_path, keys, new, words):
    record = json.loads((data_dir() / "results/mini/strips.json").read_text())
    box = record
    for key in keys[:-1]:
        box = box[key]
    if new is GONE:
        del box[keys[-1]]
    else:
        box[keys[-1]] = new
    path = tmp_path / "strips.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError) as from_file:
        results.read(path)
    with pytest.raises(ValueError) as from_record:
        results.check(record)
    assert str(from_file.value).startswith(f"{path}: {words}") and "\n" not in str(from_file.value)
    assert str(from_record.value).startswith(f"the record: {words}")


def test_a_row_of_a_report_is_checked_too():
    record = json.loads((data_dir() / "results/mini/report.json").read_text())
    record["values"]["rows"][3]["low"] = None
    with pytest.raises(ValueError, match=r"^the record: values.rows\[3\].low must be a finite n"):
        results.check(record)
    record["values"] = {"accuracy": metrics.share([True])}
    with pytest.raises(ValueError, match="values.rows is missing; it must be a list of rows"):
        results.check(record)


def test_every_interval_that_the_metrics_give_is_valid():
    record = json.loads((data_dir() / "results/mini/controls.json").read_text())
    shares = [metrics.share([True] * k + [False] * (n - k)) for n in range(1, 60)
              for k in range(n + 1)]  # fmt: skip
    means = [metrics.mean(x) for x in ([0.1, 0.1, 0.1], [0.3] * 7, [-1.0, 2.0])]
    record["values"] = {str(k): stats for k, stats in enumerate(shares + means)}
    results.check(record)


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
            "by": "paper",
            "verdict": verdict,
            "checks": checks,
            "paper": ["table1.x"],
            "measured": ["a value"],
        }
        json.dumps(one)
    with pytest.raises(ValueError, match="no check for the claim 'Empty.'"):
        results.claim("Empty.", {})
    assert results.claim("Ours.", {"a": True}, by="book")["by"] == "book"
    with pytest.raises(ValueError, match="a claim is by one of paper, book, not 'me'"):
        results.claim("Mine.", {"a": True}, by="me")


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


def test_a_mistake_is_told_and_the_numbers_are_kept(tmp_path, vlm, monkeypatch):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))
    values = {"accuracy, left": metrics.share([True, False])}
    claims = [results.claim("It can.", {"above": True}, measured=["accuracy, right"])]
    words = (
        r"probes.json: claims\[0\].measured\[0\] must be a name in values, not 'accuracy, right'"
    )
    with pytest.raises(ValueError, match=words):
        results.record(vlm, "probes", values, claims)
    (path,) = tmp_path.glob("*/*.json")
    assert json.loads(path.read_text())["values"] == values


def test_what_could_not_be_measured_is_left_out(tmp_path, vlm, monkeypatch):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))
    values = {"left": metrics.share([True]), "right": metrics.mean([1.0, np.nan])}
    claims = [results.claim("It can.", {"above": True}, measured=["left", "right"])]
    made = results.record(vlm, "probes", values, claims)
    assert made["values"] == {"left": values["left"]}
    assert made["claims"][0]["measured"] == ["left"] and list(values) == ["left", "right"]
    assert claims[0]["measured"] == ["left", "right"]


@pytest.fixture
def hub_folder(tmp_path):
    """A folder of results with one of a made-up hub model."""
    record = copy.deepcopy(results.read(data_dir() / "results/mini/strips.json"))
    record["provenance"] |= {"model": "owner/Made-Up-2B", "revision": "0" * 40}
    path = tmp_path / "owner--Made-Up-2B" / "strips.json"
    results.save(path, "strips", record["values"], record["provenance"], record["claims"])
    return tmp_path


def test_a_real_model_stands_beside_the_shipped_ones(hub_folder, monkeypatch):
    monkeypatch.setenv("DUALMECH_RESULTS", str(hub_folder))
    found = {(r["provenance"]["model"], r["experiment"]): r for r in results.collect()}
    assert ("owner/Made-Up-2B", "strips") in found
    shipped = {(path.parent.name.replace("--", "/"), path.stem) for path in SHIPPED}
    assert set(found) == shipped | {("owner/Made-Up-2B", "strips")}
    assert found["owner/Made-Up-2B", "strips"]["provenance"]["revision"] == "0" * 40


def test_a_malformed_file_stops_no_other(hub_folder):
    shutil.copytree(hub_folder / "owner--Made-Up-2B", hub_folder / "other")
    bad = hub_folder / "other" / "strips.json"
    bad.write_text(bad.read_text().replace('"date"', '"day"'))
    words = f"{bad}: provenance.date is missing; it must be a date such as 2026-01-31"
    with pytest.raises(ValueError) as error:
        results.collect(hub_folder)
    assert str(error.value) == words
    refused = []
    (found,) = results.collect(hub_folder, refused=refused)
    assert found["provenance"]["model"] == "owner/Made-Up-2B" and refused == [words]


def test_results_go_to_the_working_folder_unless_told(monkeypatch):
    monkeypatch.delenv("DUALMECH_RESULTS", raising=False)
    assert str(results.results_dir()) == "results"


def test_a_claim_is_open_where_undecided_checks_could_change_its_verdict(
    vlm, tmp_path, monkeypatch
):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))

    def claim(*checks):
        return results.claim("It holds.", dict(zip("abc", checks, strict=False)), measured=["x"])

    found = [claim(*checks)["verdict"] for checks in (
        (True, None), (False, None), (None,), (True, False, None), (True, True), (False, False)
    )]  # fmt: skip
    assert found == ["open", "open", "open", "partly", "replicates", "does not"]
    assert claim(True, False, None)["checks"] == {"a": True, "b": False}
    values = {"x": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}}
    kept = results.record(vlm, "strips", values, [claim(True, None), claim(True, False, None)])
    assert [c["verdict"] for c in kept["claims"]] == ["partly"]
