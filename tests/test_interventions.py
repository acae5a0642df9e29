"""Interventions against naive versions: one whole pass per slot with a PyTorch hook."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from dualmech import interventions as I
from dualmech import regions as R
from dualmech import stimuli as S
from dualmech.models import ModelError

SLOTS = range(9)


def inputs(vlm, trials):
    return vlm.prepare([t.stimulus.image for t in trials], [t.question for t in trials])


def naive(plain, x, slot, fn=lambda resid: resid):
    """(residual at a slot before `fn`, next-word probabilities) of the plain model."""
    seen, layers = [], plain.model.language_model.layers

    def at(resid):
        seen.append(resid.clone())
        return fn(resid.clone())

    if slot < len(layers):
        handle = layers[slot].register_forward_pre_hook(lambda _m, args: (at(args[0]), *args[1:]))
    else:
        handle = layers[-1].register_forward_hook(lambda _m, _args, out: at(out))
    with handle, torch.no_grad():
        logits = plain(**x).logits[:, -1]
    return seen[0], logits.softmax(-1)


def named(vlm, p, pairs, targets):
    """(n, targets) probabilities of the pairs' target words."""
    ids = [[vlm.words.index(pair.targets[t]) for t in targets] for pair in pairs]
    return p.gather(1, torch.tensor(ids)).numpy()


@pytest.mark.parametrize(("task", "direction"), [("squares", "left"), ("objects", "below")])
def test_last_token_patch(vlm, plain, task, direction):
    pairs = S.last_token_pairs(task, direction, 3, seed=1)
    clean = inputs(vlm, [p.clean for p in pairs])
    other = inputs(vlm, [p.counterfactual for p in pairs])
    found = I.last_token_patch(vlm, pairs)
    assert found.shape == (9, 3, 3)
    for slot in SLOTS:
        theirs, _ = naive(plain, other, slot)

        def patch(resid, theirs=theirs):
            resid[:, -1] = theirs[:, -1]
            return resid

        _, p = naive(plain, clean, slot, patch)
        want = named(vlm, p, pairs, ("clean", "ordering", "attribute"))
        assert found[slot] == pytest.approx(want, abs=1e-6)
    # slot 0 changes nothing (the same word), the last slot everything
    for slot, x in ((0, clean), (8, other)):
        _, p = naive(plain, x, 0)
        want = named(vlm, p, pairs, ("clean", "ordering", "attribute"))
        assert found[slot] == pytest.approx(want, abs=1e-6)
    assert abs(found[0] - found[8]).max() > 1e-3
    assert I.last_token_patch(vlm, pairs, slots=[8, 2], chunk=2) == pytest.approx(
        found[[8, 2]], abs=1e-5
    )


def hand_swap(region, vertical, seed):
    """Targets and sources as raster indices, from the geometry alone."""
    cells = np.arange(144).reshape(12, 12)
    if vertical:
        cells = cells.T  # the layout axis is now the second
    first, last = {
        "strip": (cells[:, :4], cells[:, 8:]),
        "object": (cells[5:7, 1:3], cells[5:7, 9:11]),
        "whole": (cells, cells[:, ::-1]),
        "random": (None, None),
    }[region]
    if region == "random":
        rng = np.random.RandomState(seed)
        return rng.permutation(144)[:96], rng.permutation(144)[:96]
    if region == "whole":
        return first.ravel(), last.ravel()
    return np.r_[first.ravel(), last.ravel()], np.r_[last.ravel(), first.ravel()]


@pytest.mark.parametrize("region", ["strip", "object", "random", "whole"])
@pytest.mark.parametrize("direction", ["left", "below"])
def test_region_swap(vlm, plain, region, direction):
    pairs = S.swap_pairs("shapes", direction, 3, seed=2)
    clean = inputs(vlm, [p.clean for p in pairs])
    other = inputs(vlm, [p.counterfactual for p in pairs])
    slots = SLOTS if region == "strip" else [0, 3, 8]
    found = I.region_swap(vlm, pairs, region, slots=slots, seed=40)
    _, p = naive(plain, clean, 0)
    untouched = named(vlm, p, pairs, ("clean", "flipped"))
    for slot, probability in zip(slots, found, strict=True):
        theirs, _ = naive(plain, other, slot)

        def write(resid, theirs=theirs):
            for k in range(3):
                target, source = hand_swap(region, direction == "below", 40 + k)
                resid[k, 1 + target] = theirs[k, 1 + source]  # <s> comes first
            return resid

        _, p = naive(plain, clean, slot, write)
        want = named(vlm, p, pairs, ("clean", "flipped"))
        assert probability == pytest.approx(want, abs=1e-6)
        if slot < 8:
            assert abs(want - untouched).max() > 2e-5
    assert found[-1] == pytest.approx(untouched, abs=1e-6), "no answer reads the last slot's image"


