"""Load a vision-language model and run it: `load(name)` gives a `VLM`.

A *slot* is a point of the language model's residual stream: slot s is the input of layer s,
the last slot the output of the last layer (before the final norm).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from . import stimuli
from ._paths import data_dir

SHIPPED = ("mini", "mini-local")
FAMILIES = {"llava": "LlavaForConditionalGeneration"}
Edit = tuple[int, Callable[[Tensor], Tensor]]


class ModelError(ValueError):
    """A model, an image or a question that cannot be used; the message says what to do."""


@dataclass
class Run:
    """One pass: logits at the last position, residuals by slot, and how to go on from them."""

    logits: Float[Tensor, "n vocab"] | None = None
    resid: dict[int, Float[Tensor, "n seq d_model"]] = field(default_factory=dict)
    layer_inputs: list[dict] = field(default_factory=list, repr=False)


@dataclass
class VLM:
    """A Hugging Face VLM with its processor and the facts that experiments need."""

    name: str
    model: torch.nn.Module
    processor: object
    grid: tuple[int, int]
    px: int
    path: Path | None = None

    # --- facts ---

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def language_model(self) -> torch.nn.Module:
        return self.model.model.language_model

    @property
    def n_layers(self) -> int:
        return len(self.language_model.layers)

    @property
    def n_slots(self) -> int:
        """Slots 0 .. n_layers."""
        return self.n_layers + 1

    @property
    def d_model(self) -> int:
        return self.model.config.text_config.hidden_size

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) of an image in pixels."""
        return self.grid[0] * self.px, self.grid[1] * self.px

    @property
    def geometry(self) -> stimuli.Geometry:
        """Sizes of the synthetic canvases on this token grid (the paper's own, if it has one)."""
        for known in stimuli.GEOMETRIES.values():
            if (known.grid, known.px) == (self.grid[0], self.px):
                return known
        item = max(1, self.grid[0] // 6)
        return stimuli.Geometry(self.grid[0], self.px, item, (self.grid[0] - 3 * item) // 4)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, for provenance and caches."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def bridge(self):
        """The same weights as a TransformerLens bridge (a second copy; hooks by name)."""
        from transformer_lens.model_bridge.sources import build_bridge_from_module

        config = deepcopy(self.model.config)  # choosing eager attention changes it in place
        copy = type(self.model)._from_config(config, attn_implementation="eager")
        copy.load_state_dict(self.model.state_dict())
        copy = copy.to(self.device, self.model.dtype).eval().requires_grad_(False)
        architecture = type(self.model).__name__
        return build_bridge_from_module(copy, architecture, hf_config=copy.config)

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
        """The question in the model's chat template, up to the point where it answers."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        chat = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)

    def prepare(self, images: list, questions: list[str]) -> dict[str, Tensor]:
        """Model inputs, left-padded: input_ids, attention_mask (n, seq), pixel_values.

        Raises ModelError for unequal lengths, wrong image sizes or words the model's
        vocabulary lacks.
        """
        _check_lists(images, questions)
        checked = [self.check_image(image) for image in images]
        prompts = [self.prompt(q) for q in questions]
        tokenizer = self.processor.tokenizer
        unknown = tokenizer.unk_token_id
        if tokenizer.backend_tokenizer.model.__class__.__name__ == "WordLevel":
            closed = {unknown, *tokenizer.all_special_ids}
            for question in questions:
                words = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(question.lower())
                bad = [w for w, _ in words if tokenizer.convert_tokens_to_ids(w) in closed]
                if bad:
                    raise ModelError(
                        f"{self.name} does not know the word {bad[0]!r}; its words are "
                        "listed by `vlm.words`"
                    )
        x = self.processor(images=checked, text=prompts, return_tensors="pt", padding=True)
        return {k: v.to(self.device) for k, v in x.items()}

    @property
    def words(self) -> list[str]:
        """The tokenizer's vocabulary, in order."""
        vocab = self.processor.tokenizer.get_vocab()
        return sorted(vocab, key=vocab.get)

    def positions(self, x: dict[str, Tensor]) -> Int[Tensor, "n tokens"]:
        """Sequence index of each visual token, in raster order of the token grid."""
        is_image = x["input_ids"] == self.model.config.image_token_id
        return is_image.nonzero()[:, 1].view(len(is_image), -1)

    @torch.no_grad()
    def visual(self, images: list, batch: int = 64) -> Float[Tensor, "n tokens d_model"]:
        """Visual tokens as the language model receives them (the projector's output)."""
        checked = [self.check_image(image) for image in images]
        out = []
        for i in range(0, len(checked), batch):
            pixels = self.processor.image_processor(checked[i : i + batch], return_tensors="pt")
            pixels = pixels["pixel_values"].to(self.device, self.model.dtype)
            found = self.model.get_image_features(pixel_values=pixels).pooler_output
            out.append(torch.stack(list(found)).view(-1, self.grid[0] * self.grid[1], self.d_model))
        return torch.cat(out)

    # --- passes ---

    @torch.no_grad()
    def forward(
        self, x: dict[str, Tensor], edits: Iterable[Edit] = (), slots: Iterable[int] = ()
    ) -> Run:
        """Run the model; edit residuals at slots on the way; keep the residuals asked for.

        edits: (slot, fn) with fn: (n, seq, d_model) -> same shape; slots: which residuals to
        return (after any edit at that slot).  Raises ModelError for a slot out of range.
        """
        edits, slots = list(edits), set(slots)
        for slot in [s for s, _ in edits] + list(slots):
            if not 0 <= slot < self.n_slots:
                raise ModelError(f"slot {slot} is out of range: 0 .. {self.n_layers}")
        run, handles = Run(), []

        def at(slot, resid):
            for where, fn in edits:
                if where == slot:
                    resid = fn(resid)
            if slot in slots:
                run.resid[slot] = resid.clone()
            return resid

        def before(slot):
            def hook(_module, args, kwargs):
                run.layer_inputs.append({k: v for k, v in kwargs.items() if k != "hidden_states"})
                if args:
                    return (at(slot, args[0]), *args[1:]), kwargs
                return args, kwargs | {"hidden_states": at(slot, kwargs["hidden_states"])}

            return hook

        def after(_module, _args, out):
            if isinstance(out, tuple):
                return (at(self.n_layers, out[0]), *out[1:])
            return at(self.n_layers, out)

        layers = self.language_model.layers
        try:
            for slot, layer in enumerate(layers):
                handles.append(layer.register_forward_pre_hook(before(slot), with_kwargs=True))
            handles.append(layers[-1].register_forward_hook(after))
            run.logits = self.model(**x, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        finally:
            for handle in handles:
                handle.remove()
        return run

    def prefix(self, x: dict[str, Tensor]) -> Run:
        """A clean run with the residual at every slot, from which suffixes start."""
        return self.forward(x, slots=range(self.n_slots))

    @torch.no_grad()
    def suffix(
        self, run: Run, slot: int, resid: Float[Tensor, "n seq d_model"]
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the run continued from an edited residual at a slot.

        Equal to `forward` with the edit, without recomputing the layers below.
        """
        layers = list(self.language_model.layers)[slot:]
        for layer, kwargs in zip(layers, run.layer_inputs[slot:], strict=True):
            resid = layer(resid, **kwargs)
            resid = resid[0] if isinstance(resid, tuple) else resid
        final = self.language_model.norm(resid)[:, -1:]  # sliced as in a whole run: same bits
        return self.model.lm_head(final)[:, -1].float()

    # --- answers ---

    def answer_ids(self, word: str) -> list[int]:
        """Token ids of the spellings of a one-token answer (case, leading space).

        Raises ModelError if no spelling is a single token.
        """
        tokenizer, ids = self.processor.tokenizer, []
        for form in (word.lower(), word.capitalize()):
            for spelling in (form, " " + form):
                found = tokenizer(spelling, add_special_tokens=False)["input_ids"]
                if len(found) == 1 and found[0] != tokenizer.unk_token_id:
                    ids.append(found[0])
        if not ids:
            raise ModelError(f"{word!r} is not a single token of {self.name}; choose another word")
        return sorted(set(ids))

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
        return [self.processor.tokenizer.decode([i]).strip().lower() for i in best]

    def answer(self, images: list, questions: list[str], batch: int = 64) -> list[str]:
        """One word per image and question.

        images: PIL images of canvas size or an exact multiple; questions: as many strings.
        Raises ModelError for wrong sizes, unequal lengths or unknown words.
        """
        _check_lists(images, questions)
        out = []
        for i in range(0, len(images), batch):
            x = self.prepare(images[i : i + batch], questions[i : i + batch])
            out += self.decode(self.forward(x).logits)
        return out

    @torch.no_grad()
    def describe(self, images: list, questions: list[str], words: int = 12) -> list[str]:
        """Greedy answers of several words (captions, lists of names)."""
        x = self.prepare(images, questions)
        out = self.model.generate(**x, max_new_tokens=words, do_sample=False)
        out = out[:, x["input_ids"].shape[1] :]
        return self.processor.tokenizer.batch_decode(out, skip_special_tokens=True)


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


def load(
    name: str | Path = "mini", device: str = "auto", dtype: torch.dtype = torch.float32
) -> VLM:
    """Load a shipped model ("mini"), a local folder or a hub id.

    Raises ModelError, before any long work, for an unknown name, a damaged file or a model
    family that is not supported.  Never runs remote code; weights are safetensors only.
    """
    import transformers
    from safetensors import SafetensorError

    name, path = str(name), Path(name)
    if name in SHIPPED:
        path = data_dir() / name
        check_files(path)
    elif not path.is_dir() and name.count("/") != 1:
        raise ModelError(
            f"unknown model {name!r}: use one of {', '.join(SHIPPED)}, a folder with a "
            "Hugging Face checkpoint, or a hub id such as owner/name"
        )
    where = str(path) if path.is_dir() else name
    try:
        config = transformers.AutoConfig.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the configuration of {name!r}: {_one_line(error)}") from None
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"{name!r} is a {config.model_type!r} model; supported: {', '.join(FAMILIES)}"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with _quiet(enabled=name in SHIPPED):
            model = getattr(transformers, FAMILIES[config.model_type]).from_pretrained(
                where, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
            processor = transformers.AutoProcessor.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot load {name!r}: {_one_line(error)}") from None
    processor.tokenizer.padding_side = "left"  # so that the last position is the answer's
    model = model.to(device).eval().requires_grad_(False)
    px = config.vision_config.patch_size
    side = config.vision_config.image_size // px
    return VLM(name, model, processor, (side, side), px, path if path.is_dir() else None)
