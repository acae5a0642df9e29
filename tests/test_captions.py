"""Captions: what they say follows from the boxes; the decoder reads tokens as a set."""

import random
import re
from collections import Counter

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import organism as T
from dualmech import stimuli as S
from dualmech.drawing import Item
from organism import captions as C

RED, GREEN, BLUE = (Item("square", c) for c in ("red", "green", "blue"))


@pytest.fixture(scope="module")
def tokenizer():
    return T.build_processor().tokenizer


@pytest.fixture(scope="module")
def captioner(tokenizer):
    torch.manual_seed(0)
    return C.Captioner(len(tokenizer)).eval()


def test_names_leave_out_what_has_no_name():
    pink = T.TrainingItem("star", T.UNNAMED, (250, 90, 140))
    blend = T.TrainingItem(T.UNNAMED, "red", blend=("circle", "cross", "union"))
    outline = T.TrainingItem(T.UNNAMED, "red", outline=3)
    items = (RED, Item("key"), pink, blend, outline)
    assert [C.called(item) for item in items] == [
        "red square", "key", "star", "red shape", "red shape",
    ]  # fmt: skip


def test_relations_by_hand():
    # a at (1, 6), b at (5, 2), c at (6, 9), in tokens of 8 pixels from the left and the top
    s = S.draw((RED, GREEN, BLUE), [(6, 1), (2, 5), (9, 6)])
    assert set(C.relations(s)) == {
        (0, 1, False), (0, 2, False), (1, 2, False), (1, 0, True), (1, 2, True), (0, 2, True),
    }  # fmt: skip
    row = S.row_of((RED, GREEN, BLUE))
    assert set(C.relations(row)) == {(0, 1, False), (0, 2, False), (1, 2, False)}


def told(items, times, backwards, vertical=False):
    """How often each caption of a row (or column) was told."""
    row, rng = S.row_of(items, vertical), random.Random(0)
    return Counter(C.caption(row, rng, backwards) for _ in range(times))


def test_captions_of_a_row_by_hand():
    assert set(told((RED, GREEN, BLUE), 20, 0.0)) == {
        "from left to right red square , green square , blue square",
        "the red square to the left of the green square and "
        "the green square to the left of the blue square",
    }
    assert set(told((RED, GREEN, BLUE), 20, 1.0)) == {
        "from right to left blue square , green square , red square",
        "the blue square to the right of the green square and "
        "the green square to the right of the red square",
    }


def test_captions_are_lists_or_chains_and_begin_at_the_other_end_as_often_as_asked():
    listed, chain = (
        "from top to bottom red square , green square",
        "the red square above the green square",
    )
    forth = told((RED, GREEN), 400, 0.0, vertical=True)
    assert set(forth) == {listed, chain} and 150 < forth[listed] < 250
    both = told((RED, GREEN), 800, 0.25, vertical=True)
    back = {"from bottom to top green square , red square", "the green square below the red square"}
    assert set(both) == {listed, chain} | back
    assert 150 < sum(both[text] for text in back) < 250


def test_where_no_caption_begins_at_the_other_end_nothing_else_is_drawn():
    one, other = random.Random(5), random.Random(5)
    for _ in range(9):  # which axis, of one; and a list or a chain
        C.caption(S.row_of((RED, GREEN, BLUE)), one)
        other.choice([False]), other.random()
    assert one.random() == other.random()


# words of a relation: the axis, and which way the second item lies
SIDES = {"to the left of": (0, 1), "above": (1, 1), "to the right of": (0, -1), "below": (1, -1)}
ROWS = {"left to right": (0, 1), "top to bottom": (1, 1),
        "right to left": (0, -1), "bottom to top": (1, -1)}  # fmt: skip


def test_every_caption_follows_from_the_boxes(tokenizer):
    rng, talk, forms, longest = np.random.RandomState(3), random.Random(1), Counter(), 0
    for _ in range(150):
        s = T.training_stimulus(rng, 0.25)
        names = [C.called(i) for i in s.items]
        for text in (C.caption(s, talk, 0.3) for _ in range(4)):
            longest = max(longest, len(tokenizer(text)["input_ids"]))
            if m := re.fullmatch(rf"from ({'|'.join(ROWS)}) (.+)", text):
                axis, way = ROWS[m[1]]
                order = np.argsort(way * s.centres[:, axis])
                assert m[2].split(" , ") == [names[i] for i in order]
                forms[m[1]] += 1
                continue
            for part in text.split(" and "):
                a, where, b = re.fullmatch(rf"the (.+) ({'|'.join(SIDES)}) the (.+)", part).groups()
                axis, way = SIDES[where]
                gaps = [way * (s.centres[j, axis] - s.centres[i, axis])
                        for i, x in enumerate(names) for j, y in enumerate(names)
                        if i != j and (x, y) == (a, b)]  # fmt: skip
                assert max(gaps) >= C.NEAR, (text, names, s.boxes)
                forms[where] += 1
    assert set(forms) == {*ROWS, *SIDES}
    assert longest == C.LENGTH - 1, "the length is that of the longest caption"