def test_all_slots_is_the_default_and_batches_do_not_matter(vlm):
    pairs = S.swap_pairs("squares", "left", 2) + S.swap_pairs("squares", "above", 2)
    whole = I.region_swap(vlm, pairs, "random", seed=3)
    assert whole.shape == (9, 4, 2)
    assert I.region_swap(vlm, pairs, "random", seed=3, chunk=1) == pytest.approx(whole, abs=1e-5)
    with pytest.raises(ValueError, match="unknown region 'corner'"):
        I.region_swap(vlm, pairs, "corner")


def test_regions_together_are_the_regions_one_by_one(vlm):
    pairs, regions = S.swap_pairs("squares", "below", 3), ["strip", "random", "object"]
    together = I.region_swaps(vlm, pairs, regions, [5, 0], seed=3, own=True)
    assert list(together) == regions
    for region, found in together.items():
        alone = I.region_swap(vlm, pairs, region, [5, 0], seed=3, own=True)
        assert found.shape == (2, 3, 2) and np.array_equal(found, alone)
    assert not np.allclose(together["strip"], together["object"], atol=1e-5)


@pytest.mark.parametrize("slots", [[9], [0, -1]])
def test_a_slot_out_of_range(vlm, trials, slots):
    pairs = S.swap_pairs("squares", "left", 1)
    for call in (
        lambda: I.last_token_patch(vlm, pairs, slots),
        lambda: I.region_swap(vlm, pairs, "strip", slots),
        lambda: I.steer(vlm, pairs, lambda p, s: [], slots),
        lambda: I.read(vlm, trials, lambda t: [0], slots),
    ):
        with pytest.raises(ModelError, match="is out of range: 0 .. 8"):
            call()


def test_region_swap_with_other_visual_tokens(vlm, plain):
    pairs = S.swap_pairs("squares", "left", 2)
    generator = torch.Generator().manual_seed(1)
    fixed = {
        trial.question + trial.answer: torch.randn(144, 128, generator=generator)
        for pair in pairs
        for trial in (pair.clean, pair.counterfactual)
    }

    def visual(_vlm, trials):
        return torch.stack([fixed[t.question + t.answer] for t in trials])

    found = I.region_swap(vlm, pairs, "object", slots=[0], visual=visual)
    target, source = hand_swap("object", False, 0)

    def write(resid):
        for k, pair in enumerate(pairs):
            resid[k, 1:145] = visual(vlm, [pair.clean])[0]
            resid[k, 1 + target] = visual(vlm, [pair.counterfactual])[0][source]
        return resid

    _, p = naive(plain, inputs(vlm, [p.clean for p in pairs]), 0, write)
    assert found[0] == pytest.approx(named(vlm, p, pairs, ("clean", "flipped")), abs=1e-6)


def test_replace_visual():
    resid = torch.arange(2 * 5 * 3).reshape(2, 5, 3).float()
    kept, at = resid.clone(), torch.tensor([[1, 2], [2, 4]])
    new = -torch.ones(2, 2, 3, dtype=torch.float64)
    out = I.replace_visual(at, new)(resid)
    assert torch.equal(resid, kept), "the residual was edited in place"
    written = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 1, 0, 1]], dtype=bool)
    assert (out[written] == -1).all() and torch.equal(out[~written], kept[~written])
    assert out.dtype == resid.dtype


# --- ordering removed ----------------------------------------------------------------


@pytest.mark.parametrize("task", S.TASKS)
@pytest.mark.parametrize("direction", ["left", "below"])
def test_ordering_removed_token_by_token(vlm, task, direction):
    trials = [t for t in S.trials(task) if t.direction == direction][5:40:15]
    found = I.ordering_removed(vlm, trials)
    white = np.full((96, 96, 3), 255, np.uint8)
    background = vlm.visual([S.Image.fromarray(white)])[0]
    assert found.shape == (3, 144, 128)
    for states, trial in zip(found, trials, strict=True):
        item_tokens = []
        for place, item in enumerate(trial.stimulus.items):
            alone = white.copy()
            drawing = S.sprite(item, 16, full=task == "squares")
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
        I.ordering_removed(vlm, mixed)


