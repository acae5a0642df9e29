"""Time the library's sweeps against other ways to make them: `make bench`.

Every way does the same experiments on the same items of the shipped model, in one process, in
turns; its answers are compared with this library's.  The ways (a) to (e) need one primitive each:
a pass of the whole model with edits at some slots, which also returns residuals.  Writes
data/bench/DEVICE.json, which the page "Why the sweeps are fast" shows.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import tempfile
import time
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

import dualmech as dm
from dualmech import edits as E
from dualmech import stimuli as S

from . import tiny

ROOT = Path(__file__).parents[2]
REGIONS = ("object", "strip", "background", "random")
ALPHAS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


# --- other ways to run a model with edits: run(x, edits, keep) -> (logits, {slot: residual}) ------


def torch_hooks(vlm):
    """(d) forward hooks on the Hugging Face layers."""

    def run(x, edits=(), keep=()):
        kept, handles, layers = {}, [], vlm.language_model.layers

        def at(slot, resid):
            for _, fn in (edit for edit in edits if edit[0] == slot):
                resid = fn(resid)
            if slot in keep:
                kept[slot] = resid.clone()
            return resid

        for slot, layer in enumerate(layers):
            hook = lambda _m, args, slot=slot: (at(slot, args[0]), *args[1:])  # noqa: E731
            handles.append(layer.register_forward_pre_hook(hook))
        last = lambda _m, _args, out: at(len(layers), out)  # noqa: E731
        handles.append(layers[-1].register_forward_hook(last))
        try:
            logits = vlm.model(**x, use_cache=False, logits_to_keep=1).logits[:, -1]
        finally:
            for handle in handles:
                handle.remove()
        return logits, kept

    return run


def _point(vlm, slot: int) -> str:
    """TransformerLens' name of a slot."""
    last = slot == vlm.n_layers
    return f"blocks.{slot - 1}.hook_out" if last else f"blocks.{slot}.hook_in"


def _lens_hooks(vlm, edits, keep, kept):
    def apply(resid, hook, fn):
        return fn(resid)

    def note(resid, hook, slot):
        kept[slot] = resid.clone()

    hooks = [(_point(vlm, slot), partial(apply, fn=fn)) for slot, fn in edits]
    return hooks + [(_point(vlm, slot), partial(note, slot=slot)) for slot in keep]


def lens(vlm):
    """(a), (b) TransformerLens' `run_with_hooks`."""

    def run(x, edits=(), keep=()):
        kept, rest = {}, {k: v for k, v in x.items() if k != "input_ids"}
        logits = vlm.bridge.run_with_hooks(
            x["input_ids"], fwd_hooks=_lens_hooks(vlm, edits, keep, kept), use_cache=False,
            logits_to_keep=1, **rest,
        )  # fmt: skip
        return logits[:, -1], kept

    return run


def nnsight_trace(vlm):
    """(c) nnsight's traces."""
    from nnsight import NNsight

    traced = NNsight(vlm.model)

    def run(x, edits=(), keep=()):
        layers = traced.model.language_model.layers
        by_slot = {slot: [fn for s, fn in edits if s == slot] for slot, _ in edits}
        kept = {}
        with traced.trace(**x, use_cache=False, logits_to_keep=1):
            for slot in sorted({*by_slot, *keep}):
                point = layers[min(slot, vlm.n_layers - 1)]
                last = slot == vlm.n_layers
                resid = point.output if last else point.input
                for fn in by_slot.get(slot, ()):
                    resid = fn(resid)
                if slot in by_slot and last:
                    point.output = resid
                elif slot in by_slot:
                    point.input = resid
                if slot in keep:
                    kept[slot] = resid.clone().save()
            logits = traced.output.logits.save()
        return logits[:, -1], kept

    return run


def start_at_layer(vlm):
    """(e) TransformerLens' `start_at_layer` on kept residuals; right for LLaVA without padding."""
    whole = lens(vlm)
    begun: dict = {}

    def run(x, edits=(), keep=()):
        if keep:
            return whole(x, edits, keep)
        *first, (slot, fn) = edits
        if begun.get("x") is not x:  # one pass keeps what every later one starts from
            begun.update(x=x, resid=whole(x, first, range(vlm.n_slots))[1])
        resid = fn(begun["resid"][slot])
        if slot == vlm.n_layers:
            last = vlm.language_model.norm(resid[:, -1])
            return vlm.model.get_output_embeddings()(last), {}
        return vlm.bridge(resid, start_at_layer=slot, use_cache=False)[:, -1], {}

    return run


# --- the experiments, for any such way ------------------------------------------------------------


