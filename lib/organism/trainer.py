"""The stages of training, checkpointed: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from vlms.machine import check_device

from .captions import Captioner, caption_loss
from .images import KINDS, QUERIES, TINTS
from .model import GRID, SPECIAL, TOKENS, build_model, build_processor
from .recipe import STAGES, Recipe, rate
from .stream import Stream, as_tiles, from_tiles, normalise


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
        self.steps = recipe.steps[stage]
        self.processor = build_processor()
        self.tokenizer = self.processor.tokenizer
        self.model = build_model(len(self.tokenizer), recipe.seed, recipe.layers).to(device)
        torch.manual_seed(recipe.seed + 1)
        core = self.model.model
        if stage == "encoder":
            self.heads = Heads().to(device)
            self.trained = nn.ModuleDict({"tower": core.vision_tower, "heads": self.heads})
        elif stage == "caption":
            core.vision_tower.load_state_dict(load_file(out / "encoder.safetensors"))
            self.captioner = Captioner(len(self.tokenizer)).to(device)
            self.trained = nn.ModuleDict({"tower": core.vision_tower, "captioner": self.captioner})
        else:
            core.vision_tower.load_state_dict(load_file(out / f"{recipe.towers[-1]}.safetensors"))
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

    def caption_loss(self, batch, step):
        states = self.tower(normalise(batch["pixels"]))
        count = round(self.recipe.seen * TOKENS)
        if count < TOKENS:
            rng = np.random.RandomState([self.recipe.seed, step, STAGES["caption"] + 1])
            keep = np.stack([rng.permutation(TOKENS)[:count] for _ in range(len(states))])
            keep = torch.from_numpy(keep).to(self.device)
            states = states.gather(1, keep[..., None].expand(-1, -1, states.shape[-1]))
        return caption_loss(self.captioner, states, batch["ids"], self.tokenizer)

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
        text = batch["place"] + TOKENS + 1
        if self.recipe.gap:
            text = text + torch.from_numpy(rng.randint(0, self.recipe.gap + 1, (n, 1))).to(text)
        visual = self.model.model.multi_modal_projector(states)
        embed = self.model.get_input_embeddings()
        first = embed(torch.full((n, 1), SPECIAL.index("<s>"), device=self.device))
        x = torch.cat([first.to(visual.dtype), visual, embed(batch["ids"]).to(visual.dtype)], 1)
        place = torch.cat([torch.zeros(n, 1, dtype=torch.long, device=self.device), spots, text], 1)
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
            losses = {"encoder": self.encoder_loss, "caption": self.caption_loss}
            loss, stats = losses.get(self.stage, self.lm_loss)(batch, step)
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
    if told.exists() and Recipe(**json.loads(told.read_text())) != recipe:
        raise ValueError(f"{out} holds a run of another recipe; choose another folder")
    told.write_text(json.dumps(asdict(recipe), indent=1))
    for name in recipe.steps:
        if name != "refine" and (out / f"{name}.safetensors").exists():
            continue
        stage = Trainer(recipe, name, out, device, compiled)
        stage.run()
        if name != "refine":
            tower = stage.model.model.vision_tower
            keep(tower if name in recipe.towers else stage.trained, out / f"{name}.safetensors")
    made = {
        "versions": {p: metadata.version(p) for p in ("torch", "transformers", "numpy")},
        "device": f"{device}, {torch.get_num_threads()} threads",
    }
    (out / "made.json").write_text(json.dumps(made, indent=1))
    return written(stage, out / "model")


def snapshot(out: Path) -> Path:
    """Write a run amid stage 2 as a checkpoint folder, to be measured.  Returns its path."""
    recipe = Recipe(**json.loads((out / "recipe.json").read_text()))
    stage = Trainer(recipe, "lm", out, "cpu", compiled=False)
    return written(stage, out / f"lm-{stage.start}")


def written(stage: Trainer, folder: Path) -> Path:
    """A stage's model as a checkpoint folder."""
    stage.model.save_pretrained(folder)
    stage.processor.save_pretrained(folder)
    return folder
