import json
import math
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from hostile import sent

import dualmech
from dualmech import metrics, record
from vlms._paths import data_dir

SHIPPED = sorted((data_dir() / "results").glob("*/*.json"))


def kept(experiment: str) -> dict:
    return json.loads((data_dir() / f"results/mini/{experiment}.json").read_text())


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where `record.write` puts results."""
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_a_result_comes_back_as_it_was(tmp_path, vlm):
    values = {"left - right": metrics.share([True, False]) | {"slot": 3}}
    source = record.provenance(vlm, 12.345, seed=3)
    path = tmp_path / "mini" / "new" / "strips.json"
    assert record.save(path, "strips", values, source) == path
    assert record.read(path) == {"experiment": "strips", "provenance": source, "values": values}
    assert record.read(str(path)) == record.read(path)
    assert path.read_text().endswith("}\n")


def test_provenance(vlm):
    source = record.provenance(vlm, 12.345, seed=3)
    assert source["model"] == vlm.name and source["weights"] == vlm.fingerprint
    assert source["dualmech"] == dualmech.__version__ and source["torch"] == torch.__version__
    assert source["precision"] == "float32" and source["device"].startswith("cpu (")
    assert source["seconds"] == 12.3 and source["seed"] == 3
    assert abs((date.today() - date.fromisoformat(source["date"])).days) <= 1
    assert set(source) == {"model", "weights", "dualmech", "torch", "transformers", "device",
                           "precision", "seconds", "date", "seed"}  # fmt: skip
    hub = {"revision": "0123456789" * 4, "quantised": "4bit"}
    found = record.provenance(replace(vlm, name="owner/name", **hub), 12.345, seed=3)
    assert found == source | hub | {"model": "owner/name"}


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read the result "), ("{", "cannot read the result "), ("[" * 10**5, "cannot"),
     ("7", "{path}: $: 7 is not of type 'object'"),
     ("{}", "{path}: $: 'experiment' is a required property"),
     ('{"experiment": "a", "values": {"b": 1, "c": {"n": 2, "d": 0, "n": 3}}}',
      "cannot read the result {path}: 'n' stands 2 times in one place: say it once")],
    ids=["missing", "broken", "deep", "a number", "empty", "twice"],
)  # fmt: skip
def test_a_malformed_file_is_named(tmp_path, content, words):
    path = tmp_path / "strips.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError) as error:
        record.read(path)
    told = str(error.value)
    assert told.startswith(words.format(path=path)) and str(path) in told and "\n" not in told


def test_what_json_cannot_hold_is_refused_whole(tmp_path):
    path = tmp_path / "strips.json"
    record.save(path, "strips", {"n": 1}, {})
    with pytest.raises(TypeError):
        record.save(path, "strips", {"n": np.arange(3)}, {})
    assert json.loads(path.read_text())["values"] == {"n": 1}
    record.save(path, "strips", {"n": np.int64(2), "value": np.float32(0.5)}, {})
    assert json.loads(path.read_text())["values"] == {"n": 2, "value": 0.5}


STATS = ("values", "strip swap, left, slot 0")
GONE = object()
BAD = [  # where a shipped record is damaged, what stands there, and which place is named
    (["experiment"], "tea", "experiment"),
    (["provenance"], GONE, "'provenance'"),
    (["values"], {}, "values"),
    (["claims"], {}, "claims"),
    (["claim"], [], "'claim' was unexpected"),
    (["provenance", "model"], "", "provenance.model"),
    (["provenance", "torch"], GONE, "'torch'"),
    (["provenance", "device"], 5, "provenance.device"),
    (["provenance", "precision"], "int4", "provenance.precision"),
    (["provenance", "seconds"], -1, "provenance.seconds"),
    (["provenance", "date"], "20261122", "provenance.date"),
    (["provenance", "date"], "2026-02-30", "provenance.date"),
    (["provenance", "revision"], 7, "provenance.revision"),
    ([*STATS], 1.0, STATS[1]),
    ([*STATS, "n"], GONE, "'n'"),
    ([*STATS, "n"], 0, f"{STATS[1]}'].n"),
    ([*STATS, "n"], True, f"{STATS[1]}'].n"),
    ([*STATS, "high"], math.inf, f"{STATS[1]}'].high"),
    ([*STATS, "value"], "1", f"{STATS[1]}'].value"),
    ([*STATS, "value"], 2, "not low <= value <= high"),
    (["claims", 0], "x", "claims[0]"),
    (["claims", 1, "measured"], GONE, "'measured'"),
    (["claims", 1, "checks"], {}, "claims[1].checks"),
    (["claims", 1, "checks"], {"a": 1}, "claims[1].checks.a"),
    (["claims", 0, "verdict"], "does not", "claims[0].verdict: from its checks follows"),
    (["claims", 0, "by"], "me", "claims[0].by"),
    (["claims", 0, "verdict"], "true", "claims[0].verdict"),
    (["claims", 0, "paper", 2], "fig0", "claims[0].paper: there is no 'fig0'"),
    (["claims", 2, "measured", 1], {}, "claims[2].measured[1]"),
    (["claims", 2, "measured", 1], "tea", "claims[2].measured: there is no 'tea'"),
]


@pytest.mark.parametrize(("keys", "new", "words"), BAD)
def test_a_malformed_record_is_refused_with_its_place(tmp_path, keys, new, words):
    box = one = sent()
    for key in keys[:-1]:
        box = box[key]
    if new is GONE:
        del box[keys[-1]]
    else:
        box[keys[-1]] = new
    path = tmp_path / "strips.json"
    path.write_text(json.dumps(one))
    with pytest.raises(ValueError) as from_file:
        record.read(path)
    with pytest.raises(ValueError) as from_record:
        record.check(one)
    told = str(from_file.value)
    assert told.startswith(f"{path}: $") and words in told and "\n" not in told
    assert str(from_record.value).startswith("the record: $")


def test_a_row_of_a_report_is_checked_too():
    one = kept("report")
    one["values"]["rows"][3]["low"] = None
    with pytest.raises(ValueError, match=r"values.rows\[3\].low: None is not of type 'number'"):
        record.check(one)
    one["values"]["rows"][3]["low"] = 2
    with pytest.raises(ValueError, match=r"values\[3\]: not low <= value <= high"):
        record.check(one)
    one["values"] = {"accuracy": metrics.share([True])}
    with pytest.raises(ValueError, match="'rows' is a required property"):
        record.check(one)


def test_every_interval_that_the_metrics_give_is_valid():
    one = kept("controls")
    shares = [metrics.share([True] * k + [False] * (n - k)) for n in range(1, 60)
              for k in {0, 1, n // 2, n - 1, n}]  # fmt: skip
    means = [metrics.mean(x) for x in ([0.1, 0.1, 0.1], [0.3] * 7, [-1.0, 2.0])]
    one["values"] = {str(k): stats for k, stats in enumerate(shares + means)}
    record.check(one)


@pytest.mark.parametrize(("verdict", "checks"), [
    ("replicates", (True, np.bool_(True))), ("partly", (True, False)),
    ("does not", (False, np.bool_(False))), ("partly", (True, False, None)),
    ("open", (True, None)), ("open", (False, None)), ("open", (None,)),
])  # fmt: skip
def test_the_verdict_follows_from_the_checks_and_is_open_where_they_cannot_tell(verdict, checks):
    checks = dict(zip("abc", checks, strict=False))
    one = record.claim("First this, then that.", checks, ["table1.x"], ["a value"])
    known = {name: ok for name, ok in checks.items() if ok is not None}
    assert one == {"claim": "First this, then that.", "by": "paper", "verdict": verdict,
                   "checks": known, "paper": ["table1.x"], "measured": ["a value"]}  # fmt: skip
    json.dumps(one)


def test_a_claim_has_a_check_and_an_author():
    assert record.claim("Ours.", {"a": True}, by="book")["by"] == "book"
    with pytest.raises(ValueError, match="no check for the claim 'Empty.'"):
        record.claim("Empty.", {})
    with pytest.raises(ValueError, match="a claim is by one of paper, book, not 'me'"):
        record.claim("Mine.", {"a": True}, by="me")


def test_records_are_collected_and_a_later_folder_wins(tmp_path, vlm, monkeypatch):
    monkeypatch.delenv("DUALMECH_RESULTS", raising=False)
    assert str(record.results_dir()) == "results", "in the working folder, unless told"
    values = {"accuracy, left": metrics.share([True, False])}
    claims = [record.claim("It can.", {"above chance": False}, measured=list(values))]
    for folder, n in (("old", 1), ("new", 2)):
        monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path / folder))
        made = record.write(vlm, "strips", values, claims, seconds=n)
        assert made["values"] == values and made["claims"] == claims
    record.write(vlm, "probes", values)
    found = record.collect(tmp_path / "old", tmp_path / "new")
    assert [(r["experiment"], r["provenance"]["seconds"]) for r in found] == [
        ("strips", 2.0), ("probes", 0.0)
    ]  # fmt: skip
    assert (tmp_path / "new" / vlm.name.replace("/", "--") / "probes.json").exists()


def test_a_mistake_is_told_and_the_numbers_are_kept(vlm, results):
    values = {"accuracy, left": metrics.share([True, False])}
    results.write_text("")
    with pytest.raises(
        ValueError, match=r"cannot write .*results/.*probes.json \(Not a directory\): "
    ):
        record.write(vlm, "probes", values)
    results.unlink()
    other = record.claim("It can.", {"above": True}, measured=["accuracy, right"])
    for model, claims, words in (
        (vlm, [other], r"probes.json: \$.claims\[0\].measured: there is no 'accuracy, right'"),
        (replace(vlm, name="/home/" + "x" * 300), [], "provenance.model: .* is too long"),
    ):
        with pytest.raises(ValueError, match=words):
            record.write(model, "probes", values, claims)
        (path,) = results.glob("*/probes.json")
        assert json.loads(path.read_text())["values"] == values
        path.unlink()


def test_what_could_not_be_measured_is_left_out_and_so_are_open_claims(vlm, results):
    values = {"left": metrics.share([True]), "right": metrics.mean([1.0, np.nan])}
    told = {"a": True, "b": None}, {"a": True, "b": False, "c": None}
    claims = [record.claim("It can.", checks, measured=["left", "right"]) for checks in told]
    made = record.write(vlm, "probes", values, claims)
    assert made["values"] == {"left": values["left"]}
    assert [(c["verdict"], c["measured"]) for c in made["claims"]] == [("partly", ["left"])]
    assert list(values) == ["left", "right"] and claims[1]["measured"] == ["left", "right"]


@pytest.fixture
def hub_folder(tmp_path):
    """A folder of results with one of a made-up hub model."""
    one = sent()
    path = tmp_path / "owner--Made-Up-2B" / "strips.json"
    record.save(path, "strips", one["values"], one["provenance"], one["claims"])
    return tmp_path


def test_a_real_model_stands_beside_the_shipped_ones(hub_folder, monkeypatch):
    """`collect` refuses a shipped one that is not valid, or not in its place."""
    monkeypatch.setenv("DUALMECH_RESULTS", str(hub_folder))
    found = {(r["provenance"]["model"], r["experiment"]): r for r in record.collect()}
    assert ("owner/Made-Up-2B", "strips") in found
    shipped = {(path.parent.name.replace("--", "/"), path.stem) for path in SHIPPED}
    assert set(found) == shipped | {("owner/Made-Up-2B", "strips")}
    assert found["owner/Made-Up-2B", "strips"]["provenance"]["revision"] == "0" * 40


def test_a_malformed_file_stops_no_other(hub_folder):
    shutil.copytree(hub_folder / "owner--Made-Up-2B", hub_folder / "other")
    bad = hub_folder / "other" / "strips.json"
    bad.write_text(bad.read_text().replace('"date"', '"day"'))
    words = f"{bad}: $.provenance: 'date' is a required property"
    with pytest.raises(ValueError) as error:
        record.collect(hub_folder)
    assert str(error.value) == words
    refused = []
    (found,) = record.collect(hub_folder, refused=refused)
    assert found["provenance"]["model"] == "owner/Made-Up-2B" and refused == [words]