def last_token(run, vlm, pairs, begin=0):
    """(slots, n, 3) target probabilities."""
    clean, other = (E.inputs(vlm, t) for t in _both(pairs))
    slots, words = range(vlm.n_slots), [list(p.targets.values()) for p in pairs]
    theirs, found = run(other, keep=slots)[1], []
    for slot in slots:

        def put(resid, slot=slot):
            resid = resid.clone()
            resid[:, -1] = theirs[slot][:, -1]
            return resid

        found.append(vlm.probabilities(run(clean, [(slot, put)])[0], words))
    return np.stack(found)


def region_swap(run, vlm, pairs, begin=0, regions=REGIONS, visual=None):
    """(regions, slots, n, 2) target probabilities; begin: the seed of the first pair."""
    clean, other = (E.inputs(vlm, t) for t in _both(pairs))
    at, slots = vlm.positions(clean), range(vlm.n_slots)
    words, first = [list(p.targets.values()) for p in pairs], [[], []]
    if visual is not None:
        first = [[(0, _put(at, visual(vlm, t)))] for t in _both(pairs)]
    theirs, found = run(other, first[1], slots)[1], []
    for region in regions:
        moves = [
            dm.regions.swap(region, p.clean.stimulus, vlm.grid, E.VERTICAL[p.clean.direction], k)
            for k, p in enumerate(pairs, begin)
        ]
        row = torch.tensor([k for k, m in enumerate(moves) for _ in m.target])
        to, of = (
            torch.cat([at[k, torch.as_tensor(side[k])] for k in range(len(pairs))])
            for side in zip(*[(m.target, m.source) for m in moves], strict=True)
        )
        for slot in slots:

            def swap(resid, slot=slot, row=row, to=to, of=of):
                resid = resid.clone()
                resid[row, to] = theirs[slot][row, of]
                return resid

            logits = run(clean, [*first[0], (slot, swap)])[0]
            found.append(vlm.probabilities(logits, words))
    return np.stack(found).reshape(len(regions), len(slots), len(pairs), 2)


def ablation(run, vlm, pairs, begin=0):
    """(1, slots, n, 2): the object swap where the encoder's ordering is removed."""
    return region_swap(run, vlm, pairs, begin, ["object"], E.ordering_removed)


def amplification(run, vlm, pairs, begin=0):
    """(alphas, n) answers."""
    x, found = E.inputs(vlm, [p.clean for p in pairs]), []
    at = vlm.positions(x)
    row = torch.arange(len(at), device=at.device)[:, None]
    for alpha in ALPHAS:

        def louder(resid, alpha=alpha):
            states = dm.probes.amplified(resid[row, at], _directions(vlm), alpha)
            return _put(at, states)(resid)

        found.append(vlm.decode(run(x, [(0, louder)])[0]))
    return np.array(found)


def _put(at, states):
    """An edit that writes visual tokens."""

    def edit(resid):
        resid = resid.clone()
        resid[torch.arange(len(at), device=at.device)[:, None], at] = states.to(resid)
        return resid

    return edit


def _both(pairs):
    return [p.clean for p in pairs], [p.counterfactual for p in pairs]


def _directions(vlm):
    return torch.randn(2, vlm.d_model, generator=torch.Generator().manual_seed(0))


EXPERIMENTS = {
    "last-token patching": last_token, "region swaps": region_swap,
    "ordering removed, then a swap": ablation, "amplification curve": amplification,
}  # fmt: skip


def items(name, n):
    """The pairs of an experiment."""
    kind = S.last_token_pairs if name == "last-token patching" else S.swap_pairs
    return kind("squares", "left", n, seed=0)


