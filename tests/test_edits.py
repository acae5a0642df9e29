"""Sweeps and edits against one whole pass of the Hugging Face model for each trial and slot."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from plain import hooked, naive
from torch.testing import assert_close

from dualmech import edits as E
from dualmech import probes, store
from dualmech import regions as R
from dualmech import stimuli as S
from vlms.families import ModelError

SLOTS = range(9)


def clean(pairs):
    return [pair.clean for pair in pairs]


def by_hand(vlm, pairs, write, slots, **how):
    """The probabilities of the pairs' targets; states come from the counterfactuals."""
    words = [list(pair.targets.values()) for pair in pairs]
    how = {"source": [pair.counterfactual for pair in pairs]} | how
    return naive(vlm, clean(pairs), words, write, slots, **how)


def close(found, wanted):
    return found == pytest.approx(wanted, abs=1e-6)


# --- the paper's edits -----------------------------------------------------------------


@pytest.mark.parametrize(("task", "direction"), [("squares", "left"), ("objects", "below")])
def test_last_token(vlm, task, direction):
    pairs = S.last_token_pairs(task, direction, 3, seed=1)
    found = E.sweep(vlm, pairs, E.last_token)

    def write(resid, theirs, *_):
        resid[:, -1] = theirs[:, -1]

    assert found.p.shape == (9, 3, 3) and found.said.shape == (9, 3)
    assert close(found.p, by_hand(vlm, pairs, write, SLOTS))
    # slot 0 changes nothing (the same word), the last slot everything
    assert found.said[0].tolist() == E.answers(vlm, clean(pairs))
    assert found.said[8].tolist() == E.answers(vlm, [pair.counterfactual for pair in pairs])
    assert abs(found.p[0] - found.p[8]).max() > 1e-3
    some = E.sweep(vlm, pairs, E.last_token, [8, 2, 8])
    assert some.p == pytest.approx(found.p[[8, 2, 8]], abs=1e-5)


def hand_swap(region, vertical, seed):
    """Targets and sources as raster indices, from the geometry alone."""
    cells = np.arange(144).reshape(12, 12)
    if vertical:
        cells = cells.T  # the layout axis is now the second
    first, last = {
        "strip": (cells[:, :4], cells[:, 8:]),
        "object": (cells[5:7, 1:3], cells[5:7, 9:11]),
        "whole": (cells, cells[:, ::-1]),
    }.get(region, (None, None))
    if region == "random":
        rng = np.random.RandomState(seed)
        return rng.permutation(144)[:96], rng.permutation(144)[:96]
    if region == "scattered":  # the token at the same place counted from the other end
        some = np.random.RandomState(seed).permutation(144)[:96]
        cells = np.arange(144).reshape(12, 12)
        return some, (cells[::-1] if vertical else cells[:, ::-1]).ravel()[some]
    if region == "whole":
        return first.ravel(), last.ravel()
    return np.r_[first.ravel(), last.ravel()], np.r_[last.ravel(), first.ravel()]


@pytest.mark.parametrize("region", ["strip", "object", "scattered", "random", "whole"])
@pytest.mark.parametrize("direction", ["left", "below"])
def test_swap(vlm, region, direction):
    pairs = S.swap_pairs("shapes", direction, 3, seed=2)
    slots = SLOTS if region == "strip" else [0, 3, 8]

    def write(resid, theirs, k, *_):
        target, source = hand_swap(region, direction == "below", 40 + k)
        resid[0, 1 + target] = theirs[0, 1 + source]  # <s> comes first

    found = E.sweep(vlm, pairs, {"swap": E.swap(region, 40), "none": E.nothing}, slots)
    assert close(found["swap"].p, by_hand(vlm, pairs, write, slots))
    moved = abs(found["swap"].p - found["none"].p).max((1, 2))
    assert (moved[:-1] > 2e-5).all() and moved[-1] == 0, "no answer reads the last slot's image"


