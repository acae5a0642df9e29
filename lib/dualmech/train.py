"""The recipe of the shipped models: an encoder, then projector and language model, then shapes.

Stage 1 trains the vision tower on labels that the drawing program knows.  Objective
"layout" (``mini``) asks every token for the item under it, for its own row and column, and
asks a random quarter of the tokens for the layout (which item is left-most, top-most, ...).
Objective "local" (``mini-local``) asks only for the item under each token.  Stage 2 freezes
the tower and trains projector and language model on packed dialogues, the same for both.
Stage 3 goes on from there with half of the coloured items in random outlines, and averages its
weights.

Stage 1 and the end of stage 2 also show colours and shapes that have no name, so that a colour is
learned apart from the shapes that had it: without them encoder and language model misread the
pairs that they have never seen.  Stage 3 is for what these leave: it asks for the colour of
outlines that never come twice, and names them by their colour alone ("the red shape").

Two kinds of sample in stages 2 and 3 make each of the two mechanisms unreliable in its turn:

- *shuffled*: a random quarter of the visual tokens is shown, at random positions, so the
  language model's own positions say nothing and only the encoder's signal can help;
- *tiled*: nine tiles of the image are encoded one by one, each in the centre of a white
  canvas, as high-resolution VLMs encode tiles; the encoder's signal then says nothing
  about the layout and only the language model's own positions can help.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm

from . import stimuli as S
from .machine import check_device

GRID, PX, TOKENS = S.MINI.grid, S.MINI.px, S.MINI.grid**2
ALIKE = 0.6  # overlap with a held-out shape that an outline in its colour must not reach
TEXT = 112  # text positions an image's dialogue may fill
QUERIES = ("left-most", "right-most", "middle of the row", "top-most", "bottom-most",
           "middle of the column")  # fmt: skip
KINDS = ("none", *S.SHAPES, *S.OBJECTS)
TINTS = ("none", *S.COLOURS)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "assistant:")
WORDS = """the color of square shape to left right above below is object a(n) a an item items
leftmost rightmost topmost bottommost middle name describe image from top bottom and or in on
answer with one word two three four five how many are there yes no which side where located
using as reference point floor nothing ? . , :""".split()
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% elif message['role'] == 'assistant' %}{{ ' assistant: ' + message['content'] }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the code and library versions."""

    objective: str = "layout"
    seed: int = 0
    encoder_steps: int = 1200
    read_only: int = 300  # first steps in which the layout is read but does not train the tower
    encoder_batch: int = 128
    lm_steps: int = 2000
    polish: int = 300  # more steps of stage 2, with unnamed colours and shapes, at a lower rate
    refine: int = 600  # steps of stage 3
    settle: int = 400  # first steps of stage 3, whose weights do not enter the average
    lm_batch: int = 64
    lr: float = 1.5e-3
    shuffled: float = 0.2  # share of batches with a shuffled quarter of the visual tokens
    tiled: float = 0.25  # share of the other samples whose tokens come from tiles
    unnamed: float = 0.25  # share of items with an unnamed colour, and as many with a shape
    recoloured: float = 0.15  # in stage 3: share of coloured items with an unnamed colour
    outlined: float = 0.5  # in stage 3: share of coloured items with a random outline

    def __post_init__(self):
        if self.objective not in ("layout", "local"):
            raise ValueError(f"objective is 'layout' or 'local', not {self.objective!r}")
        if self.settle >= self.refine > 0:
            raise ValueError(f"no step of {self.refine} is left to average after {self.settle}")


# --- the model -----------------------------------------------------------------------