# --- amplification -------------------------------------------------------------------


def test_amplified_by_hand():
    states = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    one, two = torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    # <x, w> / |w|^2 is 3/2 and 0 for the first direction, 7/2 and 1/2 for the second
    assert_close(I.amplified(states, one, 2), torch.tensor([[9.0, 4.0], [0.0, 1.0]]))
    assert_close(I.amplified(states, two, 2), torch.tensor([[16.0, 11.0], [1.0, 2.0]]))
    assert_close(I.amplified(states, one, 2, "constant"), torch.tensor([[7.0, 4.0], [4.0, 1.0]]))
    assert_close(I.amplified(states, two, 2, "constant"), torch.tensor([[9.0, 6.0], [6.0, 3.0]]))
    with pytest.raises(ValueError, match="^how is 'projection' or 'constant', not 'other'$"):
        I.amplified(states, one, 2, "other")


@pytest.mark.parametrize("how", ["projection", "constant"])
def test_alpha_zero_changes_nothing(how):
    states = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(I.amplified(states, torch.ones(2, 16), 0.0, how), states)


def test_the_length_of_a_direction_does_not_matter_for_projection():
    generator = torch.Generator().manual_seed(0)
    states, w = torch.randn(7, 16, generator=generator), torch.randn(1, 16, generator=generator)
    found = I.amplified(states, w, 3)
    assert_close(I.amplified(states, 10 * w, 3), found)
    unit = w[0] / w.norm()
    assert_close(found @ unit, 4 * states @ unit)  # the gain along it is 1 + alpha
    across = lambda x: x - (x @ unit)[:, None] * unit  # noqa: E731
    assert_close(across(found), across(states))


def test_matched_null_moves_as_far_along_one_line():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 20, 16, generator=generator)
    changed = I.amplified(states, torch.randn(2, 16, generator=generator), 4)
    null = I.matched_null(states, changed, seed=5)
    moves = (null - states).reshape(-1, 16)
    assert_close(moves.norm(dim=-1), (changed - states).norm(dim=-1).flatten())
    line = moves[0] / moves[0].norm()
    assert_close((moves @ line).abs(), moves.norm(dim=-1))
    # outwards, as in projection scaling
    assert ((moves * states.reshape(-1, 16)).sum(-1) > 0).all()
    assert torch.equal(I.matched_null(states, changed, seed=5), null)
    other = (I.matched_null(states, changed, seed=6) - states)[0, 0]
    assert abs(other @ line / other.norm()) < 0.9, "another seed is another line"
    assert torch.equal(I.matched_null(states, states), states)


def test_amplified_answers(vlm, plain):
    trials = [*S.trials("squares")[:3], *S.trials("objects")[-2:]]
    directions = torch.randn(2, 128, generator=torch.Generator().manual_seed(2))
    found = I.amplified_answers(vlm, trials, directions, [0.0, 3.0, 40.0], chunk=3)
    images, questions = [t.stimulus.image for t in trials], [t.question for t in trials]
    assert list(found) == [0.0, 3.0, 40.0]
    assert found[0.0] == vlm.answer(images, questions)
    null = I.amplified_answers(vlm, trials, directions, [40.0], null=7)[40.0]
    for k, trial in enumerate(trials):
        x = inputs(vlm, [trial])

        def amplify(resid):
            resid[0, 1:145] = I.amplified(resid[0, 1:145], directions, 40.0)
            return resid

        def random(resid):
            moved = I.amplified(resid[0, 1:145], directions, 40.0)
            resid[0, 1:145] = I.matched_null(resid[0, 1:145], moved, 7)
            return resid

        for edit, answers in ((amplify, found[40.0]), (random, null)):
            _, p = naive(plain, x, 0, edit)
            assert answers[k] == vlm.words[p.argmax(-1)]
    assert found[40.0] != found[0.0], "so large an alpha shows"