def test_states_of_the_same_image(vlm):
    pairs = S.swap_pairs("squares", "left", 3)
    found = E.sweep(vlm, pairs, E.swap("strip"), [0, 4], source=clean(pairs))
    target, source = hand_swap("strip", False, 0)

    def exchange(resid, *_):
        resid[0, 1 + target] = resid[0, 1 + source]

    assert close(found.p, by_hand(vlm, pairs, exchange, [0, 4]))


def test_other_visual_tokens_for_both_runs(vlm):
    pairs = S.swap_pairs("squares", "left", 2)
    states = torch.randn(4, 144, 128, generator=torch.Generator().manual_seed(1))
    trials = [trial.question + trial.answer for pair in pairs
              for trial in (pair.clean, pair.counterfactual)]  # fmt: skip
    fixed = dict(zip(trials, states, strict=True))

    def visual(_vlm, trials):
        return torch.stack([fixed[t.question + t.answer] for t in trials])

    def write(resid, theirs, *_):
        target, source = hand_swap("object", False, 0)
        resid[0, 1 + target] = theirs[0, 1 + source]

    found = E.sweep(vlm, pairs, E.swap("object"), [0, 5], visual=visual)
    assert close(found.p, by_hand(vlm, pairs, write, [0, 5], visual=visual))
    white = vlm.visual([S.draw([], []).image])
    blind = E.answers(vlm, clean(pairs), lambda vlm, some: white.expand(len(some), -1, -1))
    assert blind == vlm.answer([S.draw([], []).image] * 2, [t.question for t in clean(pairs)])


@pytest.mark.parametrize(("where", "null"), [("all", 7), ("object", None), ("background", None)])
def test_amplify(vlm, where, null):
    trials = [*S.trials("squares")[:2], *S.trials("objects")[-2:]]
    w = torch.randn(2, 128, generator=torch.Generator().manual_seed(2))

    def write(resid, _theirs, k, *_):
        owned = [R.tokens_of(box, 8, 12) for box in trials[k].stimulus.boxes]
        some = {"all": np.arange(144), "object": np.concatenate(owned),
                "background": np.setdiff1d(np.arange(144), owned)}[where]  # fmt: skip
        states = resid[0, 1:145]
        louder = probes.amplified(states, w, 40.0)
        louder = louder if null is None else probes.matched_null(states, louder, null)
        resid[0, 1 + some] = louder[some]

    named = {"loud": E.amplify(w, 40.0, where=where, null=null), "no": E.amplify(w, 0.0)}
    found = E.sweep(vlm, trials, named, [0, 3])
    right = [[trial.answer] for trial in trials]
    assert close(found["loud"].p, naive(vlm, trials, right, write, [0, 3]))
    assert found["no"].said[0].tolist() == found["no"].said[1].tolist() == E.answers(vlm, trials)
    assert abs(found["loud"].p - found["no"].p).max() > 1e-4


def test_copy_of_text_and_visual_tokens_together(vlm):
    pairs = S.last_token_pairs("squares", "above", 3, seed=2)
    targets, sources = [[-3, 5, 140], [-1], []], [[-2, 7, 0], [-1], []]

    def write(resid, theirs, k, at, _slot):
        for t, s in zip(targets[k], sources[k], strict=True):
            to, of = (i if i < 0 else int(a[i]) for i, a in zip((t, s), at, strict=True))
            resid[0, to] = theirs[0, of]

    found = E.sweep(vlm, pairs, E.copy(targets, sources), [3])
    assert close(found.p, by_hand(vlm, pairs, write, [3]))
    same = {"one": E.copy([5, -2]), "each": E.copy([[5, -2]] * 3, [[5, -2]] * 3)}
    found = E.sweep(vlm, pairs, same, [3])
    assert np.array_equal(found["one"].p, found["each"].p)
    for words, edit in (("2 targets but 1 sources", E.copy([1, 2], [1])),
                        ("a token is written twice", E.copy([4, 4], [1, 2]))):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            E.sweep(vlm, pairs, edit, [0])