def test_encoded_by_hand(tokenizer):
    (row,) = C.encoded(["from left to right key , pot"], tokenizer)
    words = tokenizer.convert_ids_to_tokens(row)
    assert words[:10] == [
        "<s>", "from", "left", "to", "right", "key", ",", "pot", "</s>", "<pad>",
    ]  # fmt: skip
    assert len(row) == C.LENGTH + 1 and set(words[9:]) == {"<pad>"}
    with pytest.raises(ValueError, match="a caption of 22 words; at most 21"):
        C.encoded(["key " * 22], tokenizer)
    with pytest.raises(ValueError, match="a word that the tokenizer does not know: 'the banana'"):
        C.encoded(["the banana"], tokenizer)


def test_the_decoder_reads_tokens_as_a_set(captioner, tokenizer):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 30, 128, generator=generator)
    ids = torch.tensor([C.encoded(["from left to right key , pot"], tokenizer)] * 2)[..., :-1]
    order = torch.randperm(30, generator=generator)
    with torch.no_grad():
        one, other = captioner(states, ids), captioner(states[:, order], ids)
        moved = captioner(states + 1.0 * torch.randn(states.shape, generator=generator), ids)
    assert one.shape == (2, 1, C.LENGTH, len(tokenizer))
    assert_close(one, other, rtol=0, atol=1e-5)
    assert (one - moved).abs().max() > 1e-2, "what the tokens hold matters"


def test_a_word_sees_its_own_caption_so_far_and_nothing_else(captioner, tokenizer):
    states = torch.randn(1, 9, 128, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(6, len(tokenizer), (1, 3, C.LENGTH),
                        generator=torch.Generator().manual_seed(2))  # fmt: skip
    changed = ids.clone()
    changed[0, 1, 7] += 1 if changed[0, 1, 7] < len(tokenizer) - 1 else -1
    with torch.no_grad():
        moved = (captioner(states, ids) - captioner(states, changed)).abs().amax(-1)[0]
        alone = captioner(states, ids[:, 1:2])
        beside = captioner(states, ids)[:, 1:2]
    assert (moved[[0, 2]] < 1e-6).all() and (moved[1, :7] < 1e-6).all()
    assert (moved[1, 7:] > 1e-6).all()
    assert_close(alone, beside, rtol=0, atol=1e-5)


def test_the_loss_by_hand(captioner, tokenizer):
    texts = ["from left to right key , pot", "the key above the pot"]
    ids = torch.tensor([C.encoded(texts, tokenizer)])
    states = torch.randn(1, 9, 128, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        loss, told = C.caption_loss(captioner, states, ids, tokenizer)
        scores = captioner(states, ids[..., :-1])
    lengths = [8, 6]  # words and the end of text
    terms = [torch.nn.functional.cross_entropy(scores[0, k, :n], ids[0, k, 1 : n + 1],
                                               reduction="sum")
             for k, n in enumerate(lengths)]  # fmt: skip
    assert_close(loss, sum(terms) / sum(lengths))
    first = scores[0, 0, 4].argmax() == tokenizer.convert_tokens_to_ids("key")
    assert told["first"].item() == float(first)
    hits = sum((scores[0, k, :n].argmax(-1) == ids[0, k, 1 : n + 1]).sum()
               for k, n in enumerate(lengths))  # fmt: skip
    assert told["words"].item() == pytest.approx(hits.item() / sum(lengths))


def test_a_captioner_learns_the_order_only_from_tokens_that_hold_it(tokenizer):
    """Two tokens that say which item is first are soon read; a bag of two items is not."""
    names = ["key", "pot", "hat", "bell"]
    vectors = torch.randn(4, 2, 128, generator=torch.Generator().manual_seed(5))
    last = {}
    for ordered in (True, False):
        torch.manual_seed(0)
        reader = C.Captioner(len(tokenizer))
        optimizer = torch.optim.AdamW(reader.parameters(), 2e-3)
        rng, seen = np.random.RandomState(0), []
        for _ in range(40):
            pairs = np.stack([rng.permutation(4)[:2] for _ in range(16)])
            texts = [[f"from left to right {names[a]} , {names[b]}"] for a, b in pairs]
            ids = torch.tensor([C.encoded(text, tokenizer) for text in texts])
            place = torch.tensor([0, 1 if ordered else 0])
            states = vectors[torch.from_numpy(pairs), place]
            loss, told = C.caption_loss(reader, states, ids, tokenizer)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(told["first"].item())
        last[ordered] = np.mean(seen[-20:])
    assert last[True] > 0.95 and last[False] < 0.65
