"""The page on running the book: what it says of models and GPUs is what the library does."""

from pathlib import Path

from vlms import machine
from vlms.families import FAMILIES, HUB

PAGE = (Path(__file__).parents[1] / "chapters" / "running.md").read_text()
GPUS = {"T4": (15, (7, 5)), "L4": (22.5, (8, 9)), "A100": (40, (8, 0))}  # GiB, capability


def way(model: str, gib: float, capability: tuple) -> str:
    """The precision that `dm.load` takes; in quotes one to ask for, if that does not fit."""
    weights, free = round(4e9 * HUB[model][1]), round(gib * machine.GIB)
    chosen = machine.precision(weights, free, capability)
    if machine.SPARE * weights / (1 if chosen == "float32" else 2) <= free:
        return chosen
    family = next(f for f in FAMILIES.values() if f.name.split()[0].lower() in model.lower())
    half = "float16" in family.precisions and machine.SPARE * weights / 2 <= free
    return '`"float16"`' if half else '`"4bit"`'


def test_the_table_says_which_model_fits_on_which_gpu():
    heads = " | ".join(f"{gpu}, {gib:g} GiB" for gpu, (gib, _) in GPUS.items())
    lines = [f"| model | billions | {heads} |", "|---|---|---|---|---|"]
    for model, (_, billions, *_) in HUB.items():
        ways = " | ".join(way(model, *gpu) for gpu in GPUS.values())
        lines.append(f"| {model} | {billions:g} | {ways} |")
    assert "\n".join(lines) + "\n\n" in PAGE
