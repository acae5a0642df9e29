"""Captions, and the small decoder that writes them from a tower's output.

For the objective "caption", sentences such as "from left to right red square , green star" are
the encoder's only lesson about order: no label names a row, a column, a place or the layout.
The decoder is told no position of the tokens it reads, so what it has to say about the order it
must find in what the tokens hold.  It is thrown away after its stage.
"""

from __future__ import annotations

import random
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dualmech.drawing import Item
from dualmech.scenes import reference_of
from dualmech.stimuli import OPPOSITE, PHRASES, Stimulus

from .items import UNNAMED

LENGTH = 22  # tokens of the longest caption, counted with the start or the end of text
NEAR = 6  # pixels; items closer than this along an axis are in no order on it
ROW = {"left": "from left to right", "above": "from top to bottom",
       "right": "from right to left", "below": "from bottom to top"}  # fmt: skip


def called(item: Item) -> str:
    """What a caption calls an item: a colour or a shape that has no name is left out."""
    if item.colour is None:
        return item.shape
    shape = "shape" if item.shape == UNNAMED else item.shape
    return shape if item.colour == UNNAMED else f"{item.colour} {shape}"


def relations(s: Stimulus) -> list[tuple[int, int, bool]]:
    """(i, j, vertical): item i stands before item j, from the left or (vertical) from the top."""
    found = []
    for vertical in (False, True):
        along = s.centres[:, int(vertical)]
        found += [(i, j, vertical) for i in range(len(along)) for j in range(len(along))
                  if along[j] - along[i] >= NEAR]  # fmt: skip
    return found


def caption(s: Stimulus, rng: random.Random, backwards: float = 0.0) -> str:
    """One sentence about the order of the items along an axis, as a list or as a chain of
    relations; about two relations where the items are in order on neither axis.

    backwards: share of sentences that begin at the right or at the bottom.
    """
    orders = [(v, order) for v in (False, True) if (order := reference_of(s, v, NEAR))]
    listed = False
    if orders:
        vertical, order = rng.choice(orders)
        listed = rng.random() < 0.5
        pairs = [(i, j, vertical) for i, j in pairwise(order)]
    else:
        known = relations(s)
        pairs = rng.sample(known, min(2, len(known)))
    back = backwards > 0 and rng.random() < backwards
    if listed:
        way, items = "above" if vertical else "left", order
        if back:
            way, items = OPPOSITE[way], order[::-1]
        return f"{ROW[way]} " + " , ".join(called(s.items[i]) for i in items)
    told = [(i, "above" if v else "left", j) for i, j, v in pairs]
    if back:
        told = [(j, OPPOSITE[way], i) for i, way, j in told[::-1]]
    return " and ".join(
        f"the {called(s.items[i])} {PHRASES[way]} the {called(s.items[j])}" for i, way, j in told
    )


def encoded(captions: list[str], tokenizer) -> list[list[int]]:
    """(captions, LENGTH + 1) ids: start of text, words, end of text, padding.

    Raises ValueError for a caption that is too long or has a word the tokenizer does not know.
    """
    rows = []
    for text in captions:
        words = tokenizer(text)["input_ids"]
        if len(words) + 1 > LENGTH:
            raise ValueError(f"a caption of {len(words)} words; at most {LENGTH - 1}: {text!r}")
        if tokenizer.unk_token_id in words:
            raise ValueError(f"a word that the tokenizer does not know: {text!r}")
        row = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
        rows.append(row + [tokenizer.pad_token_id] * (LENGTH + 1 - len(row)))
    return rows


class Captioner(nn.Module):
    """A causal decoder that reads visual tokens by cross-attention, as a set: it gives them no
    position of its own."""

    def __init__(self, vocab: int, width: int = 128, heads: int = 4, layers: int = 2):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.word = nn.Embedding(vocab, width)
        self.place = nn.Parameter(torch.randn(LENGTH, width) * width**-0.5)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        layer = nn.TransformerDecoderLayer(
            width, heads, 3 * width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))

    def forward(
        self, states: Float[Tensor, "n seen width"], ids: Int[Tensor, "n captions length"]
    ) -> Float[Tensor, "n captions length vocab"]:
        """Scores of each next word; the captions of an image lie side by side and each sees the
        image and its own words so far."""
        n, captions, length = ids.shape
        words = (self.word(ids) + self.place[:length]).flatten(1, 2)
        at = torch.arange(captions * length, device=ids.device)
        own = at[:, None] // length == at // length
        hidden = self.decoder(words, self.norm(states), tgt_mask=~(own & (at <= at[:, None])))
        return (hidden @ self.word.weight.T.to(hidden.dtype)).view(n, captions, length, -1)


def caption_loss(
    captioner: Captioner,
    states: Float[Tensor, "n seen width"],
    ids: Int[Tensor, "n captions all"],
    tokenizer,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the captions, and shares of words foreseen.

    "words": of all; "first": of the word after "from left to right" or "from top to bottom", which
    a reader that knows the items and not their order gets right in one case of two or three.
    """
    given, want = ids[..., :-1], ids[..., 1:]
    scores, told = captioner(states, given).float(), want != tokenizer.pad_token_id
    loss = F.cross_entropy(scores.flatten(0, 2), want.masked_fill(~told, -100).flatten())
    right = (scores.argmax(-1) == want).float()
    row = given[..., 1] == tokenizer.convert_tokens_to_ids("from")
    return loss, {"words": right[told].mean(), "first": right[..., 4][row].mean()}
