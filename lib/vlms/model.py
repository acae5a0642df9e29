"""`VLM`: a model with its processor and the facts that experiments need (all chapters)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from . import families, identity, pictures, runs
from .canvas import GEOMETRIES, Geometry
from .families import Family, ModelError
from .machine import in_batches

INSTRUCTION = "You respond in one token. "  # from the authors' system message


@dataclass(repr=False)
class VLM:
    """A Hugging Face VLM with its processor; `load` makes one."""

    name: str
    model: torch.nn.Module
    tokenizer: object
    image_processor: object
    chat_template: str
    family: Family
    grid: tuple[int, int]
    px: int
    path: Path | None = None  # of a local checkpoint
    revision: str | None = None  # of a hub checkpoint
    quantised: str | None = None
    rope: str = "native"  # "1d": image tokens numbered like text, in families with M-RoPE

    def __post_init__(self):
        if self.rope not in ("native", "1d"):
            raise ModelError(f"rope is 'native' or '1d', not {self.rope!r}")
        if self.rope == "1d" and self.family.native_rope == "1d":
            raise ModelError(f"{self.family.name} models number image tokens like text already")

    def __repr__(self) -> str:
        rows, cols = self.grid
        return (
            f"{self.name}: {self.family.name}, {self.n_layers} layers of width {self.d_model}, "
            f"{str(self.model.dtype)[6:]} on {self.device}\n"
            f"images of {self.canvas[1]} x {self.canvas[0]} px, {rows} x {cols} visual tokens"
        )

    # --- facts ---

    @cached_property
    def processor(self):
        """The Hugging Face processor of the checkpoint (some need torchvision)."""
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(
            self.path or self.name, revision=self.revision, trust_remote_code=False
        )

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def language_model(self) -> torch.nn.Module:
        return self.model.get_decoder()

    @property
    def n_layers(self) -> int:
        return len(self.language_model.layers)

    @property
    def n_slots(self) -> int:
        """Slots 0 .. n_layers."""
        return self.n_layers + 1

    @property
    def d_model(self) -> int:
        return self.model.config.get_text_config().hidden_size

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) of an image in pixels."""
        return self.grid[0] * self.px, self.grid[1] * self.px

    def native(self, picture, most: int = 1024) -> VLM:
        """The same model on the token grid of a picture of any shape, of at most `most` tokens:
        regions, probes and sweeps follow it.  Raises ModelError for a family of one canvas.
        """
        if not self.family.native:
            raise ModelError(
                f"{self.family.name} models have one canvas: use fit='pad', 'crop' or 'stretch'"
            )
        wide, high = pictures.upright(picture).size
        scale = min(1.0, (most * self.px**2 / (wide * high)) ** 0.5) / self.px
        return replace(self, grid=(max(1, int(high * scale)), max(1, int(wide * scale))))

    @property
    def geometry(self) -> Geometry:
        """Sizes of the synthetic canvases on this token grid (the paper's own, if it has one)."""
        for known in GEOMETRIES.values():
            if known.grid == self.grid[0]:
                return replace(known, px=self.px)
        item = max(1, self.grid[0] // 6)
        return Geometry(self.grid[0], self.px, item, (self.grid[0] - 3 * item) // 4)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights; see `identity.fingerprint`."""
        return identity.fingerprint(self.model)

    @cached_property
    def bridge(self):
        """The same weights as a TransformerLens bridge (a second copy; hooks by name).

        Raises ModelError where the bridge's eager attention would overflow or cannot be built.
        """
        if self.quantised:
            raise ModelError(f"the bridge copies the weights: load {self.name} without 4bit")
        if self.model.dtype == torch.float16:
            raise ModelError(
                "the bridge computes attention step by step, which overflows in float16: "
                f"load {self.name} in float32"
            )
        return families.bridge(self.model, self.family)

    # --- inputs ---

    def check_image(self, image) -> Image.Image:
        """An RGB image of canvas size; an exact multiple is averaged down.

        Raises ModelError for anything else.
        """
        image = pictures.upright(image)
        high, wide = self.canvas
        factor = max(1, image.height // high)
        if image.size != (wide * factor, high * factor):
            raise ModelError(
                f"{self.name} takes images of {wide} x {high} pixels or an exact multiple, got "
                f"{image.width} x {image.height}: `vlm.answer` and `pictures.fitted` take any"
            )
        return image.reduce(factor) if factor > 1 else image

    def prompt(self, question: str) -> str:
        """The question in the model's chat template, up to the point where it answers.

        A model that is not told to answer in one word may begin with "The".  The authors tell it in
        a system message; not every template has one, so here it stands before the question.  A
        question that asks for one word itself, and a model with a closed vocabulary, need none.
        """
        if not (self._closed or "one word" in question):
            question = INSTRUCTION + question
        content = [{"type": "image"}, {"type": "text", "text": question}]
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=self.chat_template,
            add_generation_prompt=True, tokenize=False,
        )  # fmt: skip

    def prepare(self, images: list, questions: list[str]) -> dict[str, Tensor]:
        """Model inputs, left-padded: input_ids, attention_mask (n, seq), image arguments.

        Raises ModelError for unequal lengths, wrong image sizes or words the model's
        vocabulary lacks.
        """
        _check_lists(images, questions)
        checked = [self.check_image(image) for image in images]
        self._check_words(questions)
        mark, texts = self.family.placeholder, [self.prompt(question) for question in questions]
        if found := [n for text in texts if (n := text.count(mark)) != 1]:
            raise ModelError(
                f"the chat template of {self.name} writes {mark!r} {found[0]} times for one image"
            )
        texts = [text.replace(mark, self.family.expanded(*self.grid)) for text in texts]
        begun = texts[0].startswith(self.tokenizer.bos_token or "\0")  # the template did it
        x = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left",
            add_special_tokens=not begun, return_token_type_ids=False,
        )  # fmt: skip
        x = dict(x) | self.family.pixels(self.image_processor, checked, self.canvas[0])
        if self.family.type_ids:  # without them some models silently read images as text
            x[self.family.type_ids] = self._is_image(x["input_ids"]).long()
        x = {k: v.to(self.device) for k, v in x.items()}
        if self.rope == "1d":
            x["position_ids"] = (x["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        return x

    @property
    def _closed(self) -> bool:
        return self.tokenizer.backend_tokenizer.model.__class__.__name__ == "WordLevel"

    def _check_words(self, questions: list[str]) -> None:
        """Only a closed vocabulary has words that it does not know."""
        split = self.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
        unknown = {self.tokenizer.unk_token_id, *self.tokenizer.all_special_ids}
        for word, _ in (pair for text in questions if self._closed for pair in split(text.lower())):
            if self.tokenizer.convert_tokens_to_ids(word) in unknown:
                raise ModelError(
                    f"{self.name} does not know the word {word!r}; `vlm.words` lists its words"
                )

    @property
    def words(self) -> list[str]:
        """The tokenizer's vocabulary, in order."""
        vocab = self.tokenizer.get_vocab()
        return sorted(vocab, key=vocab.get)

    def _is_image(self, ids: Tensor) -> Tensor:
        return ids == self.model.config.image_token_id

    def positions(self, x: dict[str, Tensor]) -> Int[Tensor, "n tokens"]:
        """Sequence index of each visual token, in raster order of the token grid."""
        is_image = self._is_image(x["input_ids"])
        at = is_image.nonzero()[:, 1].view(len(is_image), -1)
        return at[:, : self.grid[0] * self.grid[1]]  # what comes after the grid is a line break

    def visual(self, images: list, batch: int = 32) -> Float[Tensor, "n tokens d_model"]:
        """Visual tokens as the language model receives them (slot 0, the projector's output), in
        float32 whatever the model's precision."""

        def compute(some):
            x = self.prepare(some, [""] * len(some))
            resid = self.start(x).resid
            return resid[torch.arange(len(some))[:, None], self.positions(x)].float()

        return torch.cat(in_batches(images, compute, batch, self.name))

    # --- passes ---

    def start(
        self, x: dict[str, Tensor], visual: Float[Tensor, "n tokens d_model"] | None = None
    ) -> runs.Run:
        """A run of prepared inputs at slot 0, with other visual tokens if given: `runs.start`."""
        return runs.start(self.model, x, None if visual is None else (self.positions(x), visual))

    def logits(
        self, x: dict[str, Tensor], edits: Iterable[tuple[int, Callable]] = ()
    ) -> Float[Tensor, "n vocab"]:
        """Logits at the last position of one pass, with residuals edited on the way.

        edits: (slot, fn) with fn: (n, seq, d_model) -> same shape.  Raises ModelError for a slot
        out of range.
        """
        edits = list(edits)
        self.check_slots(slot for slot, _ in edits)
        run = self.start(x)
        for slot, resid in run.walk([slot for slot, _ in edits] or [0]):
            for _, fn in (edit for edit in edits if edit[0] == slot):
                resid.copy_(fn(resid))
        return run.finish(resid, slot)

    def check_slots(self, slots: Iterable[int] | None) -> list[int]:
        """The slots as a list, all of them for None.  Raises ModelError for one out of range, and
        ValueError for none."""
        slots = list(range(self.n_slots) if slots is None else slots)
        for slot in slots:
            if not 0 <= slot < self.n_slots:
                raise ModelError(f"slot {slot} is out of range: 0 .. {self.n_layers}")
        return slots

    # --- answers ---

    def answer_ids(self, word: str) -> list[int]:
        """Token ids of the spellings of a one-token answer (case, leading space).

        Raises ModelError if no spelling is a single token.
        """
        tokenizer, forms = self.tokenizer, (word.lower(), word.capitalize())
        # as the vocabulary has it, too: some tokenizers put a space before all that they read
        ids = {tokenizer.convert_tokens_to_ids(form) for form in forms}
        for spelling in (*forms, *(" " + form for form in forms)):
            found = tokenizer(spelling, add_special_tokens=False)["input_ids"]
            ids |= set(found) if len(found) == 1 else set()
        ids -= {None, tokenizer.unk_token_id}
        if not ids:
            raise ModelError(f"{word!r} is not a single token of {self.name}; choose another word")
        return sorted(ids)

    def check_answers(self, words: Iterable[str]) -> None:
        """Raises ModelError that names the words whose spellings are all more than one token."""

        def split(word):
            try:
                return not self.answer_ids(word)
            except ModelError:
                return True

        if bad := [word for word in dict.fromkeys(words) if split(word)]:
            raise ModelError(
                f"not a single token of {self.name}: {', '.join(bad)}; an answer is read from "
                "one token, so choose other words"
            )

    def probabilities(
        self, logits: Float[Tensor, "n vocab"], words: list[list[str]]
    ) -> Float[np.ndarray, "n words"]:
        """Probability of each candidate word, summed over its spellings; one list per row."""
        p = logits.float().softmax(-1).cpu().numpy()
        ids = {w: self.answer_ids(w) for w in {w for row in words for w in row}}
        return np.array([[p[i, ids[w]].sum() for w in row] for i, row in enumerate(words)])

    def decode(self, logits: Float[Tensor, "n vocab"]) -> list[str]:
        """The most probable next word of each row, lower-case and stripped."""
        best = logits.argmax(-1).tolist()
        return [self.tokenizer.decode([i]).strip().lower() for i in best]

    def answer(
        self, images: list, questions: list[str], batch: int = 64, fit: str = "pad"
    ) -> list[str]:
        """One word per image and question.

        images: pictures of any size and kind (see `pictures.upright`); questions: as many strings;
        fit: how a picture of another shape comes on the model's canvas, "pad" (with white),
        "crop", "stretch", or "native", where the token grid follows the picture (families that
        take any size; see `native`).  Raises ModelError for what is no picture, unequal lengths or
        unknown words.
        """
        _check_lists(images, questions)
        if fit == "native":
            asked = zip(images, questions, strict=True)
            return [self.native(i).answer([i], [q], fit="stretch")[0] for i, q in asked]
        images = [pictures.fitted(image, self.canvas, fit) for image in images]
        return self._asked(images, questions, batch, lambda x: self.decode(self.logits(x)))

    @torch.no_grad()
    def describe(
        self, images: list, questions: list[str], words: int = 12, batch: int = 64
    ) -> list[str]:
        """Greedy answers of several words (captions, lists of names)."""

        def told(x):
            out = self.model.generate(
                **x, max_new_tokens=words, do_sample=False, num_beams=1, repetition_penalty=1.0
            )
            out = out[:, x["input_ids"].shape[1] :]
            return self.tokenizer.batch_decode(out, skip_special_tokens=True)

        return self._asked(images, questions, batch, told)

    def _asked(self, images: list, questions: list[str], batch: int, told: Callable) -> list[str]:
        """told(model inputs) -> answers, in batches that fit."""
        _check_lists(images, questions)

        def compute(some):
            return told(self.prepare([image for image, _ in some], [text for _, text in some]))

        asked = list(zip(images, questions, strict=True))
        return sum(in_batches(asked, compute, batch, self.name), [])


def _check_lists(images, questions) -> None:
    pair = (images, questions)
    whole = any(isinstance(x, str | Image.Image) or not hasattr(x, "__len__") for x in pair)
    if whole or not all(isinstance(text, str) for text in questions):
        raise ModelError("give a list of images and a list of questions, one each per answer")
    if len(images) != len(questions) or not len(images):
        raise ModelError(
            f"{len(images)} images but {len(questions)} questions: give one of each per answer"
        )
