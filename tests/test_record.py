import copy
import json
import math
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch

import dualmech
from dualmech import metrics, record
from vlms._paths import data_dir

SHIPPED = sorted((data_dir() / "results").glob("*/*.json"))


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


def test_provenance_of_a_hub_model(vlm):
    hub = replace(vlm, name="owner/name", revision="0123456789" * 4, quantised="4bit")
    source = record.provenance(hub, 1)
    assert source["revision"] == "0123456789" * 4 and source["quantised"] == "4bit"
    assert not {"revision", "quantised"} & set(record.provenance(vlm, 1))


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


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_result_is_valid_and_in_its_place(path):
    assert path == data_dir() / "results" / record.place(record.read(path))


def test_an_own_model_whose_weights_do_not_ship_keeps_its_name_and_numbers():
    one = record.read(data_dir() / "results" / "layout" / "amplification.json")
    record.check_sent(one, "layout.json")
    one["values"]["net gain"]["value"] += 0.001
    with pytest.raises(ValueError, match="an own model's"):
        record.check_sent(one, "layout.json")


STATS = ("values", "strip swap, left, slot 0")
GONE = object()
BAD = [  # where a shipped record is damaged, what stands there, and which place is named
    (["experiment"], "tea", "experiment"),
    (["provenance"], GONE, "'provenance'"),
    (["values"], {}, "values"),
    (["claims"], {}, "claims"),
    (["claim"], [], "'claim' was unexpected"),
    (["provenance", "model"], "", "provenance.model"),
    (["provenance", "weights"], "2DC9", "provenance.weights"),
    (["provenance", "torch"], GONE, "'torch'"),
    (["provenance", "device"], 5, "provenance.device"),
    (["provenance", "precision"], "int4", "provenance.precision"),
    (["provenance", "seconds"], -1, "provenance.seconds"),
    (["provenance", "seconds"], math.nan, "provenance.seconds"),
    (["provenance", "date"], "20261122", "provenance.date"),
    (["provenance", "date"], "2026-02-30", "provenance.date"),
    (["provenance", "revision"], 7, "provenance.revision"),
    ([*STATS], 1.0, STATS[1]),
    (["values", "a\nb"], 1.0, "holds what no result needs"),
    ([*STATS, "n"], GONE, "'n'"),
    ([*STATS, "n"], 0, f"{STATS[1]}'].n"),
    ([*STATS, "n"], True, f"{STATS[1]}'].n"),
    ([*STATS, "low"], math.nan, f"{STATS[1]}'].low: nan is not of type 'number'"),
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
    one = json.loads((data_dir() / "results/mini/strips.json").read_text())
    box = one
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
    one = json.loads((data_dir() / "results/mini/report.json").read_text())
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
    one = json.loads((data_dir() / "results/mini/controls.json").read_text())
    shares = [metrics.share([True] * k + [False] * (n - k)) for n in range(1, 60)
              for k in range(n + 1)]  # fmt: skip
    means = [metrics.mean(x) for x in ([0.1, 0.1, 0.1], [0.3] * 7, [-1.0, 2.0])]
    one["values"] = {str(k): stats for k, stats in enumerate(shares + means)}
    record.check(one)


def test_the_verdict_follows_from_the_checks():
    for checks, verdict in (
        ({"first": True, "then": np.bool_(True)}, "replicates"),
        ({"first": True, "then": False}, "partly"),
        ({"first": False, "then": np.bool_(False)}, "does not"),
    ):
        one = record.claim("First this, then that.", checks, ["table1.x"], ["a value"])
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
        record.claim("Empty.", {})
    assert record.claim("Ours.", {"a": True}, by="book")["by"] == "book"
    with pytest.raises(ValueError, match="a claim is by one of paper, book, not 'me'"):
        record.claim("Mine.", {"a": True}, by="me")


def test_records_are_collected_and_a_later_folder_wins(tmp_path, vlm, monkeypatch):
    values = {"accuracy, left": metrics.share([True, False])}
    claims = [record.claim("It can.", {"above chance": False}, measured=list(values))]
    for folder, n in (("old", 1), ("new", 2)):
        monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path / folder))
        made = record.write(vlm, "strips", values, claims, seconds=n)
        assert made["values"] == values and made["claims"] == claims
    record.write(vlm, "probes", values)
    found = record.collect(tmp_path / "old", tmp_path / "new")
    assert [(r["experiment"], r["provenance"]["seconds"]) for r in found] == [
        ("strips", 2.0),
        ("probes", 0.0),
    ]
    assert (tmp_path / "new" / vlm.name.replace("/", "--") / "probes.json").exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, vlm, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path / "file"))
    values = {"left": metrics.share([True])}
    with pytest.raises(
        ValueError, match=r"cannot write .*file/.*probes.json \(Not a directory\): "
    ):
        record.write(vlm, "probes", values)
    deep = replace(vlm, name="/home/" + "x" * 300)
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path / "results"))
    with pytest.raises(ValueError, match="provenance.model: .* is too long"):
        record.write(deep, "probes", values)
    (path,) = (tmp_path / "results").glob("*/probes.json")
    assert json.loads(path.read_text())["values"] == values, "the numbers are kept"


