"""The three claims, model by model: the numbers, the verdicts, and what was taught."""

import json
import re

from hostile import sent

from dualmech import paper, record
from organism import findings
from organism.recipe import OBJECTIVES
from vlms._paths import data_dir
from vlms.loading import SHIPPED

CLAIMS = findings.claims()
RELATIONS, STRIPS, GAIN = CLAIMS
KEPT = record.collect(data_dir() / "results")
FOUR = {
    f"strips, {d}": {"value": v, "low": v - 0.1, "high": v + 0.1, "n": 10}
    for d, v in {"left": 0.9, "right": 0.8, "above": 0.7, "below": 0.4}.items()
}


def made(values, *claims, experiment="strips") -> dict:
    return {"experiment": experiment, "provenance": {"model": "owner/Made-Up-2B"},
            "values": values, "claims": list(claims)}  # fmt: skip


def row(claim, records, model) -> dict:
    (found,) = [r for r in findings.rows(claim, records) if r["model"] == model]
    return found


def test_every_name_in_the_file_of_claims_exists_and_the_readme_says_them():
    for claim in CLAIMS:
        values = next(r for r in KEPT if r["experiment"] == claim["experiment"])["values"]
        for key in ("value", "control"):
            assert sum(bool(re.fullmatch(claim[key], name)) for name in values) in (1, 4), claim
        for ids in [*claim["published"].values(), *claim["random"].values()]:
            assert all(paper.value(id) >= 0 for id in ids)
        assert set(SHIPPED) <= set(claim["taught"]) <= {*SHIPPED, *OBJECTIVES}
        assert set(claim) == set(CLAIMS[0])
    text = (data_dir().parent / "README.md").read_text()
    assert "\n".join(f"{k}. {c['claim']}" for k, c in enumerate(CLAIMS, 1)) in text


def test_a_number_is_the_mean_over_directions_with_the_mean_interval():
    found = row(STRIPS, [made(FOUR)], "owner/Made-Up-2B")
    assert found["value"] == "0.70 [0.60, 0.80], n = 40"
    assert found["control"] == "none" and found["taught"] == "not known"
    assert found["verdict"] == "cannot tell", "the record has no claim"


def test_a_verdict_follows_from_the_checks_of_the_paper_s_claims():
    assert list(findings.WORDS) == [*record.VERDICTS, record.OPEN]
    for verdict, *checks in (
        ("supported", True, True), ("contradicted", False, False), ("in part", True, False)
    ):  # fmt: skip
        claims = [record.claim(f"part {k}", {"it holds": ok}) for k, ok in enumerate(checks)]
        books = record.claim("the book's own", {"it holds": not checks[0]}, by="book")
        found = row(STRIPS, [made(FOUR, *claims, books)], "owner/Made-Up-2B")
        assert found["verdict"] == verdict


def test_the_paper_s_models_stand_first_with_what_it_printed():
    qwen = findings.rows(STRIPS, KEPT)[0]
    assert qwen["model"] == "Qwen2-VL-7B-Instruct" and qwen["verdict"] == "published"
    assert qwen["value"] == "0.90, n = 200"  # (.97 + .96 + .91 + .74) / 4 = .895
    gemma = row(GAIN, KEPT, "Gemma-3-4b-it")
    assert (gemma["value"], gemma["control"]) == ("+0.190, n = 440", "+0.150")  # .72 - .57


def test_a_further_run_is_judged_by_the_directions_that_were_measured():
    runs = json.loads((data_dir() / "results" / "seeds.json").read_text())
    found = findings.rows(STRIPS, KEPT)
    assert [r["model"] for r in found][:2] == ["Qwen2-VL-7B-Instruct", "mini"]
    assert len(found) == 1 + len(runs), "mini has a record; every other run stands by itself"
    for run, told in zip(runs[1:], found[2:], strict=True):
        swaps = [d["strip"]["flips"] for d in run["directions"].values() if d["strip"]]
        wins = sum(s["low"] > 1 / 2 for s in swaps)
        assert told["verdict"] == (
            "cannot tell" if not swaps else "contradicted" if not wins
            else "supported" if wins == len(swaps) else "in part")  # fmt: skip
        assert told["control"].endswith("(own strips)") or not swaps
        assert told["taught"] != findings.UNTOLD


def test_a_result_that_was_sent_in_has_its_row():
    told = {"model": "owner/Made-Up-2B", "taught": findings.UNTOLD}
    assert row(STRIPS, [*KEPT, sent()], told["model"]) == row(STRIPS, KEPT, "mini") | told