def test_every_direction_has_an_axis():
    assert set(I.VERTICAL) == set(S.DIRECTIONS)
    for d, vertical in I.VERTICAL.items():
        boxes = S.trial(tuple(S.task_items("squares")[:3]), d, "squares").stimulus.boxes
        assert np.ptp(boxes[:, 0 if vertical else 1]) == 0
        assert R.swap("strip", S.trials("squares")[0].stimulus, 12, vertical).target[4] == (
            4 if vertical else 12
        )


def test_a_swap_within_the_own_image_is_a_plain_exchange_of_its_states(vlm):
    pairs = S.swap_pairs("squares", "left", 3)
    got = I.region_swap(vlm, pairs, "strip", slots=[0], own=True)
    trials = [p.clean for p in pairs]
    x = vlm.prepare([t.stimulus.image for t in trials], [t.question for t in trials])
    at = vlm.positions(x)[0]
    left = [r * 12 + c for r in range(12) for c in range(4)]
    right = [r * 12 + c + 8 for r in range(12) for c in range(4)]

    def exchange(resid):
        out = resid.clone()
        out[:, at[left]], out[:, at[right]] = resid[:, at[right]], resid[:, at[left]]
        return out

    words = [list(p.targets.values()) for p in pairs]
    wanted = vlm.probabilities(vlm.forward(x, [(0, exchange)]).logits, words)
    np.testing.assert_allclose(got[0], wanted, atol=1e-6)


# --- general patches, steering, reading ------------------------------------------------


def test_patch_of_text_and_visual_tokens_together(vlm, plain):
    pairs = S.last_token_pairs("squares", "above", 3, seed=2)
    chosen = [([-3, 5, 140], [-2, 7, 0]), ([-1], [-1]), ([], [])]
    found = I.patch(vlm, pairs, lambda pair, k: chosen[k], slots=[3])
    other, _ = naive(plain, inputs(vlm, [p.counterfactual for p in pairs]), 3)
    length = other.shape[1]

    def write(resid):
        for k, (target, source) in enumerate(chosen):
            for t, s in zip(target, source, strict=True):
                # one <s> before the 144 visual tokens
                to, of = (i + length if i < 0 else i + 1 for i in (t, s))
                resid[k, to] = other[k, of]
        return resid

    _, p = naive(plain, inputs(vlm, [p.clean for p in pairs]), 3, write)
    want = named(vlm, p, pairs, ("clean", "ordering", "attribute"))
    assert found[0] == pytest.approx(want, abs=1e-6)
    with pytest.raises(ValueError, match="2 tokens to overwrite, but 1 to take from"):
        I.patch(vlm, pairs, lambda pair, k: ([1, 2], [1]))


def test_steer(vlm, plain):
    pairs = S.swap_pairs("objects", "right", 2)
    one, two = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    found = I.steer(vlm, pairs, lambda p, slot: [([3, 4], slot * one), ([-1], two)], slots=[2, 8])
    for i, slot in enumerate((2, 8)):

        def add(resid, slot=slot):
            resid[:, 4:6] += slot * one
            resid[:, -1] += two
            return resid

        _, p = naive(plain, inputs(vlm, [p.clean for p in pairs]), slot, add)
        assert found[i] == pytest.approx(named(vlm, p, pairs, ("clean", "flipped")), abs=1e-6)


def test_read(vlm, plain, trials):
    found = I.read(vlm, trials, lambda t: [0, 77, -1], slots=[0, 5, 8], chunk=4)
    assert found.shape == (3, 6, 3, 128)
    for k, trial in enumerate(trials):
        for i, slot in enumerate((0, 5, 8)):
            resid, _ = naive(plain, inputs(vlm, [trial]), slot)
            want = torch.stack([resid[0, 1], resid[0, 78], resid[0, -1]])
            assert_close(found[i, k], want, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="the same number of tokens"):
        I.read(vlm, trials, lambda t: [0] * len(t.question.split()))


def test_answers(vlm, trials):
    images, questions = [t.stimulus.image for t in trials], [t.question for t in trials]
    assert I.answers(vlm, trials) == vlm.answer(images, questions)
    white = [S.draw([], []).image] * len(trials)
    blind = I.answers(vlm, trials, lambda vlm, some: vlm.visual(white[: len(some)]))
    assert blind == vlm.answer(white, questions)


