"""data/paper.json says where each number is from, and its numbers agree with each other."""

from math import floor

import pytest

from dualmech import metrics, paper

RESULTS = paper.published()
MODELS = paper.describe("models")
QWEN, GEMMA, PIXTRAL, QWEN_2B = "qwen2-vl-7b", "gemma-3-4b", "pixtral-12b", "qwen2-vl-2b"
SIDES = ("left", "right", "above", "below")
OPTIONAL = {"value", "range", "slot", "site", "region", "stage", "condition"}


def two_decimals(x):
    """Rounded half up, as a table prints it."""
    return floor(x * 100 + 0.5 + 1e-9) / 100


# ---- the form of the file


def test_every_entry_has_the_same_fields_and_a_source():
    ids = [r["id"] for r in RESULTS]
    assert len(ids) == len(set(ids)) > 250
    fields, sources = set(RESULTS[0]) - OPTIONAL, paper.describe("sources")
    for r in RESULTS:
        assert fields <= set(r) <= fields | OPTIONAL and ("value" in r) != ("range" in r), r["id"]
        key = f"paper-{r['version']}" if r["source"] == "paper" else r["source"]
        assert sources[key] and r["where"] and r["model"] in MODELS, r["id"]
        assert r["note"] or r.get("range") or r["value"] is not None, r["id"]
        if r["layer"] is not None:
            assert r["slot"] == r["layer"] + 1 <= MODELS[r["model"]]["layers"], r["id"]


def test_numbers_are_in_range():
    for r in RESULTS:
        found = r.get("range") or [x for x in [r.get("value")] if x is not None]
        assert found == sorted(found) and len(found) <= 2, r["id"]
        tops = {"layers": MODELS[r["model"]]["layers"] - 1, "alpha": 15, "pairs": 50,
                "correct items": r["n"], "fixed items": r["n"]}  # fmt: skip
        assert all(0 <= x <= tops.get(r["quantity"], 1) for x in found), r["id"]


# ---- arithmetic: the numbers agree with each other


@pytest.mark.parametrize("model", [QWEN, GEMMA, PIXTRAL])
def test_geometry(model):
    m = MODELS[model]
    rows, cols = m["grid"]
    item, gap = m["item_tokens"], m["gap_tokens"]
    first = (cols - 3 * item - 2 * gap) // 2
    assert rows * cols == m["image_tokens"] and cols * m["px_per_token"] == m["canvas"]
    assert m["first_axis_starts"] == [first + i * (item + gap) for i in range(3)]
    assert m["cross_axis_start"] == (rows - item) // 2 and sum(m["strips"]) == cols
    assert m["strip_tokens_moved"] == (m["strips"][0] + m["strips"][2]) * rows
    assert m["object_tokens_moved"] == 2 * item * item


def test_repository_accuracies_are_shares_of_n():
    kinds = ("behaviour", "ordering_removed")
    checked = [r for r in RESULTS if r["version"] == "repo" and r["experiment"] in kinds and r["n"]]
    assert len(checked) > 50
    for r in checked:
        nearest = round(r["value"] * r["n"]) / r["n"]
        assert abs(nearest - r["value"]) <= r["tolerance"] + 1e-9, r["id"]


def test_directions_average_to_the_total():
    groups = {}
    for r in RESULTS:
        if r["version"] == "repo" and r["quantity"] == "accuracy" and "value" in r:
            key = (r["experiment"], r["model"], r["task"])
            groups.setdefault(key, {})[r["direction"]] = r["value"]
    whole = [rows for rows in groups.values() if {*SIDES, "all"} <= set(rows)]
    assert len(whole) >= 9
    for rows in whole:
        assert abs(sum(rows[d] for d in SIDES) / 4 - rows["all"]) <= 0.0055


def test_printed_tables_round_the_repository():
    exceptions = {f"table5.shapes.{QWEN}"}  # printed 0.62, repository .613
    for r in RESULTS:
        if r["version"] == "v2" and r["id"].startswith(("table1.", "table5.")):
            name = r["id"].removesuffix(".v2")
            off = abs(r["value"] - paper.value(name + ".repo"))
            assert (off <= 0.0051) != (name in exceptions), name