def build_processor():
    """The LLaVA processor of the shipped models: word-level tokenizer, 96 x 96 pixels."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    words = dict.fromkeys([*SPECIAL, *WORDS, *S.COLOURS, *S.SHAPES, *S.OBJECTS])
    vocab = {word: i for i, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("?", "isolated"),
         pre_tokenizers.Split(".", "isolated"), pre_tokenizers.Split(",", "isolated")]
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>", additional_special_tokens=["<image>", "assistant:"],
        extra_special_tokens={"image_token": "<image>"}, padding_side="left",
    )  # fmt: skip
    images = SiglipImageProcessorPil(size={"height": S.MINI.side, "width": S.MINI.side})
    return LlavaProcessor(
        images, tokenizer, patch_size=PX, vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE, image_token="<image>", num_additional_image_tokens=0,
    )  # fmt: skip


def build_model(vocab: int, seed: int = 0, attn: str = "eager"):
    """A LLaVA model of about 2.3 million random weights (SigLIP tower, Llama LM)."""
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        SiglipVisionConfig,
    )

    width = 128
    vision = SiglipVisionConfig(
        hidden_size=width, intermediate_size=3 * width, num_hidden_layers=4,
        num_attention_heads=4, image_size=S.MINI.side, patch_size=PX, vision_use_head=False,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=320, num_hidden_layers=8,
        num_attention_heads=2, num_key_value_heads=2, head_dim=64, tie_word_embeddings=True,
        max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        initializer_range=0.08,  # 1/sqrt(width): the default 0.02 starts on a long plateau
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=SPECIAL.index("<image>"),
        vision_feature_select_strategy="full", vision_feature_layer=-1,
        image_seq_length=TOKENS, tie_word_embeddings=True, initializer_range=0.08,
    )  # fmt: skip
    torch.manual_seed(seed)
    return LlavaForConditionalGeneration._from_config(config, attn_implementation=attn)


# --- data ----------------------------------------------------------------------------


@lru_cache
def turned(shape: str, size: int) -> np.ndarray:
    """(24, size, size) covers of a named shape, turned by multiples of 15 degrees."""
    out = []
    for c, s in ((math.cos(k * math.pi / 12), math.sin(k * math.pi / 12)) for k in range(24)):
        inside = lambda u, v, c=c, s=s: S._inside(shape, c * u - s * v, s * u + c * v)  # noqa: E731
        out.append(S._sampled(inside, size))
    return np.stack(out)


def likeness(item: S.Item, shape: str, size: int = 16) -> float:
    """Overlap over union of an item and a named shape in the same box, at the best of 24 angles.

    A shape that is stretched counts as another one.
    """
    ours, theirs = S.sprite(item, size)[..., 3], turned(shape, size)
    both, either = np.minimum(ours, theirs), np.maximum(ours, theirs)
    return float((both.sum((1, 2)) / either.sum((1, 2))).max())


def shaded(
    item: S.Item, rng: np.random.RandomState, unnamed: float, outlined: float | None = None
) -> S.Item:
    """A coloured item in a shade of its colour, or (a share `unnamed` each) in a colour or of
    a shape without a name; never near the shape's or the colour's held-out partner.

    outlined: if given (stage 3), this share gets a random outline, and none a blend.
    """
    near = 30  # shades of a colour, in steps of 255 per channel
    kind = rng.random_sample()
    if kind < unnamed:
        kept = [S.COLOURS[c] for s, c in S.SHAPE_PAIRS if s == item.shape != "square"]
        while True:
            rgb = rng.randint(0, 256, 3)
            if all(abs(rgb - np.array(c)).max() > near for c in kept):
                return S.Item(item.shape, S.UNNAMED, tuple(rgb.tolist()))
    shade = np.clip(np.array(S.COLOURS[item.colour]) + rng.randint(-near, near + 1, 3), 0, 255)
    shade = tuple(shade.tolist())
    if outlined is not None and kind < unnamed + outlined:
        partners = [shape for shape, colour in S.SHAPE_PAIRS if colour == item.colour]
        while True:
            drawn = S.Item(S.UNNAMED, item.colour, shade, outline=int(rng.randint(2**31 - 1)))
            if all(likeness(drawn, shape) < ALIKE for shape in partners):
                return drawn
    if outlined is None and kind < 2 * unnamed:
        shapes = [s for s in S.SHAPES if (s, item.colour) not in S.SHAPE_PAIRS]
        first, second = (shapes[i] for i in rng.permutation(len(shapes))[:2])
        how = list(S.BLENDS)[rng.randint(len(S.BLENDS))]
        return S.Item(S.UNNAMED, item.colour, shade, (first, second, how))
    return S.Item(item.shape, item.colour, shade)


def training_stimulus(
    rng: np.random.RandomState, unnamed: float = 0.0, outlined: float | None = None
) -> S.Stimulus:
    """One training image: squares, shapes, objects or a scene; no held-out combination.

    unnamed: share of the coloured items with an unnamed colour, and with an unnamed shape (or, for
    the latter, outlined: see `shaded`).
    """
    while True:
        kind = ("squares", "shapes", "objects", "scenes")[
            int(np.searchsorted([0.25, 0.5, 0.7], rng.random_sample(), side="right"))
        ]
        n = 3 if rng.random_sample() < 0.75 else 2
        tints = [list(S.COLOURS)[i] for i in rng.permutation(len(S.COLOURS))[:n]]
        if kind == "squares":
            items = tuple(S.Item("square", c) for c in tints)
        elif kind == "shapes":
            shapes = [S.SHAPES[i] for i in rng.permutation(len(S.SHAPES))[:n]]
            items = tuple(S.Item(s, c) for s, c in zip(shapes, tints, strict=True))
        else:
            items = tuple(S.Item(S.OBJECTS[i]) for i in rng.permutation(len(S.OBJECTS))[:n])
        if S.is_heldout(items):
            continue
        if items[0].colour is not None:
            items = tuple(shaded(item, rng, unnamed, outlined) for item in items)
        full, plain = kind == "squares", kind != "scenes"
        if plain and rng.random_sample() < 0.4:
            out = S.row_of(items, vertical=rng.random_sample() < 0.5, full=full)
            if not S.heldout_combinations(out.items, out.boxes):
                return out
        else:
            crowded = rng.random_sample() < 0.3
            style = S.SceneStyle(
                size=(10, 13) if crowded else (13, 20),
                spacing=(11, 17) if crowded else (18, 36),
                layout="line" if crowded else "any",
                texture=20 + 50 * rng.random_sample(),
                contrast=(0.7, 1.0),
                clutter=(0, 8),
                noise=9 * rng.random_sample(),
            )
            white = plain and rng.random_sample() < 0.8
            allowed = lambda items, boxes: not S.heldout_combinations(items, boxes)  # noqa: E731
            try:
                return S.scene(rng, style, items, white=white, full=full, keep=allowed, tries=200)
            except ValueError:  # no place fits these items: draw others
                continue


def labels_of(item: S.Item) -> tuple[int, int]:
    """Class of KINDS and of TINTS of an item; -1 for what has no name."""
    kind = -1 if item.shape == S.UNNAMED else KINDS.index(item.shape)
    return kind, -1 if item.colour == S.UNNAMED else TINTS.index(item.colour or "none")


def token_labels(s: S.Stimulus) -> np.ndarray:
    """(2, grid, grid) class of KINDS and TINTS under each token; -1 where it is a sliver or
    has no name."""
    cover = s.cover.reshape(-1, GRID, PX, GRID, PX).mean((2, 4))
    best, share = cover.argmax(0), cover.max(0)
    labels = np.array([labels_of(item) for item in s.items]).T[:, best]
    out = np.where(share >= 0.25, labels, 0)
    return np.where((share > 0.02) & (share < 0.25), -1, out)


def layout_labels(s: S.Stimulus) -> np.ndarray:
    """(6, 2) class of KINDS and TINTS that each of QUERIES asks for; -1 where undefined or
    without a name."""
    out = np.full((6, 2), -1)
    for vertical in (False, True):
        order = S.reference_of(s, vertical, 6)
        if not order:
            continue
        picks = [order[0], order[-1]] + ([order[1]] if len(order) == 3 else [])
        for k, i in enumerate(picks):
            out[3 * vertical + k] = labels_of(s.items[i])
    return out


def pairwise_question(subject: S.Item, other: S.Item, vertical: bool, swap: bool = False) -> str:
    """The two-option question of the COCO-spatial protocol; swap: options in reverse order."""
    options = S.DIRECTIONS[2:] if vertical else S.DIRECTIONS[:2]
    first, second = (S.PHRASES[word] for word in (options[::-1] if swap else options))
    return S.two_option_question(subject.name, other.name, first, second)


def place_of(s: S.Stimulus, item: S.Item) -> str:
    """The third of the image, up and down then across, that holds an item's centre."""
    x, y = (3 * s.centres[s.items.index(item)] // S.MINI.side).astype(int)
    return f"{('top', 'middle', 'bottom')[y]} {('left', 'middle', 'right')[x]}"


def dialogue(s: S.Stimulus, rng: random.Random) -> list[tuple[str, str]]:
    """Questions about an image with their answers, the paper's own form first."""
    asked, rest = [], []  # turns that need a missing name are dropped
    unique = {item.shape for item in s.items}
    square = unique == {"square"}
    objects = s.items[0].colour is None
    for vertical in (False, True):
        order = S.reference_of(s, vertical, 8)
        if not order:
            continue
        row = [s.items[i] for i in order]
        low, high = ("above", "below") if vertical else ("left", "right")
        ends = ("topmost", "bottommost") if vertical else ("leftmost", "rightmost")
        noun = "square" if square else "shape"
        for a, b in zip(row, row[1:], strict=False):
            asked.append((S.question_for(b, low, noun), a.answer))
            asked.append((S.question_for(a, high, noun), b.answer))
        for word, item in zip((*ends, "middle"), (row[0], row[-1], row[1]), strict=True):
            if word == "middle" and len(row) != 3:
                continue
            ask = f"The {word} object is a(n)" if objects else f"The color of the {word} {noun} is"
            rest.append((ask, item.answer))
        names = " , ".join(item.name for item in row)
        rest.append((f"Describe the image from {ends[0][:-4]} to {ends[1][:-4]}.", names))
        i, j = rng.sample(range(len(row)), 2)
        answer = low if i < j else high
        rest.append((pairwise_question(row[i], row[j], vertical, rng.random() < 0.5), answer))
    names = sorted(item.name for item in s.items)
    rest.append(("Name the items.", " , ".join(names)))
    if not objects and len(unique) == len(s.items):
        item = rng.choice(s.items)
        rest.append((f"The color of the {item.shape} is", item.colour))
        rest.append((f"The shape of the {item.colour} item is", item.shape))
    if rng.random() < 0.2:
        rest.append(("How many items are there?", ("two", "three")[len(s.items) - 2]))
    item = rng.choice(s.items)
    rest.append((f"Where is the {item.name} located?", place_of(s, item)))
    asked, rest = (
        [turn for turn in turns if S.UNNAMED not in " ".join(turn)] for turns in (asked, rest)
    )
    rng.shuffle(asked)
    rng.shuffle(rest)
    return asked[:4] + rest


def pack(turns, tokenizer, rng: random.Random):
    """Lay turns side by side: ids, targets (-100 if none), positions and segments, (TEXT,) each.

    A turn is [question, assistant:, answer] with the answer's words predicted one by one and
    the end of text after a long answer (or, now and then, a short one).  A turn sees the image
    and itself only.
    """
    ids, target, place, segment = [], [], [], []
    for k, (question, answer) in enumerate(turns):
        q, a = tokenizer(question)["input_ids"], tokenizer(answer)["input_ids"]
        turn = [*q, SPECIAL.index("assistant:")]
        goal = [-100] * len(q) + [a[0]]
        if len(a) > 1 or rng.random() < 0.15:
            turn, goal = turn + a, goal + a[1:] + [SPECIAL.index("</s>")]
        if len(ids) + len(turn) > TEXT:
            continue
        ids += turn
        target += goal
        place += range(len(turn))
        segment += [k + 1] * len(turn)
    fill = TEXT - len(ids)
    return ids + [0] * fill, target + [-100] * fill, place + [0] * fill, segment + [-1] * fill


STAGES = {"encoder": 1, "lm": 2, "refine": 4}  # part of the seed of each batch


class Stream(IterableDataset):
    """Batches by number: batch k of a seed is the same wherever a run starts."""

    def __init__(self, recipe: Recipe, stage: str, start: int, steps: int):
        self.recipe, self.stage, self.start, self.steps = recipe, stage, start, steps
        self.batch = recipe.encoder_batch if stage == "encoder" else recipe.lm_batch
        self.tokenizer = None if stage == "encoder" else build_processor().tokenizer

    def __iter__(self):
        for step in range(self.start, self.steps):
            yield self.make(step)

    def make(self, step: int) -> dict[str, Tensor]:
        recipe = self.recipe
        key = [recipe.seed, step, STAGES[self.stage]]
        rng = np.random.RandomState(key)
        shares = (recipe.unnamed,)
        if self.stage == "refine":
            shares = (recipe.recoloured, recipe.outlined)
        elif self.stage == "lm" and step < recipe.lm_steps:
            shares = (0.0,)
        drawn = [training_stimulus(rng, *shares) for _ in range(self.batch)]
        out = {"pixels": np.stack([s.pixels for s in drawn])}
        if self.stage == "encoder":
            out["tokens"] = np.stack([token_labels(s) for s in drawn])
            out["layout"] = np.stack([layout_labels(s) for s in drawn])
        else:
            talk = random.Random(str(key))
            packed = [pack(dialogue(s, talk), self.tokenizer, talk) for s in drawn]
            for name, rows in zip(("ids", "target", "place", "segment"),
                                  zip(*packed, strict=True), strict=True):  # fmt: skip
                out[name] = np.array(rows)
        return {k: torch.from_numpy(v) for k, v in out.items()}


def normalise(pixels: Tensor) -> Tensor:
    """uint8 (n, H, W, 3) to the processor's float (n, 3, H, W) in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def as_tiles(pixels: Tensor, k: int = 3) -> Tensor:
    """(n, H, W, 3) to (n*k*k, H, W, 3): each tile in the centre of a white canvas."""
    n, side = pixels.shape[:2]
    tile = side // k
    tiles = pixels.reshape(n, k, tile, k, tile, 3).permute(0, 1, 3, 2, 4, 5)
    out = torch.full((n * k * k, side, side, 3), 255, dtype=pixels.dtype, device=pixels.device)
    start = (side - tile) // 2
    out[:, start : start + tile, start : start + tile] = tiles.reshape(-1, tile, tile, 3)
    return out


def from_tiles(states: Tensor, k: int = 3) -> Tensor:
    """(n*k*k, grid*grid, D) of tiles back to (n, grid*grid, D) of the image."""
    width, tile = states.shape[-1], GRID // k
    start = (GRID - tile) // 2
    grid = states.view(-1, k, k, GRID, GRID, width)
    grid = grid[:, :, :, start : start + tile, start : start + tile]
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, GRID * GRID, width)


# --- training ------------------------------------------------------------------------


class Heads(nn.Module):
    """What stage 1 reads off the tower; thrown away afterwards."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kind, self.tint = nn.Linear(width, len(KINDS)), nn.Linear(width, len(TINTS))
        self.row, self.col = nn.Linear(width, GRID), nn.Linear(width, GRID)
        self.query = nn.Parameter(torch.randn(len(QUERIES), width))
        self.read = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU())
        self.layout = nn.Linear(2 * width, len(KINDS) + len(TINTS))

    def forward(self, states, batch, keep, layout: bool, read_only: bool = False):
        """Loss and accuracies; keep: (n, quarter) indices of the tokens the layout is read from.

        read_only: the layout loss trains these heads and not the tower.
        """
        states = self.norm(states)
        weight = torch.ones(len(KINDS), device=states.device)
        weight[0] = 0.05
        kinds, tints = batch["tokens"].flatten(2).unbind(1)
        on = (kinds > 0, tints > 0)
        kind, tint = self.kind(states).float(), self.tint(states).float()
        loss = F.cross_entropy(kind.flatten(0, 1), kinds.flatten(), weight, ignore_index=-1)
        # objects have no colour: class 0 counts little, as for the background
        loss = loss + F.cross_entropy(
            tint.flatten(0, 1), tints.flatten(), weight[: len(TINTS)], ignore_index=-1
        )
        stats = {"kind": (kind.argmax(-1) == kinds)[on[0]].float().mean(),
                 "tint": (tint.argmax(-1) == tints)[on[1]].float().mean()}  # fmt: skip
        if layout:
            place = torch.arange(GRID, device=states.device)
            row = place.repeat_interleave(GRID).expand(len(states), -1).flatten()
            col = place.repeat(GRID).expand(len(states), -1).flatten()
            at_row, at_col = (f(states).float().flatten(0, 1) for f in (self.row, self.col))
            loss = loss + F.cross_entropy(at_row, row) + F.cross_entropy(at_col, col)
            source = states.detach() if read_only else states
            seen = source.gather(1, keep[..., None].expand(-1, -1, states.shape[-1]))
            query = self.query.to(states.dtype).expand(len(states), -1, -1)
            read = self.read(query, seen, seen, need_weights=False)[0] + query
            kind, tint = self.layout(self.mlp(read)).float().split((len(KINDS), len(TINTS)), -1)
            want = batch["layout"]
            for scores, label in ((kind, want[..., 0]), (tint, want[..., 1])):
                loss = loss + F.cross_entropy(
                    scores.flatten(0, 1), label.flatten(), ignore_index=-1
                )
            right = (kind.argmax(-1) == want[..., 0]) & (tint.argmax(-1) == want[..., 1])
            stats["layout"] = right[(want >= 0).all(-1)].float().mean()
            stats["column"] = (at_col.argmax(-1) == col).float().mean()
        return loss, stats