def test_a_mistake_is_told_and_the_numbers_are_kept(tmp_path, vlm, monkeypatch):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))
    values = {"accuracy, left": metrics.share([True, False])}
    claims = [record.claim("It can.", {"above": True}, measured=["accuracy, right"])]
    words = r"probes.json: \$.claims\[0\].measured: there is no 'accuracy, right'"
    with pytest.raises(ValueError, match=words):
        record.write(vlm, "probes", values, claims)
    (path,) = tmp_path.glob("*/*.json")
    assert json.loads(path.read_text())["values"] == values


def test_what_could_not_be_measured_is_left_out(tmp_path, vlm, monkeypatch):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))
    values = {"left": metrics.share([True]), "right": metrics.mean([1.0, np.nan])}
    claims = [record.claim("It can.", {"above": True}, measured=["left", "right"])]
    made = record.write(vlm, "probes", values, claims)
    assert made["values"] == {"left": values["left"]}
    assert made["claims"][0]["measured"] == ["left"] and list(values) == ["left", "right"]
    assert claims[0]["measured"] == ["left", "right"]


@pytest.fixture
def hub_folder(tmp_path):
    """A folder of results with one of a made-up hub model."""
    one = copy.deepcopy(record.read(data_dir() / "results/mini/strips.json"))
    one["provenance"] |= {"model": "owner/Made-Up-2B", "revision": "0" * 40}
    path = tmp_path / "owner--Made-Up-2B" / "strips.json"
    record.save(path, "strips", one["values"], one["provenance"], one["claims"])
    return tmp_path


def test_a_real_model_stands_beside_the_shipped_ones(hub_folder, monkeypatch):
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


def test_results_go_to_the_working_folder_unless_told(monkeypatch):
    monkeypatch.delenv("DUALMECH_RESULTS", raising=False)
    assert str(record.results_dir()) == "results"


def test_a_claim_is_open_where_undecided_checks_could_change_its_verdict(
    vlm, tmp_path, monkeypatch
):
    monkeypatch.setenv("DUALMECH_RESULTS", str(tmp_path))

    def claim(*checks):
        return record.claim("It holds.", dict(zip("abc", checks, strict=False)), measured=["x"])

    found = [claim(*checks)["verdict"] for checks in (
        (True, None), (False, None), (None,), (True, False, None), (True, True), (False, False)
    )]  # fmt: skip
    assert found == ["open", "open", "open", "partly", "replicates", "does not"]
    assert claim(True, False, None)["checks"] == {"a": True, "b": False}
    values = {"x": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}}
    kept = record.write(vlm, "strips", values, [claim(True, None), claim(True, False, None)])
    assert [c["verdict"] for c in kept["claims"]] == ["partly"]
