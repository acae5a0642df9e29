"""What this package takes from the library: the one place to change when something moves there."""

from dualmech import load, paper
from dualmech.drawing import Item
from dualmech.edits import ordering_removed
from dualmech.probes import (
    amplified,
    fit,
    item_rows,
    matched_null,
    ordering_directions,
    probe_data,
)
from dualmech.regions import swap
from dualmech.scenes import HARD, scene_trials
from dualmech.stimuli import (
    DIRECTIONS,
    TASKS,
    Trial,
    draw,
    question_for,
    task_items,
    trial,
    trials,
)
from vlms.families import ModelError
from vlms.model import VLM

__all__ = [
    "DIRECTIONS", "HARD", "TASKS", "VLM", "Item", "ModelError", "Trial",
    "amplified", "draw", "fit", "item_rows", "load", "matched_null", "ordering_directions",
    "ordering_removed", "paper", "probe_data", "question_for", "scene_trials", "swap",
    "task_items", "trial", "trials",
]  # fmt: skip