@pytest.mark.parametrize("where", ["object", "background"])
def test_amplified_answers_at_a_part_of_the_image(vlm, plain, where):
    trials = S.swap_pairs("squares", "left", 1)
    trials = [trials[0].clean, trials[0].counterfactual]
    directions = torch.randn(2, 128, generator=torch.Generator().manual_seed(4))
    found = I.amplified_answers(vlm, trials, directions, [30.0], where=where)[30.0]
    owned = np.concatenate([R.tokens_of(b, 8, 12) for b in trials[0].stimulus.boxes])
    assert len(owned) == 12
    some = owned if where == "object" else np.setdiff1d(np.arange(144), owned)

    def amplify(resid):
        resid[:, 1 + some] = I.amplified(resid[:, 1 + some], directions, 30.0)
        return resid

    _, p = naive(plain, inputs(vlm, trials), 0, amplify)
    assert found == [vlm.words[i] for i in p.argmax(-1).tolist()]
    with pytest.raises(ValueError, match="where is 'all', 'object' or 'background', not 'edge'"):
        I.amplified_answers(vlm, trials, directions, [1.0], where="edge")


def test_states_are_taken_from_where_the_other_run_has_them(vlm, plain):
    """In a batch the two runs' rows may be padded by other amounts."""
    squares = S.trials("squares")
    left = next(t for t in squares if t.direction == "left")
    above = next(t for t in squares if t.direction == "above" and t.candidates == left.candidates)
    longer = next(t for t in S.trials("objects") if t.direction == "above")
    words = {"clean": left.answer, "flipped": left.candidates[2]}
    pairs = [S.Pair(left, above, words), S.Pair(left, longer, words)]
    lengths = [vlm.prepare([t.stimulus.image], [t.question])["input_ids"].shape[1]
               for t in (left, above, longer)]  # fmt: skip
    assert len(set(lengths)) > 1

    def choose(pair, k):
        return [3, -1], [70, 7]

    together = I.patch(vlm, pairs, choose, [2])
    alone = [I.patch(vlm, [pair], choose, [2]) for pair in pairs]
    assert together == pytest.approx(np.concatenate(alone, 1), abs=1e-5)


def test_targets_have_the_order_of_the_first_pair(vlm):
    pairs = S.swap_pairs("squares", "left", 2, seed=3)
    turned = [pairs[0], S.Pair(pairs[1].clean, pairs[1].counterfactual,
                               dict(reversed(pairs[1].targets.items())))]  # fmt: skip
    for measure in (
        lambda some: I.region_swap(vlm, some, "strip", [1]),
        lambda some: I.last_token_patch(vlm, some, [1]),
    ):
        assert measure(turned) == pytest.approx(measure(pairs), abs=1e-7)
    other = S.Pair(pairs[1].clean, pairs[1].counterfactual, {"clean": "red"})
    with pytest.raises(ValueError, match="pairs with other targets"):
        I.region_swap(vlm, [pairs[0], other], "strip", [1])


def test_what_cannot_be_measured_is_said_before_a_run(vlm, monkeypatch):
    pairs, trials = S.swap_pairs("squares", "left", 1), S.trials("squares")[:1]
    monkeypatch.setattr(type(vlm), "begin", None)  # no run
    with pytest.raises(ValueError, match="a token is overwritten twice"):
        I.patch(vlm, pairs, lambda pair, k: ([4, 4], [1, 2]), [0])
    with pytest.raises(ValueError, match="no slots"):
        I.region_swap(vlm, pairs, "strip", [])
    with pytest.raises(ValueError, match="no trials to read from"):
        I.read(vlm, [], lambda t: [0])
    push = torch.ones(1, vlm.d_model)
    with pytest.raises(ValueError, match="how is 'projection' or 'constant'"):
        I.amplified_answers(vlm, trials, push, [1.0], how="twice")
    bare = [S.Trial(S.Stimulus(trials[0].stimulus.pixels, (), np.zeros((0, 4), int), None),
                    "What?", "red", "left", "photographs")]  # fmt: skip
    with pytest.raises(ValueError, match="needs boxes, and the image of 'What.' has none"):
        I.amplified_answers(vlm, bare, push, [1.0], where="object")
    split = [S.Trial(trials[0].stimulus, "What?", "teddy bear", "left", "photographs")]
    with pytest.raises(ModelError, match="not a single token of .*: teddy bear"):
        I.answers(vlm, split)