@contextmanager
def empty_store():
    """No result of the library is at hand, and none is left behind."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, DUALMECH_CACHE=folder),
    ):
        yield


@empty_store()
def ours(name, vlm, pairs):
    """(f) this library."""
    visual, edits = None, {region: E.swap(region) for region in REGIONS}
    if name == "last-token patching":
        return E.sweep(vlm, pairs, E.last_token).p
    if name == "amplification curve":
        edits = {f"alpha {a:g}": E.amplify(_directions(vlm), a) for a in ALPHAS}
        found = E.sweep(vlm, [p.clean for p in pairs], edits, [0])
        return np.array([one.said[0] for one in found.values()])
    if name == "ordering removed, then a swap":
        visual, edits = E.ordering_removed, {"object": E.swap("object")}
    found = E.sweep(vlm, pairs, edits, visual=visual)
    return np.array([one.p for one in found.values()])


# --- the floor ------------------------------------------------------------------------------------


@torch.no_grad()
def floor(name, vlm, batch, pairs):
    """The passes that cannot be avoided, with nothing read and no edit: inputs, encoder, and the
    same layers called one after the other on states that are at hand."""
    for i in range(0, len(pairs), batch):
        _floor(name, vlm, pairs[i : i + batch])


def _floor(name, vlm, pairs):
    clean, other = _both(pairs)
    visual = None
    if name == "ordering removed, then a swap":
        visual = E.ordering_removed(vlm, clean)  # a few reference images stand in for all others
    run = vlm.start(E.inputs(vlm, clean), visual)
    run.finish(run.resid, 0)
    if name == "amplification curve":
        starts, calls = [0], len(ALPHAS) - 1
    else:
        other = vlm.start(E.inputs(vlm, other), visual)
        other.finish(other.resid, 0)
        starts = range(vlm.n_layers)
        calls = {"region swaps": len(REGIONS), "last-token patching": 0}.get(name, 1)
    for start in list(starts) * calls:
        run.finish(run.resid, start)


def matrix_rate(device, dtype=torch.float32, size: int = 2048) -> float:
    """Floating-point operations a second of a large product of matrices."""
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    return 2 * size**3 / _best(lambda: a @ b, device, 7)


def _best(call, device, times: int = 3) -> float:
    """The shortest of some times, in seconds."""
    return min(_seconds(call, device)[0] for _ in range(times))


def _seconds(call, device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    out = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, out


# --- what is measured -----------------------------------------------------------------------------


def compare(vlm, n: int, times: int) -> tuple[list[dict], list[dict]]:
    """Rows of each way's seconds and difference from this library's result; rows of the floors."""
    batch = dm.machine.batch_size(vlm)  # the same for all: one that is quick on this machine
    with torch.no_grad():
        ways = {
            "a": (lens(vlm), 1), "b": (lens(vlm), batch), "c": (nnsight_trace(vlm), batch),
            "d": (torch_hooks(vlm), batch), "e": (start_at_layer(vlm), batch),
        }  # fmt: skip
        rows, floors = [], []
        for name, experiment in EXPERIMENTS.items():
            pairs = items(name, n)

            def another(way, pairs, experiment=experiment):
                run, size = ways[way]
                axis = 1 if experiment in (last_token, amplification) else 2
                starts = range(0, len(pairs), size)
                parts = [experiment(run, vlm, pairs[i : i + size], i) for i in starts]
                return np.concatenate(parts, axis)

            calls = {way: partial(another, way) for way in ways}
            calls["f"] = partial(ours, name, vlm)
            calls["floor"] = partial(floor, name, vlm, batch)
            for call in calls.values():
                call(pairs[:2])  # to warm up
            seconds, results = {way: [] for way in calls}, {}
            for turn in tqdm(range(times), desc=name):
                for way, call in calls.items():
                    if way != "a" or turn == 0:  # the slowest way takes its turn once
                        took, results[way] = _seconds(partial(call, pairs), vlm.device)
                        seconds[way].append(took)
            with FlopCounterMode(display=False) as counter:
                floor(name, vlm, batch, pairs)
            best = {way: min(s) for way, s in seconds.items()}
            for way in [*ways, "f"]:
                rows.append({
                    "experiment": name, "way": way, "seconds": best[way], "n": n,
                    "ratio": best[way] / best["f"],
                    "difference": _difference(results[way], results["f"]),
                })  # fmt: skip
            floors.append({
                "experiment": name, "seconds": best["floor"],
                "ratio": best["f"] / best["floor"], "operations": counter.get_total_flops(),
            })  # fmt: skip
    return rows, floors


def _difference(found, wanted) -> float:
    """Largest difference of probabilities, or the share of other answers."""
    if found.dtype.kind == "U":
        return float((found != wanted).mean())
    return float(abs(found - wanted).max())


def memory(vlm, n: int) -> list[dict]:
    """Peak memory of each sweep, in parts of what one plain pass of its batch takes."""
    batch = dm.machine.batch_size(vlm)

    def plain():
        vlm.logits(E.inputs(vlm, [p.clean for p in S.swap_pairs("squares", "left", batch)]))

    rows = [{"what": "one plain batch", "bytes": _peak(plain, vlm.device)}]
    for name in EXPERIMENTS:
        used = _peak(partial(ours, name, vlm, items(name, n)), vlm.device)
        rows.append({"what": name, "bytes": used, "ratio": used / rows[0]["bytes"]})
    return rows


def _peak(call, device) -> int:
    """Bytes in use at most during a call, above those in use before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed goes back to the system
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = psutil.Process().memory_info().rss
    call()
    peak = next(
        row for row in Path("/proc/self/status").read_text().splitlines() if row[:6] == "VmHWM:"
    )
    return int(peak.split()[1]) * 1024 - before


