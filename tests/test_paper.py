"""data/paper.json is complete, says where each number is from, and agrees with itself."""

from math import floor, perm

import pytest

from dualmech import metrics, paper

RESULTS = paper.published()
MODELS = paper.describe("models")
TASKS = paper.describe("tasks")
QWEN, GEMMA, PIXTRAL, QWEN_2B = "qwen2-vl-7b", "gemma-3-4b", "pixtral-12b", "qwen2-vl-2b"
SIDES = ("left", "right", "above", "below")
REQUIRED = {
    "id",
    "experiment",
    "chapter",
    "model",
    "task",
    "direction",
    "layer",
    "quantity",
    "n",
    "tolerance",
    "source",
    "version",
    "where",
    "note",
}
OPTIONAL = {"value", "range", "slot", "site", "region", "stage", "condition"}
CHOICES = {
    "experiment": {
        "behaviour",
        "last_token",
        "region_swap",
        "probe",
        "ordering_removed",
        "absolute_relative",
        "backup",
        "amplification",
    },
    "model": set(MODELS),
    "task": set(TASKS),
    "direction": {*SIDES, "horizontal", "vertical", "all"},
    "source": {"paper", "code", "figure", "notes", "inferred"},
    "version": {"v1", "v2", "repo", "old"},
    "quantity": {
        "accuracy",
        "fixed",
        "gain",
        "P(c0)",
        "P(c1)",
        "P(c2)",
        "P(c3)",
        "P(other)",
        "P(left class)",
        "P(right class)",
        "layers",
        "alpha",
        "pairs",
        "correct items",
        "fixed items",
    },
}


def two_decimals(x):
    """Rounded half up, as a table prints it."""
    return floor(x * 100 + 0.5 + 1e-9) / 100


def numbers(entry):
    return (
        entry["range"] if "range" in entry else [] if entry["value"] is None else [entry["value"]]
    )


def swap(region, quantity, direction, site):
    fig = {"strip": 7, "object": 6}[region]
    return paper.value(f"fig{fig}.{region}.{quantity}.{direction}.{site}")


# ---- the form of the file


def test_ids_are_unique():
    ids = [r["id"] for r in RESULTS]
    assert len(ids) == len(set(ids)) > 250


def test_every_entry_has_the_right_fields():
    for r in RESULTS:
        assert REQUIRED <= set(r) <= REQUIRED | OPTIONAL, r["id"]
        assert ("value" in r) != ("range" in r), r["id"]
        for field, allowed in CHOICES.items():
            assert r[field] in allowed, (r["id"], field)
        assert r["chapter"] in range(1, 13), r["id"]
        assert r["where"] and isinstance(r["note"], str), r["id"]
        assert numbers(r) or r["note"], f"{r['id']}: an unknown number needs a reason"
        assert r["n"] is None or (isinstance(r["n"], int) and r["n"] > 0), r["id"]
        assert r["tolerance"] is None or 0 < r["tolerance"] <= 0.02, r["id"]
        if r["source"] == "figure" and r["quantity"].startswith("P(") and "value" in r:
            assert r["tolerance"] == 0.02, r["id"]
        if r["layer"] is not None:
            assert r["slot"] == r["layer"] + 1 <= MODELS[r["model"]]["layers"], r["id"]
        if r.get("site") == "embedding":
            assert r["layer"] is None and r["slot"] == 0, r["id"]


def test_numbers_are_in_range():
    for r in RESULTS:
        found = numbers(r)
        assert found == sorted(found), r["id"]
        assert len(found) in ({2} if "range" in r else {0, 1}), r["id"]
        top = {
            "layers": MODELS[r["model"]]["layers"] - 1,
            "alpha": 15,
            "pairs": 50,
            "correct items": r["n"],
            "fixed items": r["n"],
        }.get(r["quantity"], 1)
        assert all(0 <= x <= top for x in found), r["id"]


def test_every_source_and_version_is_explained():
    sources = paper.describe("sources")
    for entry in RESULTS:
        key = f"paper-{entry['version']}" if entry["source"] == "paper" else entry["source"]
        assert sources[key]
    assert sources["old"] and sources["layers"]
    assert {"v1", "v2", "v3"} == set(paper.describe("paper")["titles"])


def test_every_experiment_and_task_is_covered():
    for field in ("experiment", "task", "source", "version"):
        assert {r[field] for r in RESULTS} == CHOICES[field]