@pytest.mark.parametrize("model", [GEMMA, QWEN_2B])
def test_table2_has_one_integer_solution(model):
    def printed(quantity, *conditions):
        return [paper.value(f"table2.{quantity}.{model}.{c}.v2") for c in conditions]

    accuracy = printed("accuracy", "none", "random", "ordering")
    fixed = [round(100 * x, 1) for x in printed("fixed", "random", "ordering")]
    solutions = [
        (right, a, b)
        for right in range(440)
        if two_decimals(right / 440) == accuracy[0]
        for a in range(440 - right)
        if round(100 * a / (440 - right), 1) == fixed[0]
        and two_decimals((right + a) / 440) == accuracy[1]
        for b in range(440 - right)
        if round(100 * b / (440 - right), 1) == fixed[1]
        and two_decimals((right + b) / 440) == accuracy[2]
    ]
    counts = [("right", "none"), ("fixed", "random"), ("fixed", "ordering")]
    assert solutions == [tuple(paper.value(f"table2.count_{k}.{model}.{c}") for k, c in counts)]


def test_coco_axes_add_up():
    for model, whole in (
        (GEMMA, f"table2.count_right.{GEMMA}.none"),
        (PIXTRAL, f"coco.correct.{PIXTRAL}.all.repo"),
    ):
        axes = [f"coco.correct.{model}.{axis}.repo" for axis in ("horizontal", "vertical")]
        assert sum(map(paper.value, axes)) == paper.value(whole)


def test_probabilities_add_up_to_one_at_most():
    for d in SIDES:
        c2, c3 = (
            {r["layer"]: r["value"]
             for r in paper.published("last_token", quantity=quantity, direction=d)}
            for quantity in ("P(c2)", "P(c3)")
        )  # fmt: skip
        assert c2.keys() == c3.keys() and all(c2[k] + c3[k] <= 1.04 for k in c2)
        assert max(c2, key=c2.get) == paper.value(f"layers.last_token.ordering_peak.{QWEN}.figure")
        swapped = [paper.value(f"fig6.object.{c}.{d}.embed") for c in ("c0", "c2")]
        assert sum(swapped) <= 1.04


def test_probe_accuracies_are_shares_of_item_tokens():
    """A value, or two where the two axes differ: each a count of the test images' item tokens."""
    checked = [r for r in paper.published("probe", quantity="accuracy") if r["n"]]
    assert {(r["model"], r["task"]) for r in checked} >= {(GEMMA, "squares"), (GEMMA, "shapes")}
    for r in checked:
        tokens = r["n"] * 3 * MODELS[r["model"]]["item_tokens"] ** 2
        for x in r.get("range", [r.get("value")]):
            off = abs(round(x * tokens) / tokens - x)
            assert off <= (r["tolerance"] or 0.00005) + 1e-9, (r["id"], x)


# ---- the functions


def test_published_filters_and_gives_copies():
    some = paper.published("last_token", quantity="P(c2)", direction="left")
    assert len(some) == 10 and {r["experiment"] for r in some} == {"last_token"}
    assert paper.published("probe", task="coco_spatial") == []
    assert all(r["layer"] is None for r in paper.published("region_swap", layer=None))
    paper.published("last_token")[0]["value"] = -1
    paper.describe("models")[QWEN]["grid"][0] = 0
    assert paper.published("last_token")[0]["value"] != -1
    assert paper.describe("models")[QWEN]["grid"] == [12, 12]


@pytest.mark.parametrize("call, error, says", [
    (lambda: paper.value(f"table1.square.{QWEN}.v2"), LookupError, f"table1.squares.{QWEN}.v2"),
    (lambda: paper.published("lasttoken"), LookupError, "last_token"),
    (lambda: paper.published(modle=QWEN), LookupError, "model"),
    (lambda: paper.published(task="zzz"), LookupError, "squares"),
    (lambda: paper.describe("model"), LookupError, "models"),
    (lambda: paper.value(f"layers.backup.{GEMMA}"), ValueError, "no number, not one number"),
    (lambda: paper.value(f"layers.backup.{QWEN}.v2"), ValueError, "[11, 20], not one number"),
])  # fmt: skip
def test_a_mistake_is_told_in_one_line_with_what_exists(call, error, says):
    with pytest.raises(error) as told:
        call()
    assert says in str(told.value) and "\n" not in str(told.value)


def test_a_published_share_has_the_interval_of_its_count():
    (r,) = paper.published("behaviour", version="v2", task="squares", model=GEMMA)
    found = paper.share(r["id"])
    assert (found["value"], found["n"]) == (r["value"], r["n"])
    assert (found["low"], found["high"]) == metrics.wilson(round(r["value"] * r["n"]), r["n"])
    bare = next(r["id"] for r in RESULTS if r.get("value") is not None and not r.get("n"))
    with pytest.raises(ValueError, match="has no n, so it has no interval"):
        paper.share(bare)