def test_states_are_taken_from_where_the_other_run_has_them(vlm):
    """In a batch the two runs' rows may be padded by other amounts."""
    squares = S.trials("squares")
    left = next(t for t in squares if t.direction == "left")
    above = next(t for t in squares if t.direction == "above" and t.candidates == left.candidates)
    longer = next(t for t in S.trials("objects") if t.direction == "above")
    words = {"clean": left.answer, "flipped": left.candidates[2]}
    pairs = [S.Pair(left, above, words), S.Pair(left, longer, words)]
    assert (E.inputs(vlm, [above, longer])["attention_mask"] == 0).any()

    def write(resid, theirs, _k, at, _slot):
        resid[0, at[0][3]], resid[0, -1] = theirs[0, at[1][70]].clone(), theirs[0, at[1][7]]

    found = E.sweep(vlm, pairs, E.copy([3, -1], [70, 7]), [2])
    assert found.p == pytest.approx(by_hand(vlm, pairs, write, [2]), abs=1e-5)


def test_steer_with_vectors_of_all_of_each_trial_and_of_each_slot(vlm):
    pairs, tokens = S.swap_pairs("objects", "right", 2), [3, 4, -1]
    vectors = torch.randn(9, 2, 128, generator=torch.Generator().manual_seed(0))
    pick = {"one": lambda k, slot: vectors[0, 0], "each": lambda k, slot: vectors[0, k],
            "slots": lambda k, slot: vectors[slot, k]}  # fmt: skip
    named = {"one": E.steer(tokens, vectors[0, 0]), "each": E.steer(tokens, vectors[0]),
             "slots": E.steer([tokens] * 2, vectors)}  # fmt: skip
    found = E.sweep(vlm, pairs, named, [2, 8])
    for name, vector in pick.items():

        def write(resid, _theirs, k, _at, slot, vector=vector):
            resid[0, [4, 5, -1]] += vector(k, slot)

        assert close(found[name].p, by_hand(vlm, pairs, write, [2, 8]))


def test_both_is_one_edit_after_another(vlm):
    pairs, vector = S.swap_pairs("squares", "left", 2), torch.ones(128)

    def write(resid, theirs, *_):
        resid[:, -1] = theirs[:, -1] + vector

    found = E.sweep(vlm, pairs, E.both(E.last_token, E.steer([-1], vector)), [3])
    assert close(found.p, by_hand(vlm, pairs, write, [3]))


# --- sweeps ------------------------------------------------------------------------------


def test_edits_together_are_the_edits_one_by_one(vlm):
    pairs = S.swap_pairs("squares", "below", 3)
    named = {"strip": E.swap("strip", 3), "random": E.swap("random", 3), "last": E.last_token}
    together = E.sweep(vlm, pairs, named, [5, 0])
    assert list(together) == list(named)
    for name, edit in named.items():
        alone = E.sweep(vlm, pairs, edit, [5, 0])
        assert np.array_equal(together[name].p, alone.p)
        assert np.array_equal(together[name].said, alone.said)
    assert not np.allclose(together["strip"].p, together["random"].p, atol=1e-5)


def test_an_edit_in_place_reaches_no_other_edit_and_no_other_slot(vlm):
    pairs = S.swap_pairs("squares", "left", 2)

    def spoil(resid, b):
        for states in (b.source, b.source_at, b.at):
            states.zero_()
        return resid.zero_()

    named = {"before": E.swap("strip"), "spoil": spoil, "after": E.swap("strip")}
    found, alone = E.sweep(vlm, pairs, named), E.sweep(vlm, pairs, E.swap("strip"))
    assert np.array_equal(found["before"].p, alone.p) and np.array_equal(found["after"].p, alone.p)
    assert not np.allclose(found["spoil"].p, alone.p, atol=1e-4)