def _schedule(step: int, steps: int, warm: int) -> float:
    if step < warm:
        return (step + 1) / warm
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def rate(recipe: Recipe, stage: str, step: int) -> float:
    """Learning rate of a step, in parts of the recipe's."""
    if stage == "encoder":
        return _schedule(step, recipe.encoder_steps, 100)
    if stage == "refine":  # constant: the average of the weights takes the place of a decay
        return 0.4 * min(1, (step + 1) / 20)
    if step < recipe.lm_steps:
        return _schedule(step, recipe.lm_steps, 200)
    return 0.3 * _schedule(step - recipe.lm_steps, recipe.polish, 20)


def dialogue_mask(segment: Tensor, visual: int) -> Tensor:
    """Additive mask (n, 1, S, S) for [<s>, visual tokens, packed turns], 0 or a large negative."""
    n, device = len(segment), segment.device
    kind = torch.cat([torch.zeros(n, 1 + visual, dtype=segment.dtype, device=device), segment], 1)
    size = kind.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=device).tril()
    same = (kind[:, None, :] == kind[:, :, None]) | (kind[:, None, :] == 0)
    allowed = causal & same
    return torch.where(allowed, 0.0, -1e4)[:, None]


class Trainer:
    """One stage of training, checkpointed: `step` does one batch, `run` all that remain."""

    def __init__(self, recipe: Recipe, stage: str, out: Path, device: str, compiled: bool = True):
        self.recipe, self.stage, self.out, self.device = recipe, stage, out, device
        self.steps = {"encoder": recipe.encoder_steps, "lm": recipe.lm_steps + recipe.polish,
                      "refine": recipe.refine}[stage]  # fmt: skip
        self.model = build_model(len(build_processor().tokenizer), recipe.seed).to(device)
        torch.manual_seed(recipe.seed + 1)
        core = self.model.model
        if stage == "encoder":
            self.heads = Heads().to(device)
            self.trained = nn.ModuleDict({"tower": core.vision_tower, "heads": self.heads})
        else:
            core.vision_tower.load_state_dict(load_file(out / "encoder.safetensors"))
            core.vision_tower.requires_grad_(False)
            self.trained = nn.ModuleDict(
                {"projector": core.multi_modal_projector, "lm": core.language_model}
            )
            if stage == "lm":
                self.scale_projector()
            else:
                self.trained.load_state_dict(load_file(out / "lm.safetensors"))
        params = [p for p in self.trained.parameters() if p.requires_grad]
        betas, decay = ((0.9, 0.98), 0.05)
        self.optimizer = torch.optim.AdamW(params, recipe.lr, betas=betas, weight_decay=decay)
        self.average = AveragedModel(self.trained) if stage == "refine" else None
        self.start, self.log = 0, out / f"{stage}.jsonl"
        self.checkpoint = out / f"{stage}.checkpoint.pt"
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, weights_only=True)
            self.trained.load_state_dict(saved["weights"])
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.average:
                self.average.load_state_dict(saved["average"])
            self.start = saved["step"]
        wrap = torch.compile if compiled else (lambda f: f)
        vision = core.vision_tower  # LLaVA reads the last layer, before the final norm
        self.tower = wrap(
            lambda x: vision.encoder(inputs_embeds=vision.embeddings(x)).last_hidden_state
        )
        self.lm = wrap(
            lambda e, m, p: (
                core.language_model(
                    inputs_embeds=e, attention_mask=m, position_ids=p, use_cache=False
                ).last_hidden_state
            )
        )

    @torch.no_grad()
    def scale_projector(self):
        """Start the projector at unit scale whatever the size of the tower's outputs."""
        pixels = Stream(replace(self.recipe, encoder_batch=8), "encoder", 0, 1).make(0)["pixels"]
        vision = self.model.model.vision_tower
        x = vision.embeddings(normalise(pixels.to(self.device)))
        size = vision.encoder(inputs_embeds=x).last_hidden_state.pow(2).mean().sqrt()
        self.model.model.multi_modal_projector.linear_1.weight /= size

    def encoder_loss(self, batch, step):
        states = self.tower(normalise(batch["pixels"]))
        rng = np.random.RandomState([self.recipe.seed, step, 3])
        keep = np.stack([rng.permutation(TOKENS)[: TOKENS // 4] for _ in range(len(states))])
        keep = torch.from_numpy(keep).to(self.device)
        # Trained at once on the layout, the tower spreads *which* items there are over all
        # tokens and stays there (600 steps at a third right); so it first learns what and where.
        early = step < self.recipe.read_only
        return self.heads(states, batch, keep, self.recipe.objective == "layout", early)

    def visual_states(self, pixels: Tensor, tiled: int) -> Tensor:
        """Frozen tower's output (n, TOKENS, D); the first `tiled` images are encoded in tiles."""
        with torch.no_grad():
            inputs = torch.cat([pixels[tiled:], as_tiles(pixels[:tiled])])
            states = self.tower(normalise(inputs))
            whole, tiles = states.split((len(pixels) - tiled, 9 * tiled))
            return torch.cat([from_tiles(tiles), whole]) if tiled else whole

    def lm_loss(self, batch, step):
        rng = np.random.RandomState([self.recipe.seed, step, STAGES[self.stage] + 1])
        n = len(batch["pixels"])
        shuffled = rng.random_sample() < self.recipe.shuffled
        tiled = 0 if shuffled else int(round(self.recipe.tiled * n))
        states = self.visual_states(batch["pixels"], tiled)
        count = TOKENS // 4 if shuffled else TOKENS
        spots = torch.arange(1, TOKENS + 1, device=self.device).expand(n, -1)
        if shuffled:
            order = np.stack([rng.permutation(TOKENS)[:count] for _ in range(n)])
            order = torch.from_numpy(order).to(self.device)
            states = states.gather(1, order[..., None].expand(-1, -1, states.shape[-1]))
            at = np.stack([np.sort(rng.permutation(TOKENS)[:count]) for _ in range(n)])
            spots = torch.from_numpy(at).to(self.device) + 1
        visual = self.model.model.multi_modal_projector(states)
        embed = self.model.get_input_embeddings()
        first = embed(torch.full((n, 1), SPECIAL.index("<s>"), device=self.device))
        x = torch.cat([first.to(visual.dtype), visual, embed(batch["ids"]).to(visual.dtype)], 1)
        place = torch.cat(
            [torch.zeros(n, 1, dtype=torch.long, device=self.device), spots,
             batch["place"] + TOKENS + 1], 1
        )  # fmt: skip
        hidden = self.lm(x, dialogue_mask(batch["segment"], count), place)[:, 1 + count :]
        want = batch["target"]
        logits = self.model.lm_head(hidden[want != -100]).float()
        loss = F.cross_entropy(logits, want[want != -100])
        right = (logits.argmax(-1) == want[want != -100]).float()
        first_turn = (batch["segment"] == 1)[want != -100]
        stats = {"all": right.mean(), "paper": right[first_turn].mean()}
        name = "shuffled" if shuffled else "full"
        stats = {f"{name}.{k}": v for k, v in stats.items()}
        if tiled:
            row = torch.arange(n, device=self.device)[:, None].expand_as(want)[want != -100]
            stats["tiled.paper"] = right[first_turn & (row < tiled)].mean()
        return loss, stats

    def step(self, batch, step):
        batch = {k: v.to(self.device) for k, v in batch.items()}
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * rate(self.recipe, self.stage, step)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            loss_of = self.encoder_loss if self.stage == "encoder" else self.lm_loss
            loss, stats = loss_of(batch, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
        self.optimizer.step()
        if self.average and step >= self.recipe.settle:
            self.average.update_parameters(self.trained)
        return {"loss": loss.item()} | {k: v.item() for k, v in stats.items()}

    def save(self, step):
        state = {"weights": self.trained.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.average:
            state["average"] = self.average.state_dict()
        part = self.checkpoint.with_suffix(".part")
        torch.save(state | {"step": step}, part)
        part.replace(self.checkpoint)  # a run stopped here keeps the old checkpoint whole

    def forget_after(self, step: int) -> float:
        """Drop log rows past a checkpoint, whose steps are made again; seconds of the last kept."""
        rows = self.log.read_text().splitlines() if self.log.exists() else []
        kept = [row for row in rows if json.loads(row)["step"] <= step]
        self.log.write_text("".join(row + "\n" for row in kept))
        return json.loads(kept[-1])["seconds"] if kept else 0.0

    def run(self):
        workers = DataLoader(
            Stream(self.recipe, self.stage, self.start, self.steps), batch_size=None,
            num_workers=1, prefetch_factor=4,
        )  # fmt: skip
        seen: dict[str, list[float]] = {}
        began = time.time() - self.forget_after(self.start)
        bar = tqdm(workers, initial=self.start, total=self.steps, desc=self.stage, mininterval=10)
        with self.log.open("a") as log:
            for step, batch in enumerate(bar, self.start):
                for k, v in self.step(batch, step).items():
                    seen.setdefault(k, []).append(v)
                if (step + 1) % 50 == 0 or step + 1 == self.steps:
                    means = {k: round(float(np.nanmean(v)), 4) for k, v in seen.items()}
                    row = {"step": step + 1, "seconds": round(time.time() - began, 1)} | means
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                    seen = {}
                if (step + 1) % 200 == 0 or step + 1 == self.steps:
                    self.save(step + 1)
        if self.average and self.steps:
            self.trained.load_state_dict(self.average.module.state_dict())


def keep(module: nn.Module, path: Path) -> None:
    """Write a finished stage's weights whole or not at all."""
    part = path.with_suffix(".part")
    save_file(module.state_dict(), part)
    part.replace(path)


def train(recipe: Recipe, out: Path, device: str = "auto", compiled: bool = True) -> Path:
    """Run what remains of the stages and write the checkpoint folder.  Returns its path.

    Raises SetupError for a device that is not there, and ValueError for a folder that holds another
    recipe's run.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    out.mkdir(parents=True, exist_ok=True)
    told = out / "recipe.json"
    if told.exists() and json.loads(told.read_text()) != asdict(recipe):
        raise ValueError(f"{out} holds a run of another recipe; choose another folder")
    told.write_text(json.dumps(asdict(recipe), indent=1))
    if not (out / "encoder.safetensors").exists():
        stage = Trainer(recipe, "encoder", out, device, compiled)
        stage.run()
        keep(stage.model.model.vision_tower, out / "encoder.safetensors")
    if not (out / "lm.safetensors").exists():
        stage = Trainer(recipe, "lm", out, device, compiled)
        stage.run()
        keep(stage.trained, out / "lm.safetensors")
    stage = Trainer(recipe, "refine", out, device, compiled)
    stage.run()
    made = {
        "versions": {p: metadata.version(p) for p in ("torch", "transformers", "numpy")},
        "device": f"{device}, {torch.get_num_threads()} threads",
    }
    (out / "made.json").write_text(json.dumps(made, indent=1))
    stage.model.save_pretrained(out / "model")
    build_processor().save_pretrained(out / "model")
    return out / "model"


CARD = """# {name}: a model organism for spatial reasoning

A LLaVA checkpoint of {params:.2f} million parameters ({layers} language-model layers, a vision
tower of {tower} layers, {tokens} visual tokens on {side} x {side} pixels), trained from random
weights on images that `dualmech.stimuli` draws. It answers questions about coloured squares,
shapes and eight small objects, in one word, from a vocabulary of {vocab} words.

- **Made by** `python -m dualmech train OUT --objective {objective} --seed {seed}`; the recipe, the
  logs of all stages and the versions are in `training.json`, file hashes in `hashes.json`.
- **Encoder objective** "{objective}": {does}
- **Stages**: the encoder; then projector and language model; then these two again for a short
  while, with half of the coloured items in random outlines, and the mean of the weights kept.
- **Shares with real VLMs**: the Hugging Face LLaVA classes, a vision transformer trained before
  and frozen while the language model learns, a two-layer projector, raster-ordered visual tokens
  before the question in a causal language model with rotary positions.
- **Differs**: size, vocabulary and images; an encoder taught positions and layouts by labels (real
  ones learn them from captions); samples with shuffled or tile-encoded visual tokens that make
  each of the two mechanisms unreliable in turn. A result on this model is a result on this
  model alone.
- **Asked about neighbours**: "to the left of" means the next item to the left of the item that is
  named, which may be any item of the row. (Asked for the ends of rows alone, the word of direction
  decides, and the model learns to ignore the item that the question names.)
- **Held out from training**: 30 % of the triples of colours or objects, the five non-square pairs
  of the Shapes task and 10 % of each item's places (`stimuli.heldout_combinations`).
  The length of stage 3 and its mean were settled by looking at the Shapes questions and the strip
  swap of `mini`: these two are no clean test of it.
- **What it can do**: `python -m dualmech report {name}` measures it. Licence: MIT.
"""
DOES = {
    "layout": "every token names the item under it and its own row and column, and a random "
    "quarter of the tokens must tell the layout.",
    "local": "every token names the item under it, and nothing else.",
}


def ship(out: Path, to: Path) -> Path:
    """Copy a trained model to a data folder with its card, log, versions and hashes."""
    recipe = json.loads((out / "recipe.json").read_text())
    to.mkdir(parents=True, exist_ok=True)
    for file in sorted((out / "model").iterdir()):
        shutil.copyfile(file, to / file.name)
    logs = {}
    for stage in STAGES:
        lines = (out / f"{stage}.jsonl").read_text().splitlines()
        logs[stage] = [json.loads(line) for line in lines]
    told = {"recipe": recipe, "log": logs} | json.loads((out / "made.json").read_text())
    (to / "training.json").write_text(json.dumps(told, indent=1) + "\n")
    config = json.loads((to / "config.json").read_text())
    count = sum(v.numel() for v in load_file(to / "model.safetensors").values())
    card = CARD.format(
        name=to.name,
        params=count / 1e6,
        layers=config["text_config"]["num_hidden_layers"],
        tower=config["vision_config"]["num_hidden_layers"],
        tokens=TOKENS,
        side=S.MINI.side,
        vocab=config["text_config"]["vocab_size"],
        objective=recipe["objective"],
        seed=recipe["seed"],
        does=DOES[recipe["objective"]],
    )
    (to / "README.md").write_text(card)
    files = [f for f in sorted(to.iterdir()) if f.name != "hashes.json"]
    hashes = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (to / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
    return to


def toy(recipe: Recipe) -> Recipe:
    """The recipe cut down to a few steps, to see that everything runs."""
    return replace(recipe, encoder_steps=4, encoder_batch=8, lm_steps=3, polish=1,
                   refine=2, settle=1, lm_batch=8)  # fmt: skip
