"""What this package takes from dualmech: the one place to change when something moves there."""

from dualmech import load, paper
from dualmech.interventions import amplified, matched_null, ordering_removed
from dualmech.models import VLM, ModelError
from dualmech.probes import fit
from dualmech.regions import swap
from dualmech.report import item_rows, ordering_directions, probe_data
from dualmech.stimuli import (
    COLOURS,
    DIRECTIONS,
    HARD,
    MINI,
    TASKS,
    Geometry,
    Item,
    Pair,
    Trial,
    draw,
    question_for,
    row_of,
    scene_trials,
    sprite,
    swap_pairs,
    task_items,
    trial,
    trials,
)

__all__ = [
    "COLOURS", "DIRECTIONS", "HARD", "MINI", "TASKS", "VLM", "Geometry", "Item", "ModelError", "Pair",
    "Trial", "amplified", "draw", "fit", "item_rows", "load", "matched_null", "ordering_directions",
    "ordering_removed", "paper", "probe_data", "question_for", "row_of", "scene_trials", "sprite",
    "swap", "swap_pairs", "task_items", "trial", "trials",
]  # fmt: skip
