"""Load a vision-language model and run it: `load(name)` gives a `VLM`.

A *slot* is a point of the language model's residual stream: slot s is the input of layer s,
the last slot the output of the last layer (before the final norm).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from . import machine, stimuli
from ._paths import data_dir
from .families import FAMILIES, HUB, Family, family_of
from .machine import GIB, SPARE, check_device, free_memory, in_batches, let_go

SHIPPED = ("mini", "mini-local")
INSTRUCTION = "You respond in one token. "  # from the authors' system message
# The encoder is what this book studies, so "4bit" leaves it and the projector alone.
NOT_QUANTISED = ("model.visual", "model.vision_tower", "model.vision_model",
                 "model.multi_modal_projector", "model.connector", "lm_head")  # fmt: skip
Edit = tuple[int, Callable[[Tensor], Tensor]]


class ModelError(ValueError):
    """A model, an image or a question that cannot be used; the message says what to do."""


@contextmanager
def _standing_in(layers, forward: Callable):
    """Calls `forward` in place of each layer."""
    before = [vars(layer).get("forward") for layer in layers]  # quantised layers have their own
    try:
        for layer in layers:
            layer.forward = forward
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own


def _branched_mask(mask: Tensor | None, rows: Tensor) -> Bool[Tensor, "n 1 rows rows"]:
    """An attention mask for rows, of which those that repeat the last position see themselves in
    its place; mask: (n, 1, seq, seq), True where seen, or None for a causal one."""
    seq = int(rows.max()) + 1
    if mask is None:
        mask = torch.ones(1, 1, seq, seq, dtype=torch.bool, device=rows.device).tril()
    if mask.dtype != torch.bool:
        raise ModelError("last-token copies need the attention masks of torch's own attention")
    grown = mask.index_select(-2, rows).index_select(-1, rows)
    grown[..., seq - 1 :] = False  # columns: the last position and its copies
    last = torch.arange(seq - 1, len(rows), device=rows.device)
    grown[..., last, last] = mask[..., -1:, -1]
    return grown


@dataclass
class Run:
    """One pass: logits at the last position, residuals by slot, and how to go on from them."""

    logits: Float[Tensor, "n vocab"] | None = None
    resid: dict[int, Float[Tensor, "n seq d_model"]] = field(default_factory=dict)
    layer_inputs: list[dict] = field(default_factory=list, repr=False)
    between: dict[int, Callable[[Tensor], Tensor]] = field(default_factory=dict, repr=False)


@dataclass
class VLM:
    """A Hugging Face VLM with its processor and the facts that experiments need."""

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
    def _encoder_layers(self) -> torch.nn.ModuleList | tuple:
        """The vision encoder's layers; none for a class that does not say where its encoder is."""
        encoder = self.model.get_encoder(modality="image")
        if encoder is self.model:
            return ()
        return max((m for m in encoder.modules() if isinstance(m, torch.nn.ModuleList)), key=len)

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

    @property
    def geometry(self) -> stimuli.Geometry:
        """Sizes of the synthetic canvases on this token grid (the paper's own, if it has one)."""
        for known in stimuli.GEOMETRIES.values():
            if known.grid == self.grid[0]:
                return replace(known, px=self.px)
        item = max(1, self.grid[0] // 6)
        return stimuli.Geometry(self.grid[0], self.px, item, (self.grid[0] - 3 * item) // 4)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, for provenance and caches."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().data)
        return digest.hexdigest()[:16]

    @cached_property
    def checkpoint(self) -> str:
        """Hash of what makes an answer of an input besides code: weights, configuration, tokenizer,
        chat template and image processor."""
        words = json.loads(self.tokenizer.backend_tokenizer.to_str())
        words |= {"padding": None, "truncation": None}  # what the last call asked for
        parts = [words, self.image_processor.to_dict(), self.chat_template, self.fingerprint]
        told = self.model.config.to_json_string() + json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()

    @cached_property
    def bridge(self):
        """The same weights as a TransformerLens bridge (a second copy; hooks by name).

        Raises ModelError where the bridge's eager attention would overflow or cannot be built.
        """
        from transformer_lens.factories.architecture_adapter_factory import (
            SUPPORTED_ARCHITECTURES,
            ArchitectureAdapterFactory,
        )
        from transformer_lens.model_bridge.sources import build_bridge_from_module

        if self.quantised:
            raise ModelError(f"the bridge copies the weights: load {self.name} without 4bit")
        if self.model.dtype == torch.float16:
            raise ModelError(
                "the bridge computes attention step by step, which overflows in float16: "
                f"load {self.name} in float32"
            )
        config = deepcopy(self.model.config)  # choosing eager attention changes it in place
        copy = type(self.model)._from_config(config, attn_implementation="eager")
        copy.load_state_dict(self.model.state_dict())
        copy = copy.to(self.device, self.model.dtype).eval().requires_grad_(False)
        adapter = SUPPORTED_ARCHITECTURES[self.family.architecture]
        # the images are prepared here, so that no adapter needs torchvision
        light = type(adapter.__name__, (adapter,), {"required_libraries": []})
        ArchitectureAdapterFactory.register_adapter(self.family.name, light)
        return build_bridge_from_module(
            copy, self.family.name, hf_config=copy.config, post_adapter_hook=self.family.adapt
        )

    # --- inputs ---

    def check_image(self, image) -> Image.Image:
        """An RGB image of canvas size; an exact multiple is averaged down.

        Raises ModelError for anything else.
        """
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = Image.fromarray(image)
        if not isinstance(image, Image.Image):
            raise ModelError(
                f"expected a PIL image or a uint8 array (H, W, 3), got {type(image).__name__}"
            )
        high, wide = self.canvas
        factor = image.height // high
        if factor < 1 or (image.width, image.height) != (wide * factor, high * factor):
            raise ModelError(
                f"{self.name} takes images of {wide} x {high} pixels or an exact multiple, got "
                f"{image.width} x {image.height}: crop or pad to a square and resize it"
            )
        return image.convert("RGB").reduce(factor) if factor > 1 else image.convert("RGB")

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
        texts = []
        for text in map(self.prompt, questions):
            if text.count(self.family.placeholder) != 1:
                raise ModelError(
                    f"the chat template of {self.name} writes {self.family.placeholder!r} "
                    f"{text.count(self.family.placeholder)} times for one image"
                )
            whole = self.family.expanded(self.grid[0])
            texts.append(text.replace(self.family.placeholder, whole))
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
        if not self._closed:
            return
        core = self.tokenizer.backend_tokenizer
        closed = {self.tokenizer.unk_token_id, *self.tokenizer.all_special_ids}
        for question in questions:
            words = core.pre_tokenizer.pre_tokenize_str(question.lower())
            bad = [w for w, _ in words if self.tokenizer.convert_tokens_to_ids(w) in closed]
            if bad:
                raise ModelError(
                    f"{self.name} does not know the word {bad[0]!r}; its words are "
                    "listed by `vlm.words`"
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
            resid = self.begin(x).resid[0]
            return resid[torch.arange(len(some))[:, None], self.positions(x)].float()

        return torch.cat(in_batches(images, compute, batch, self.name))

    # --- passes ---

    def check_slot(self, slot: int) -> None:
        """Raises ModelError for a slot out of range."""
        if not 0 <= slot < self.n_slots:
            raise ModelError(f"slot {slot} is out of range: 0 .. {self.n_layers}")

    @torch.no_grad()
    def begin(self, x: dict[str, Tensor], encode: bool = True) -> Run:
        """A run at slot 0: images encoded, text embedded, and no layer computed yet.

        encode: without it the vision encoder's layers are left out, and the visual tokens mean
        nothing: for a caller that replaces every one of them.
        """
        run, layers = Run(), self.language_model.layers
        skipped = () if encode else self._encoder_layers

        def deepstack(module, _args, kwargs):
            """Qwen3-VL adds visual features between its first layers."""
            mask = kwargs.get("visual_pos_masks")
            for layer, features in enumerate(kwargs.get("deepstack_visual_embeds") or ()):
                run.between[layer + 1] = partial(
                    module._deepstack_process, visual_pos_masks=mask, visual_embeds=features
                )

        def note(hidden_states, **kwargs):
            run.resid.setdefault(0, hidden_states)
            run.layer_inputs.append(kwargs)
            return hidden_states

        def skip(hidden_states, *_args, **_kwargs):
            return hidden_states

        add = self.language_model.register_forward_pre_hook
        with _standing_in(layers, note), _standing_in(skipped, skip):
            with add(deepstack, with_kwargs=True):
                self.model(**x, use_cache=False, logits_to_keep=1)
        return run

    @torch.no_grad()
    def step(
        self, run: Run, slot: int, resid: Float[Tensor, "n seq d_model"]
    ) -> Float[Tensor, "n seq d_model"]:
        """The residual at slot + 1 of a run, from that at slot."""
        resid = self.language_model.layers[slot](resid, **run.layer_inputs[slot])
        resid = resid[0] if isinstance(resid, tuple) else resid
        return run.between[slot + 1](resid) if slot + 1 in run.between else resid

    def walk(self, run: Run) -> Iterator[Float[Tensor, "n seq d_model"]]:
        """The residuals of a run at slots 0, 1, ..., each computed when it is asked for."""
        resid = run.resid[0]
        yield resid
        for slot in range(self.n_layers):
            resid = self.step(run, slot, resid)
            yield resid

    @torch.no_grad()
    def head(
        self, resid: Float[Tensor, "n seq d_model"], last: int = 1
    ) -> Float[Tensor, "n last vocab"]:
        """Logits of the last positions, from residuals at the last slot."""
        final = self.language_model.norm(resid)[:, -last:]  # sliced as in a whole run: same bits
        return self.model.get_output_embeddings()(final).float()

    def forward(
        self,
        x: dict[str, Tensor],
        edits: Iterable[Edit] = (),
        slots: Iterable[int] = (),
    ) -> Run:
        """Run the model; edit residuals at slots on the way; keep the residuals asked for.

        edits: (slot, fn) with fn: (n, seq, d_model) -> same shape; slots: which residuals to
        return (after any edit at that slot).  Raises ModelError for a slot out of range.
        """
        edits, slots = list(edits), set(slots)
        for slot in [s for s, _ in edits] + list(slots):
            self.check_slot(slot)
        run = self.begin(x)
        resid = run.resid.pop(0)
        for slot in range(self.n_slots):
            resid = self.step(run, slot - 1, resid) if slot else resid
            for _, fn in (edit for edit in edits if edit[0] == slot):
                resid = fn(resid)
            if slot in slots:
                run.resid[slot] = resid.clone()
        run.logits = self.head(resid)[:, -1]
        return run

    def prefix(self, x: dict[str, Tensor]) -> Run:
        """A clean run with the residual at every slot, from which suffixes start."""
        return self.forward(x, slots=range(self.n_slots))

    def suffix(
        self, run: Run, slot: int, resid: Float[Tensor, "n seq d_model"]
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the run continued from an edited residual at a slot.

        Equal to `forward` with the edit, without recomputing the layers below.
        """
        for k in range(slot, self.n_layers):
            resid = self.step(run, k, resid)
        return self.head(resid)[:, -1]

    def branched(self, run: Run, copies: int) -> Run:
        """A run begun with copies of its last position behind it.

        A copy sees the prompt before the last position, and itself; nothing sees a copy.  So each
        goes through the layers as the last position does, and many edits of the last token need
        one pass.
        """
        seq = run.resid[0].shape[1]
        rows = torch.tensor([*range(seq), *[seq - 1] * copies], device=self.device)
        masks, grown = {}, []
        for given in run.layer_inputs:
            mask = given["attention_mask"]
            if id(mask) not in masks:
                masks[id(mask)] = _branched_mask(mask, rows)
            cos, sin = given["position_embeddings"]
            more = {
                "attention_mask": masks[id(mask)],
                "position_embeddings": (cos.index_select(-2, rows), sin.index_select(-2, rows)),
            }
            if given.get("position_ids") is not None:
                more["position_ids"] = given["position_ids"].index_select(-1, rows)
            grown.append(given | more)
        between = {
            slot: lambda resid, add=add: torch.cat([add(resid[:, :seq]), resid[:, seq:]], 1)
            for slot, add in run.between.items()
        }
        return Run(None, {0: run.resid[0].index_select(1, rows)}, grown, between)

    # --- answers ---

    def answer_ids(self, word: str) -> list[int]:
        """Token ids of the spellings of a one-token answer (case, leading space).

        Raises ModelError if no spelling is a single token.
        """
        tokenizer, ids = self.tokenizer, []
        for form in (word.lower(), word.capitalize()):
            # as the vocabulary has it, too: some tokenizers put a space before all that they read
            ids.append(tokenizer.convert_tokens_to_ids(form))
            for spelling in (form, " " + form):
                found = tokenizer(spelling, add_special_tokens=False)["input_ids"]
                ids += found if len(found) == 1 else []
        ids = {i for i in ids if i is not None and i != tokenizer.unk_token_id}
        if not ids:
            raise ModelError(f"{word!r} is not a single token of {self.name}; choose another word")
        return sorted(ids)

    def check_answers(self, words: Iterable[str]) -> None:
        """Raises ModelError that names the words whose spellings are all more than one token."""
        split = []
        for word in dict.fromkeys(words):
            try:
                self.answer_ids(word)
            except ModelError:
                split.append(word)
        if split:
            raise ModelError(
                f"not a single token of {self.name}: {', '.join(split)}; an answer is read from "
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

    def answer(self, images: list, questions: list[str], batch: int = 64) -> list[str]:
        """One word per image and question.

        images: PIL images of canvas size or an exact multiple; questions: as many strings.
        Raises ModelError for wrong sizes, unequal lengths or unknown words.
        """
        return self._asked(images, questions, batch, lambda x: self.decode(self.forward(x).logits))

    @torch.no_grad()
    def describe(
        self, images: list, questions: list[str], words: int = 12, batch: int = 64
    ) -> list[str]:
        """Greedy answers of several words (captions, lists of names)."""
        greedy = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}

        def told(x):
            out = self.model.generate(**x, max_new_tokens=words, **greedy)
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
    if isinstance(questions, str) or isinstance(images, Image.Image):
        raise ModelError("give a list of images and a list of questions, one each per answer")
    if len(images) != len(questions) or not len(images):
        raise ModelError(
            f"{len(images)} images but {len(questions)} questions: give one of each per answer"
        )


# --- loading -------------------------------------------------------------------------


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def check_files(folder: Path) -> None:
    """Compare a shipped model's files with its `hashes.json`.

    Raises ModelError that names the first missing or altered file.
    """
    mend = "restore it with `git checkout -- data` or install the project again"
    listing = folder / "hashes.json"
    if not listing.exists():
        raise ModelError(f"{listing} is missing: {mend}")
    try:
        digests = json.loads(listing.read_text())
    except ValueError:
        raise ModelError(f"{listing} is truncated or altered: {mend}") from None
    for name, digest in digests.items():
        if not (folder / name).exists():
            raise ModelError(f"{folder / name} is missing: {mend}")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ModelError(f"{folder / name} is truncated or altered: {mend}")


@contextmanager
def _quiet(enabled: bool):
    """No progress bar and no notes of the transformers library for a load that takes no time."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    if enabled:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def weight_bytes(config, family: Family, precision: str = "float32") -> int:
    """Bytes of a model's weights, from its configuration alone (nothing is downloaded).

    "4bit": the language model's layers in NF4 (4 bits and a scale per 64 weights), the rest in
    float32.
    """
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, family.model_class)._from_config(config)
    total = sum(p.numel() for p in model.parameters())
    if precision != "4bit":
        return total * (4 if precision == "float32" else 2)
    layers = model.get_decoder().layers.modules()
    packed = sum(m.weight.numel() for m in layers if isinstance(m, torch.nn.Linear))
    return packed * 9 // 16 + (total - packed) * 4


def check_memory(name: str, config, family: Family, precision: str, free: int) -> None:
    """Raises ModelError if a model would not fit in `free` bytes, and says what would.

    A tenth is left for the states of one pass.
    """
    if SPARE * weight_bytes(config, family, precision) <= free:
        return
    need = {p: SPARE * weight_bytes(config, family, p) for p in family.precisions}
    fits = [f"{p} ({need[p] / GIB:.1f} GiB)" for p in need if need[p] <= free]
    others = [hub for hub, (_, billions) in HUB.items() if SPARE * 4e9 * billions <= free]
    advice = f"load it in {' or '.join(fits)}" if fits else "no precision of it fits"
    if others and others[-1] != name:
        advice += f"; in float32 {others[-1]} would fit"
    raise ModelError(
        f"{name} needs {need[precision] / GIB:.1f} GiB in {precision}, but {free / GIB:.1f} GiB "
        f"are free: {advice} (a model that was loaded before counts until `del` or a restart)"
    )


def _configuration(name: str, where: str, revision: str | None):
    """The checkpoint's configuration and family.  Raises ModelError."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(
            where, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        mend = ""
        if "gated" in str(error):
            mend = (
                f"; accept its licence on https://huggingface.co/{name}, then log in with "
                "`huggingface_hub.login()`"
            )
        raise ModelError(
            f"cannot read the configuration of {name!r}: {_one_line(error)}{mend}"
        ) from None
    family = family_of(config)
    if family is None:
        raise ModelError(
            f"{name!r} is a {config.model_type!r} model; supported: {', '.join(FAMILIES)}"
        )
    return config, family


def _weights(where: str, family: Family, precision: str, device: str, revision: str | None):
    """The Hugging Face model on its device, ready to be read."""
    import transformers

    dtype = torch.float32 if precision == "4bit" else getattr(torch, precision)
    how = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
    if device != "cpu":  # straight to the GPU: a Colab machine may have less RAM than GPU memory
        how |= {"device_map": {"": device}}
    if precision == "4bit":
        quantise = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=list(NOT_QUANTISED),
        )  # fmt: skip
        how |= {"quantization_config": quantise, "device_map": {"": device}}
    cls = getattr(transformers, family.model_class)
    return cls.from_pretrained(where, revision=revision, **how).eval().requires_grad_(False)


def load(
    name: str | Path = "mini",
    device: str = "auto",
    precision: str | None = None,
    revision: str | None = None,
) -> VLM:
    """Load a shipped model ("mini"), a local folder or a hub id.

    precision: "float32", "bfloat16", "float16", or "4bit" (the language model's layers in
    bitsandbytes NF4, computing in float32); by default what `machine.precision` chooses.
    revision: of a hub id; those that the book names are pinned.

    Raises ModelError, before any long work, for an unknown name, a damaged file, a family or a
    precision that is not supported, or too little memory, and SetupError for a device that is not
    there.  Never runs remote code; weights are
    safetensors only.
    """
    import transformers
    from safetensors import SafetensorError

    # from the top of the package it asks for torchvision in some versions
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.processing_utils import ProcessorMixin

    name, path = str(name), Path(name)
    if name in SHIPPED:
        path = data_dir() / name
        check_files(path)
    elif not path.is_dir() and name.count("/") != 1:
        raise ModelError(
            f"unknown model {name!r}: use one of {', '.join(SHIPPED)}, a folder with a "
            "Hugging Face checkpoint, or a hub id such as owner/name"
        )
    local = path.is_dir()
    where = str(path) if local else name
    revision = None if local else revision or HUB.get(name, (None,))[0]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    config, family = _configuration(name, where, revision)
    let_go()  # of a model whose name is in use again
    free = free_memory(torch.device(device))
    if precision is None and name in SHIPPED:
        precision = "float32"
    elif precision is None:
        gpu = torch.cuda.get_device_capability(device) if "cuda" in device else None
        precision = machine.precision(weight_bytes(config, family), free, gpu)
    if precision not in family.precisions:
        raise ModelError(
            f"{family.name} models cannot be used in {precision!r} here: "
            f"use {', '.join(family.precisions)}"
        )
    if precision == "4bit" and find_spec("bitsandbytes") is None:
        raise ModelError("4bit needs the package bitsandbytes: pip install bitsandbytes")
    if name not in SHIPPED:
        check_memory(name, config, family, precision, free)
    hub = {"revision": revision, "trust_remote_code": False}
    try:
        with _quiet(enabled=name in SHIPPED):
            tokenizer = transformers.AutoTokenizer.from_pretrained(where, **hub)
            images = AutoImageProcessor.from_pretrained(where, backend="pil", **hub)
            told = ProcessorMixin.get_processor_dict(where, revision=revision)[0]
            model = _weights(where, family, precision, device, revision)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot load {name!r}: {_one_line(error)}") from None
    template = told.get("chat_template") or tokenizer.chat_template
    if not template:
        raise ModelError(f"{name!r} has no chat template: an instruction-tuned model is needed")
    side, px = family.layout(config)
    return VLM(
        name, model, tokenizer, images, template, family, (side, side), px,
        path if local else None, revision, precision if precision == "4bit" else None,
    )  # fmt: skip