# ---- values checked by hand against the source


@pytest.mark.parametrize(
    "id, expected",
    {
        "table1.squares.qwen2-vl-7b.v2": 1.00,
        "table1.whatsup.qwen2-vl-7b.v2": 0.73,
        "table1.whatsup.gemma-3-4b.v2": 0.62,
        "table1.objects.qwen2-vl-7b.old": 0.73,
        "table1.squares.gemma-3-4b.repo.above": 0.925,
        "table1.shapes.pixtral-12b.repo.left": 0.217,
        "fig3.c0.left.l18": 0.69,
        "fig3.c2.left.l21": 0.77,
        "fig3.c2.above.l20": 0.41,
        "fig3.c2.below.l18": 0.30,
        "fig3.c3.right.l23": 0.42,
        "fig3.c3.above.l27": 0.90,
        "fig3.c3.below.l22": 0.15,
        "fig7.strip.c2.below.embed": 0.74,
        "fig7.strip.c2.right.l21": 0.78,
        "fig7.strip.c2.above.l22": 0.34,
        "fig6.object.c2.left.embed": 0.35,
        "fig6.object.c0.above.embed": 0.94,
        "fig6.object.c0.below.l18": 0.56,
        "probe.whatsup.gemma-3-4b.repo": 0.956,
        "probe.squares.pixtral-12b.repo": 0.897,
        "table5.objects.qwen2-vl-7b.v2": 0.43,
        "table5.squares.gemma-3-4b.v2": 0.57,
        "table5.shapes.gemma-3-4b.old": 0.82,
        "table5.shapes.pixtral-12b.repo": 0.758,
        "table5.squares.qwen2-vl-7b.repo.left": 0.85,
        "table5.objects.gemma-3-4b.repo.below": 0.73,
        "fig9.c0.above.embed": 0.60,
        "fig9.c2.right.peak": 0.50,
        "fig9.pairs.above.qwen2-vl-7b.repo": 6,
        "fig22.pairs.left.gemma-3-4b.paper": 14,
        "table2.accuracy.gemma-3-4b.ordering.v2": 0.72,
        "table2.fixed.qwen2-vl-2b.ordering.v2": 0.545,
        "table2.fixed.gemma-3-4b.random.v2": 0.096,
        "layers.last_token.ordering_peak.qwen2-vl-7b.figure": 21,
        "layers.region_swap.crossover.qwen2-vl-7b.figure": 22,
        "v1.fixed.gemma-3-4b.ordering": 0.507,
        "v1.gain.gemma-3-4b.ordering": 0.05,
        "probe.whatsup.pixtral-12b.repo": 0.863,
        "table5.shapes.qwen2-vl-7b.old": 0.62,
        "table5.objects.pixtral-12b.repo": 0.418,
    }.items(),
)
def test_spot_value(id, expected):
    assert paper.value(id) == expected


@pytest.mark.parametrize(
    "id, expected",
    {
        "layers.last_token.no_effect.qwen2-vl-7b.v2": [0, 19],
        "layers.last_token.ordering.qwen2-vl-7b.v2": [20, 22],
        "layers.last_token.attribute.qwen2-vl-7b.v2": [23, 27],
        "layers.backup.qwen2-vl-7b.v2": [11, 20],
        "layers.backup.qwen2-vl-7b.v1": [13, 17],
        "layers.region_swap.object_gain.qwen2-vl-7b.figure": [13, 21],
        "probe.objects.gemma-3-4b.repo": [0.990, 1.0],
        "v1.fixed.qwen2-vl-7b.random": [0.088, 0.158],
    }.items(),
)
def test_spot_range(id, expected):
    assert [r["range"] for r in RESULTS if r["id"] == id] == [expected]