def test_the_other_run_is_begun_where_an_edit_first_reads_it(vlm, monkeypatch):
    pairs, begun, started = S.swap_pairs("squares", "left", 2), [], E.started

    def counted(vlm, some, visual=None):
        begun.append(some)
        return started(vlm, some, visual)

    def no(resid, b):
        return resid

    def five(resid, b):
        return b.source if b.slot == 5 else resid

    monkeypatch.setattr(E, "started", counted)
    found, others = E.sweep(vlm, pairs, no), [pair.counterfactual for pair in pairs]
    assert begun == [clean(pairs)]
    both = E.sweep(vlm, pairs, {"no": no, "five": five})
    assert begun == [clean(pairs), clean(pairs), others]
    assert np.array_equal(both["no"].p, found.p)
    assert np.array_equal(both["five"].p[[4, 6]], found.p[[4, 6]])
    own = E.sweep(vlm, others, no, [5]).p[0, :, 0]  # of the mirror image's own answer
    assert np.array_equal(both["five"].p[5, :, 1], own)


@pytest.mark.parametrize("slots", [[3], [0, 3]])
@pytest.mark.parametrize("edit", [E.last_token, E.swap("strip"), E.copy([0])])
def test_states_of_another_run_without_one(vlm, trials, edit, slots):
    with pytest.raises(ValueError, match="^no other run to take states from: give pairs, or `sou"):
        E.sweep(vlm, trials[:1], edit, slots)


@pytest.mark.parametrize(("batch", "chunk"), [(1, 50), (2, 3), (64, 1)])
def test_an_index_is_the_number_in_the_whole_sweep(vlm, monkeypatch, batch, chunk):
    """Whatever the size of batches and chunks, so that random swaps are the same."""
    pairs = S.swap_pairs("squares", "left", 3) + S.swap_pairs("squares", "above", 2)
    whole, seen = E.sweep(vlm, pairs, E.swap("random", 3), [2]), {}
    monkeypatch.setattr(E, "batch_size", lambda vlm: batch)
    monkeypatch.setattr(store, "swept", partial(store.swept, chunk=chunk))

    def note(resid, b):
        assert len(b.trials) == len(b.index) == len(resid) == len(b.source) <= batch
        seen.update(zip(b.index, b.trials, strict=True))
        return E.swap("random", 3)(resid, b)

    assert E.sweep(vlm, pairs, note, [2]).p == pytest.approx(whole.p, abs=1e-6)
    assert [seen[k] for k in range(5)] == clean(pairs)


def test_targets_are_the_right_answer_or_a_pairs_own_in_the_order_of_the_first(vlm):
    pairs = S.swap_pairs("squares", "left", 2, seed=3)
    found = E.sweep(vlm, pairs, E.swap("strip"), [1])
    others = [pair.counterfactual for pair in pairs]
    single = E.sweep(vlm, clean(pairs), E.swap("strip"), [1], source=others)
    assert np.array_equal(single.p[..., 0], found.p[..., 0]) and single.p.shape == (1, 2, 1)
    turned = replace(pairs[1], targets=dict(reversed(pairs[1].targets.items())))
    for edit in (E.swap("strip"), E.last_token):
        expected = E.sweep(vlm, pairs, edit, [1]).p
        assert np.array_equal(E.sweep(vlm, [pairs[0], turned], edit, [1]).p, expected)
    other = replace(pairs[1], targets={"clean": "red"})
    with pytest.raises(ValueError, match="pairs with other targets"):
        E.sweep(vlm, [pairs[0], other], E.swap("strip"), [1])


def test_what_cannot_be_measured_is_said_before_a_run(vlm, trials, monkeypatch):
    pairs = S.swap_pairs("squares", "left", 1)
    monkeypatch.setattr(E.runs, "start", None)  # no run
    for some, edits, slots in (([], E.nothing, [0]), (pairs, {}, [0]), (pairs, E.nothing, [])):
        with pytest.raises(ValueError, match="give at least one trial, one edit and one slot"):
            E.sweep(vlm, some, edits, slots)
    for slots in ([9], [0, -1]):
        with pytest.raises(ModelError, match="is out of range: 0 .. 8"):
            E.sweep(vlm, pairs, E.last_token, slots)
        with pytest.raises(ModelError, match="is out of range: 0 .. 8"):
            E.read(vlm, trials, lambda t: [0], slots)
    for some in ([], trials):
        with pytest.raises(ValueError, match="the same number of tokens"):
            E.read(vlm, some, lambda t: [0] * len(t.question.split()))
    split = [S.Trial(trials[0].stimulus, "What?", "teddy bear", "left", "photographs")]
    with pytest.raises(ModelError, match="not a single token of .*: teddy bear"):
        E.answers(vlm, split)