def scaling(vlm, n: int) -> dict[str, list[dict]]:
    """Seconds an item of a strip swap, as items, slots, layers and visual tokens grow."""

    def per_item(model, pairs, slots=None):
        call = empty_store()(partial(E.sweep, model, pairs, E.swap("strip"), slots))
        return _best(call, model.device, 2) / len(pairs)

    pairs = S.swap_pairs("objects", "left", max(n, 128), seed=0)
    out = {"items": [], "slots": [], "layers": [], "tokens": []}
    for items in (1, 2, 4, 8, 16, 32, 64, 128):
        out["items"].append({"at": items, "seconds": per_item(vlm, pairs[:items])})
    for count in (1, 3, 5, 7, 9):
        out["slots"].append({"at": count, "seconds": per_item(vlm, pairs[:n], range(count))})
    for layers in (2, 4, 8, 16):
        model = resized(vlm, layers=layers)
        out["layers"].append({"at": layers, "seconds": per_item(model, pairs[:n])})
    for grid in (6, 12, 18, 24, 36):
        model, few = resized(vlm, grid=grid), max(1, n // 8)
        some = S.swap_pairs("squares", "left", few, seed=0, geometry=model.geometry)
        row = {"at": grid**2, "seconds": per_item(model, some)}
        row["bytes"] = _peak(partial(per_item, model, some), vlm.device) / few
        out["tokens"].append(row)
    return out


def resized(vlm, layers: int | None = None, grid: int | None = None):
    """The shipped model with another depth or image, and random weights: a cost, not a finding."""
    config, images = deepcopy(vlm.model.config), deepcopy(vlm.image_processor)
    config.text_config.num_hidden_layers = layers or vlm.n_layers
    grid = grid or vlm.grid[0]
    side = grid * vlm.px
    config.vision_config.image_size, config.image_seq_length = side, grid**2
    config.text_config.max_position_embeddings = 4096
    images.size = {"height": side, "width": side}
    torch.manual_seed(0)
    model = type(vlm.model)._from_config(config).to(vlm.device).eval().requires_grad_(False)
    return replace(vlm, model=model, image_processor=images, grid=(grid, grid))


def precision() -> list[dict]:
    """Largest change of an edited run's logits in half precision, by family, on tiny models."""
    rows = []
    for family in tqdm(tiny.FAMILIES, desc="precision"):
        with tempfile.TemporaryDirectory() as folder:
            path = tiny.save(family, Path(folder))
            exact = edited_logits(dm.load(path, "cpu"))
            for half in dm.families.FAMILIES[family].precisions:
                if half in ("bfloat16", "float16"):
                    found = edited_logits(dm.load(path, "cpu", half))
                    gap = ((found - exact).abs().amax(-1) / exact.std(-1)).max()
                    rows.append({"family": family, "precision": half, "difference": float(gap)})
    return rows


def edited_logits(vlm):
    """(slots, vocab) logits after the last token is pushed at each slot."""
    noise = np.random.RandomState(0).randint(0, 256, (1, *vlm.canvas, 3)).astype(np.uint8)
    run = vlm.start(vlm.prepare(list(noise), ["The color is "]))
    push = torch.randn(vlm.d_model, generator=torch.Generator().manual_seed(0))
    seq, fan = run.resid.shape[1], dm.runs.fan_out(run, vlm.n_slots)
    for slot, resid in fan.walk():
        resid[:, seq + slot] += push.to(resid)
    return fan.finish(resid, slot)[0]


def machine(device) -> dict:
    """What the times were taken on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [row for row in info.read_text().splitlines() if row.startswith("model name")]
        name = named[0].split(":")[1].strip() if named else name
    told = {
        "cpu": name, "cores": len(psutil.Process().cpu_affinity()),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(), "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    if device.type == "cuda":
        told["gpu"] = torch.cuda.get_device_name()
    packages = ("torch", "transformers", "transformer-lens", "nnsight")
    return told | {package: metadata.version(package) for package in packages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    vlm = dm.load("mini", options.device)
    used = memory(vlm, options.items)
    rows, floors = compare(vlm, options.items, options.times)
    rate = matrix_rate(vlm.device)
    for row in floors:
        row["arithmetic_seconds"] = row["operations"] / rate
    out = {
        "machine": machine(vlm.device), "matrix_rate": rate, "n": options.items,
        "batch": dm.machine.batch_size(vlm),
        "alphas": len(ALPHAS), "rows": rows, "floors": floors, "memory": used,
        "scaling": scaling(vlm, options.items), "precision": precision(),
    }  # fmt: skip
    path = ROOT / "data" / "bench" / f"{vlm.device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, indent=1) + "\n")
    for row in rows:
        print(f"{row['experiment']:32} ({row['way']}) {row['seconds']:8.2f} s "
              f"{row['ratio']:6.1f} x (f), difference {row['difference']:.1e}")  # fmt: skip
    for row in floors:
        print(f"{row['experiment']:32} (f) is {row['ratio']:.2f} x its floor")
    print("wrote", path)


if __name__ == "__main__":
    main()