# Whole curves, typed as published rows: left/right/above/below, or one number for all four.
CURVES = {
    ("fig3", "c2"): "l16 0, l18 .19/.18/.12/.30, l19 .21/.22/.11/.25, l20 .57/.59/.41/.58, "
    "l21 .77/.77/.58/.71, l22 .61/.66/.42/.51, l23 .27/.35/.21/.24, l24 .08/.12/.08/.07, "
    "l26 .01, l27 0",
    ("fig3", "c3"): "l16 0, l18 0, l19 0, l20 0, l21 .02/.01/.02/.02, l22 .11/.10/.13/.15, "
    "l23 .48/.42/.42/.47, l24 .77/.71/.66/.74, l26 .94/.91/.87/.92, l27 .96/.94/.90/.94",
    ("fig7.strip", "c2"): "embed .97/.96/.91/.74, l18 .96/.95/.94/.90, l20 .93/.90/.89/.86, "
    "l21 .83/.78/.72/.69, l22 .49/.42/.34/.26, l23 .13/.09/.08/.06",
    ("fig6.object", "c0"): "embed .58/.66/.94/.91",
    ("fig6.object", "c2"): "embed .35/.28/.00/.01",
    ("fig9", "c0"): "embed .68/.58/.60/.49",
    ("fig9", "c2"): "embed .07/.17/.14/.14, peak .52/.50/.46/.36",
}


