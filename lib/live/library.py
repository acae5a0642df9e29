"""What this package takes from dualmech: the one place to change when something moves there."""

from dualmech import load, paper
from dualmech.interventions import amplified, matched_null, ordering_removed
from dualmech.models import VLM, ModelError
from dualmech.probes import fit
from dualmech.regions import swap
from dualmech.report import item_rows, ordering_directions, probe_data
from dualmech.stimuli import (
    DIRECTIONS,
    HARD,
    TASKS,
    Item,
    Trial,
    draw,
    question_for,
    scene_trials,
    sprite,
    task_items,
    trial,
    trials,
)

__all__ = [
    "DIRECTIONS", "HARD", "TASKS", "VLM", "Item", "ModelError", "Trial",
    "amplified", "draw", "fit", "item_rows", "load", "matched_null", "ordering_directions",
    "ordering_removed", "paper", "probe_data", "question_for", "scene_trials", "sprite",
    "swap", "task_items", "trial", "trials",
]  # fmt: skip
