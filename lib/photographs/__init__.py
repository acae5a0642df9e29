"""Photographs with questions about two things: What'sUp and COCO-spatial (chapter 11).

A folder holds the public files under their public names:

- What'sUp A: ``controlled_images_dataset.json`` and ``controlled_images/``; B:
  ``controlled_clevr_dataset.json`` and ``controlled_clevr/``.  An entry is {"image_path":
  ".../beer-bottle_left_of_armchair.jpeg", "caption_options": [...]}, the right caption first.
- COCO-spatial: ``coco_qa_two_obj.json`` and ``val2017/``, and for the boxes
  ``annotations/instances_val2017.json``.  An entry is [image id, right caption, wrong caption],
  for example "A photo of a toilet below a sink".

`download` fetches them; `drawn_whatsup` and `drawn_coco` draw a stand-in in the same format.  The
sums of COCO's archives are known; the publishers of What'sUp give none, not for their questions
about COCO either, and `download` says so.  So every file is read once when it is first used, its
SHA-256 sum is kept in ``SHA256SUMS`` beside the data, and later uses compare (``sha256sum -c`` does
too), those after another download as well.

Sources: formats and addresses from https://github.com/amitakamath/whatsup_vlms (README.md and
dataset_zoo/aro_datasets.py; Kamath et al. 2023, arXiv 2310.19785) and https://cocodataset.org;
composites, prompts and the two-order score from the paper's released code
(shared/whatsup.py, behavioral_analysis/src/tasks/whatsup.py, coco_amplification/src).
"""

from .drawn import drawn_coco, drawn_whatsup
from .files import SUMS, DataError
from .load import coco_spatial, composites, one_token, whatsup
from .questions import Question, by_order, grouped, strict, trials, two_orders
from .web import download, fetch

__all__ = [
    "SUMS", "DataError", "Question", "by_order", "coco_spatial", "composites", "download",
    "drawn_coco", "drawn_whatsup", "fetch", "grouped", "one_token", "strict", "trials",
    "two_orders", "whatsup",
]  # fmt: skip