@pytest.mark.parametrize("curve", CURVES, ids=".".join)
def test_whole_curve(curve):
    expected = {}
    for point in CURVES[curve].split(", "):
        site, values = point.split(" ")
        values = [float(v) for v in values.split("/")]
        for d, v in zip(SIDES, values * (4 // len(values)), strict=True):
            expected[f"{'.'.join(curve)}.{d}.{site}"] = v
    start = ".".join(curve) + "."
    extra = {"fig6.object.c0.above.l18": 0.69, "fig6.object.c0.below.l18": 0.56}
    expected |= {k: v for k, v in extra.items() if k.startswith(start)}
    assert {r["id"]: r["value"] for r in RESULTS if r["id"].startswith(start)} == expected


# ---- arithmetic: the numbers agree with each other


def test_item_counts():
    n_objects = len(SIDES) * perm(8, 3)
    for model in (QWEN, GEMMA):
        assert [TASKS[t]["n"][model] for t in ("squares", "shapes", "objects")] == [
            4 * perm(6, 3),
            480,
            n_objects,
        ]
    assert TASKS["objects"]["n"][PIXTRAL] == 4 * perm(7, 3) == 840
    assert (
        n_objects == 1344 and TASKS["whatsup"]["n"][GEMMA] == 2 * TASKS["whatsup"]["paper_images"]
    )
    coco = TASKS["coco_spatial"]
    assert coco["horizontal"] + coco["vertical"] == coco["questions"] == 440
    assert (
        paper.value(f"table1.squares.{QWEN}.v2") == 1
        and paper.published(id=f"table1.squares.{QWEN}.v2")[0]["n"] == 480
    )


@pytest.mark.parametrize("model", [QWEN, GEMMA, PIXTRAL])
def test_geometry(model):
    m = MODELS[model]
    rows, cols = m["grid"]
    item, gap = m["item_tokens"], m["gap_tokens"]
    first = (cols - 3 * item - 2 * gap) // 2
    assert rows * cols == m["image_tokens"] and cols * m["px_per_token"] == m["canvas"]
    assert m["first_axis_starts"] == [first + i * (item + gap) for i in range(3)]
    assert m["cross_axis_start"] == (rows - item) // 2
    assert (
        sum(m["strips"]) == cols
        and m["strip_tokens_moved"] == (m["strips"][0] + m["strips"][2]) * rows
    )
    assert m["object_tokens_moved"] == 2 * item * item


def test_repository_accuracies_are_shares_of_n():
    checked = [
        r
        for r in RESULTS
        if r["version"] == "repo"
        and r["n"]
        and r["experiment"] in ("behaviour", "ordering_removed")
    ]
    assert len(checked) == 58
    for r in checked:
        nearest = round(r["value"] * r["n"]) / r["n"]
        assert abs(nearest - r["value"]) <= r["tolerance"] + 1e-9, r["id"]


@pytest.mark.parametrize(
    "experiment, model, task",
    [
        ("ordering_removed", m, t)
        for m in (QWEN, GEMMA, PIXTRAL)
        for t in ("squares", "shapes", "objects")
        if (m, t) != (PIXTRAL, "objects")
    ]
    + [("behaviour", GEMMA, "squares")],
)
def test_directions_average_to_the_total(experiment, model, task):
    rows = {
        r["direction"]: r["value"]
        for r in paper.published(experiment, model=model, task=task, version="repo")
    }
    assert abs(sum(rows[d] for d in SIDES) / 4 - rows["all"]) <= 0.0055


def test_printed_tables_round_the_repository():
    exceptions = {f"table5.shapes.{QWEN}"}  # printed 0.62, repository .613
    for r in RESULTS:
        if r["version"] == "v2" and r["id"].startswith(("table1.", "table5.")):
            name = r["id"].removesuffix(".v2")
            off = abs(r["value"] - paper.value(name + ".repo"))
            assert (off <= 0.0051) != (name in exceptions), name


@pytest.mark.parametrize("model, failures", [(GEMMA, 209), (QWEN_2B, 176)])
def test_table2_counts(model, failures):
    right = paper.value(f"table2.count_right.{model}.none")
    assert 440 - right == failures
    assert two_decimals(right / 440) == paper.value(f"table2.accuracy.{model}.none.v2")
    for condition in ("random", "ordering"):
        fixed = paper.value(f"table2.count_fixed.{model}.{condition}")
        assert paper.published(id=f"table2.count_fixed.{model}.{condition}")[0]["n"] == failures
        assert round(100 * fixed / failures, 1) == round(
            100 * paper.value(f"table2.fixed.{model}.{condition}.v2"), 1
        )
        assert two_decimals((right + fixed) / 440) == paper.value(
            f"table2.accuracy.{model}.{condition}.v2"
        )
    gain = paper.value(f"table2.accuracy.{model}.ordering.v2") - paper.value(
        f"table2.accuracy.{model}.none.v2"
    )
    assert gain == pytest.approx(paper.value(f"table2.gain.{model}.v2"))


def test_table2_counts_in_figures():
    assert [two_decimals(x / 440) for x in (231, 251, 315, 264, 287, 360)] == [
        0.53,
        0.57,
        0.72,
        0.60,
        0.65,
        0.82,
    ]
    assert [round(100 * a / b, 1) for a, b in ((20, 209), (84, 209), (23, 176), (96, 176))] == [
        9.6,
        40.2,
        13.1,
        54.5,
    ]
    assert [
        paper.value(f"table2.count_{k}")
        for k in (
            "right.gemma-3-4b.none",
            "fixed.gemma-3-4b.random",
            "fixed.gemma-3-4b.ordering",
            "right.qwen2-vl-2b.none",
            "fixed.qwen2-vl-2b.random",
            "fixed.qwen2-vl-2b.ordering",
        )
    ] == [231, 20, 84, 264, 23, 96]


@pytest.mark.parametrize("model", [GEMMA, QWEN_2B])
def test_table2_has_one_integer_solution(model):
    acc = {
        c: paper.value(f"table2.accuracy.{model}.{c}.v2") for c in ("none", "random", "ordering")
    }
    fixed = {
        c: round(100 * paper.value(f"table2.fixed.{model}.{c}.v2"), 1)
        for c in ("random", "ordering")
    }
    solutions = [
        (right, a, b)
        for right in range(440)
        if two_decimals(right / 440) == acc["none"]
        for a in range(440 - right)
        if round(100 * a / (440 - right), 1) == fixed["random"]
        and two_decimals((right + a) / 440) == acc["random"]
        for b in range(440 - right)
        if round(100 * b / (440 - right), 1) == fixed["ordering"]
        and two_decimals((right + b) / 440) == acc["ordering"]
    ]
    assert solutions == [
        tuple(
            int(paper.value(f"table2.count_{k}.{model}.{c}"))
            for k, c in (("right", "none"), ("fixed", "random"), ("fixed", "ordering"))
        )
    ]


def test_coco_axes_add_up():
    by_axis = [
        paper.value(f"coco.correct.{GEMMA}.{axis}.repo") for axis in ("horizontal", "vertical")
    ]
    assert by_axis == [141, 90] and sum(by_axis) == paper.value(f"table2.count_right.{GEMMA}.none")
    assert (
        sum(
            paper.value(f"coco.correct.{PIXTRAL}.{axis}.repo")
            for axis in ("horizontal", "vertical")
        )
        == paper.value(f"coco.correct.{PIXTRAL}.all.repo")
        == 395
    )


def test_last_token_probabilities():
    for d in SIDES:
        c2 = {
            r["layer"]: r["value"]
            for r in paper.published("last_token", quantity="P(c2)", direction=d)
        }
        c3 = {
            r["layer"]: r["value"]
            for r in paper.published("last_token", quantity="P(c3)", direction=d)
        }
        assert c2.keys() == c3.keys() and all(c2[k] + c3[k] <= 1.04 for k in c2)
        assert max(c2, key=c2.get) == paper.value(f"layers.last_token.ordering_peak.{QWEN}.figure")
        assert max(c2.values()) <= 0.78 and max(c3, key=c3.get) == 27
        assert all((c3[k] > c2[k]) == (k >= 23) for k in c2 if k >= 18)
    left = {r["layer"]: r["value"] for r in paper.published("last_token", quantity="P(c0)")}
    total = [
        left[k] + paper.value(f"fig3.c2.left.l{k}") + paper.value(f"fig3.c3.left.l{k}")
        for k in left
    ]
    assert all(0.8 < x <= 1.06 for x in total)


def test_region_swaps():
    cross = paper.value(f"layers.region_swap.crossover.{QWEN}.figure")
    for d in SIDES:
        assert swap("strip", "c2", d, "l21") > 0.5 > swap("strip", "c2", d, f"l{cross:.0f}")
        assert swap("object", "c0", d, "embed") + swap("object", "c2", d, "embed") <= 1.04
        assert swap("strip", "c2", d, "embed") > swap("object", "c2", d, "embed") + 0.5
    assert max(swap("object", "c2", d, "embed") for d in ("above", "below")) < 0.02


def test_backup():
    windows = [r["range"] for r in paper.published("backup", source="figure", stage="backup")]
    assert len(windows) == 4
    assert [min(w[0] for w in windows), max(w[1] for w in windows)] == next(
        r["range"] for r in RESULTS if r["id"] == f"layers.backup.{QWEN}.v2"
    )
    low, high = next(r["range"] for r in RESULTS if r["id"] == f"fig9.other.{QWEN}")
    for d in SIDES:
        other = 1 - paper.value(f"fig9.c0.{d}.embed") - paper.value(f"fig9.c2.{d}.embed")
        assert low - 0.005 <= other <= high + 0.005
        assert paper.value(f"fig9.c2.{d}.peak") > paper.value(f"fig9.c2.{d}.embed")
        n = paper.value(f"fig9.pairs.{d}.{QWEN}.repo")
        assert {r["n"] for r in paper.published("backup", direction=d, source="figure")} == {n}


# ---- the functions


def test_published_filters():
    some = paper.published("last_token", quantity="P(c2)", direction="left")
    assert len(some) == 10 and {r["experiment"] for r in some} == {"last_token"}
    assert paper.published("probe", task="coco_spatial") == []
    assert all(r["layer"] is None for r in paper.published("region_swap", layer=None))


def test_what_is_returned_can_be_changed_without_harm():
    paper.published("last_token")[0]["value"] = -1
    paper.describe("models")[QWEN]["grid"][0] = 0
    assert paper.published("last_token")[0]["value"] != -1 and paper.describe("models")[QWEN][
        "grid"
    ] == [12, 12]


@pytest.mark.parametrize(
    "call, names",
    [
        (lambda: paper.value("table1.square.qwen2-vl-7b.v2"), "table1.squares.qwen2-vl-7b.v2"),
        (lambda: paper.published("lasttoken"), "last_token"),
        (lambda: paper.published(model="qwen2vl-7b"), QWEN),
        (lambda: paper.published(modle=QWEN), "model"),
        (lambda: paper.published(task="zzz"), "squares"),
        (lambda: paper.describe("model"), "models"),
    ],
)
def test_unknown_names_are_one_line_with_what_exists(call, names):
    with pytest.raises(LookupError) as error:
        call()
    assert names in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "id, says", [(f"layers.backup.{GEMMA}", "no number"), (f"layers.backup.{QWEN}.v2", "[11, 20]")]
)
def test_value_needs_one_number(id, says):
    with pytest.raises(ValueError, match="not one number") as error:
        paper.value(id)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_published_share_has_the_interval_of_its_count():
    (r,) = paper.published("behaviour", version="v2", task="squares", model="gemma-3-4b")
    found = paper.share(r["id"])
    assert (found["value"], found["n"]) == (0.98, r["n"])
    assert (found["low"], found["high"]) == metrics.wilson(round(0.98 * r["n"]), r["n"])
    with pytest.raises(LookupError, match="no published result has the id 'table9'"):
        paper.share("table9")
    bare = next(r["id"] for r in paper.published() if r.get("value") is not None and not r.get("n"))
    with pytest.raises(ValueError, match="has no n, so it has no interval"):
        paper.share(bare)