def test_settings_that_no_edit_has(vlm):
    trial, push = S.trials("squares")[0], torch.ones(1, vlm.d_model)
    bare = replace(trial, stimulus=replace(trial.stimulus, items=(), boxes=np.zeros((0, 4), int)))
    for words, some, edit in (
        ("unknown region 'corner'", trial, E.swap("corner")),
        ("how is 'projection' or 'constant'", trial, E.amplify(push, 1.0, "twice")),
        ("where is 'all', 'object' or 'background', not 'edge'", trial,
         E.amplify(push, 1.0, where="edge")),
        ("where='object' needs boxes, and an image has none", bare,
         E.amplify(push, 1.0, where="object")),
        ("'sweep' gave no residual .*: return it", trial, lambda resid, b: None),
        ("'sweep' gave no residual .*: return it", trial, lambda resid, b: resid[:, -1]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            E.sweep(vlm, [some], edit, [0], source=[some])


def test_every_direction_has_an_axis():
    assert set(E.VERTICAL) == set(S.DIRECTIONS)
    for direction, vertical in E.VERTICAL.items():
        boxes = S.trial(tuple(S.task_items("squares")[:3]), direction, "squares").stimulus.boxes
        assert np.ptp(boxes[:, 0 if vertical else 1]) == 0 < np.ptp(boxes[:, int(vertical)])


# --- answers, states, ordering removed -------------------------------------------------------


def test_answers(vlm, trials):
    images, questions = [t.stimulus.image for t in trials], [t.question for t in trials]
    assert E.answers(vlm, trials) == vlm.answer(images, questions)


@pytest.mark.parametrize("batch", [4, 64])
def test_read(vlm, trials, monkeypatch, batch):
    monkeypatch.setattr(E, "batch_size", lambda vlm: batch)
    found = E.read(vlm, trials, lambda t: [0, 77, -1], [8, 0, 5])
    assert found.shape == (3, 6, 3, 128)
    for k, trial in enumerate(trials):
        states = hooked(vlm.model, E.inputs(vlm, [trial]))[1]
        for i, slot in enumerate((8, 0, 5)):
            assert_close(found[i, k], states[slot][0, [1, 78, -1]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", S.TASKS)
@pytest.mark.parametrize("direction", ["left", "below"])
def test_ordering_removed_token_by_token(vlm, task, direction):
    trials = [t for t in S.trials(task) if t.direction == direction][5:40:15]
    found = E.ordering_removed(vlm, trials)
    white = np.full((96, 96, 3), 255, np.uint8)
    background = vlm.visual([S.Image.fromarray(white)])[0]
    assert found.shape == (3, 144, 128)
    for states, trial in zip(found, trials, strict=True):
        item_tokens = []
        for place, item in enumerate(trial.stimulus.items):
            alone = white.copy()
            drawing = item.sprite(16, full=task == "squares")
            alone[40:56, 40:56] = np.floor(
                255 + (drawing[..., :3] - 255) * drawing[..., 3:] + 0.5
            )  # rows and columns 5 and 6
            state = vlm.visual([S.Image.fromarray(alone)])[0].view(12, 12, 128)
            row, col = (4 * place + 1, 5) if direction == "below" else (5, 4 * place + 1)
            here = states.view(12, 12, 128)[row : row + 2, col : col + 2]
            assert_close(here, state[5:7, 5:7], rtol=0, atol=1e-5)
            item_tokens += [12 * r + c for r in (row, row + 1) for c in (col, col + 1)]
        rest = np.setdiff1d(np.arange(144), item_tokens)
        assert_close(states[rest], background[rest], rtol=0, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-2, "the items differ"


def test_ordering_is_removed_task_by_task(vlm):
    mixed = [S.trials("squares")[0], S.trials("shapes")[0]]
    with pytest.raises(ValueError, match="^mix of Squares and other tasks: remove the ordering"):
        E.ordering_removed(vlm, mixed)
