"""Photographs with questions about two things: What'sUp and COCO-spatial, from a local folder.

A folder holds the public files under their public names:

- What'sUp A: ``controlled_images_dataset.json`` and ``controlled_images/``; B:
  ``controlled_clevr_dataset.json`` and ``controlled_clevr/``.  An entry is {"image_path":
  ".../beer-bottle_left_of_armchair.jpeg", "caption_options": [...]}, the right caption first.
- COCO-spatial: ``coco_qa_two_obj.json`` and ``val2017/``, and for the boxes
  ``annotations/instances_val2017.json``.  An entry is [image id, right caption, wrong caption],
  for example "A photo of a toilet below a sink".

`download` fetches them; `drawn_whatsup` and `drawn_coco` draw a stand-in in the same format.  The
publishers give no checksums.  So every file is read once when it is first used, its SHA-256 sum
is kept in ``SHA256SUMS`` beside the data, and later uses compare (``sha256sum -c`` does too).

Sources: formats and addresses from https://github.com/amitakamath/whatsup_vlms (README.md and
dataset_zoo/aro_datasets.py; Kamath et al. 2023, arXiv 2310.19785) and https://cocodataset.org;
composites, prompts and the two-order score from the paper's released code
(shared/whatsup.py, behavioral_analysis/src/tasks/whatsup.py, coco_amplification/src).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from . import stimuli as S

SUMS = "SHA256SUMS"
PAGE = "https://github.com/amitakamath/whatsup_vlms"
SUBSETS = {
    "A": ("controlled_images_dataset.json", "controlled_images"),
    "B": ("controlled_clevr_dataset.json", "controlled_clevr"),
}
COCO = ("coco_qa_two_obj.json", "val2017", "annotations/instances_val2017.json")
OPTIONS = (("left", "right"), ("above", "below"), ("on", "under"), ("front", "behind"))
PHRASES = S.PHRASES | {"on": "on", "under": "under", "front": "in front of", "behind": "behind"}
PADDING = (127, 127, 127)


class DataError(ValueError):
    """A file that is missing, truncated or mislabelled; the message says which and what to do."""


@dataclass(frozen=True)
class Question:
    """What relation two things in a picture have, or which thing stands in that relation.

    files: the picture, or two pictures of which the left half of the first and the right half of
    the second are shown; subject stands in `relation` to `other`; options: the two words to
    choose from; boxes: of subject and other as (left, top, right, bottom) in pixels of the file,
    empty if not known; group: pictures of the same two things (What'sUp), of the same composite
    or the same photograph (COCO-spatial).
    """

    files: tuple[Path, ...]
    subject: str
    other: str
    relation: str
    options: tuple[str, str]
    answer: str
    group: str
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    def image(self, canvas: tuple[int, int]) -> Image.Image:
        """The picture on a canvas (height, width): one file padded to it, or two halves joined.

        Halves are resized to the canvas without padding, as in the released code, and meet in
        the middle: on an edge of the token grid if the grid has an even number of columns.
        """
        high, wide = canvas
        if len(self.files) == 1:
            return ImageOps.pad(_open(self.files[0]), (wide, high), color=PADDING)
        first, second = (
            _open(path).resize((wide, high), Image.Resampling.BILINEAR) for path in self.files
        )
        first.paste(second.crop((wide // 2, 0, wide, high)), (wide // 2, 0))
        return first

    def boxes_on(self, canvas: tuple[int, int]) -> np.ndarray:
        """int (0 or 2, 4): the boxes in pixels of the padded picture, rounded outward."""
        if not self.boxes:
            return np.zeros((0, 4), int)
        (high, wide), (w, h) = canvas, _open(self.files[0]).size
        if w * high > wide * h:  # the sizes that ImageOps.pad gives the picture in the canvas
            size = np.array([wide, round(h / w * wide)])
        else:
            size = np.array([round(w / h * high), high])
        scale, start = size / (w, h), np.round((np.array([wide, high]) - size) * 0.5)
        corners = np.array(self.boxes).reshape(2, 2, 2) * scale + start
        inside = np.clip(corners, 0, (wide, high))
        return np.concatenate([np.floor(inside[:, 0]), np.ceil(inside[:, 1])], 1).astype(int)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except OSError as error:
        raise DataError(
            f"{path} is missing, truncated or not a picture ({error}): {_again(path)}"
        ) from None


def _again(path: Path) -> str:
    coco = "2017" in f"{path.parent.name}/{path.name}"
    page = "https://cocodataset.org/#download" if coco else PAGE
    return f"get it again with `dm.datasets.download` or from {page}"


# --- what a model is asked -------------------------------------------------------------


def two_orders(question: Question, form: str = "direct") -> tuple[str, str]:
    """The question with its options in both orders.

    form: "direct", "Is the cup to the left or to the right of the pan?", as the authors ask Gemma;
    "reference", "Using the pan as the reference point, which side is the cup on?", as they ask
    Qwen and Pixtral (left, right, above and below only).
    """
    return tuple(
        _text(question, order, form) for order in (question.options, question.options[::-1])
    )


def _text(question: Question, options: tuple[str, str], form: str) -> str:
    subject, other = question.subject, question.other
    if form == "direct":
        return S.two_option_question(subject, other, *(PHRASES[word] for word in options))
    if form != "reference" or options[0] not in S.PHRASES:
        raise ValueError(f"no question of form {form!r} for the options {options}")
    where = "which side is the {} on" if "left" in options else "where is the {} located"
    words = f"Answer with one word: {options[0]} or {options[1]}."
    return f"Using the {other} as the reference point, {where.format(subject)}? {words}"


def trials(
    questions: list[Question], canvas: tuple[int, int], form: str = "direct"
) -> list[S.Trial]:
    """Trials for `interventions`, on a canvas (height, width).

    A question about a relation gives two, its two orders, one after the other; a composite gives
    one, the paper's "The object on the floor to the left of the pot is a(n) ".
    """
    out = []
    for q in questions:
        pixels, boxes = np.asarray(q.image(canvas)), q.boxes_on(canvas)
        stimulus = S.Stimulus(pixels, (), boxes, None)
        if len(q.files) == 2:
            texts = [f"The object on the floor {PHRASES[q.relation]} the {q.other} is a(n) "]
        else:
            texts = two_orders(q, form)
        out += [S.Trial(stimulus, text, q.answer, q.relation, "photographs") for text in texts]
    return out


def by_order(trials: list[S.Trial], answers: list[str]) -> Bool[np.ndarray, "n 2"]:
    """Is each question right with its options in the first order, and in the second?

    trials: as `trials` gives them for questions about relations; answers: one word each.
    """
    if len(trials) != len(answers) or len(trials) % 2:
        raise ValueError(f"{len(answers)} answers to {len(trials)} trials, two for each question")
    return np.array([a == t.answer for a, t in zip(answers, trials, strict=True)]).reshape(-1, 2)


def strict(trials: list[S.Trial], answers: list[str]) -> Bool[np.ndarray, " n"]:
    """Is each question right in both orders of its options?  Arguments: see `by_order`."""
    return by_order(trials, answers).all(1)


def grouped(questions: list[Question], right) -> dict[str, bool]:
    """For each group of questions, are all of them right?  right (n,), for example `strict`'s."""
    found = {}
    for q, ok in zip(questions, right, strict=True):
        found[q.group] = found.get(q.group, True) and bool(ok)
    return found


# --- loading ---------------------------------------------------------------------------


def _check(folder: Path, names: Iterable[str]) -> None:
    """Compare files with the sums of their first use; look at a new one and keep its sum."""
    listing, known = folder / SUMS, {}
    if listing.exists():
        known = {line[66:]: line[:64] for line in listing.read_text().splitlines()}
    new = {}
    for name in tqdm(sorted(set(names)), desc="checking files", delay=2, leave=False):
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing: {_again(path)}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if name in known and digest != known[name]:
            raise DataError(
                f"{path} is not the file that was first used here (see {listing}): {_again(path)}, "
                "or delete its line in that list if you replaced it on purpose"
            )
        if name not in known:
            _json(path) if path.suffix == ".json" else _open(path)
            new[name] = digest
    try:
        if new:
            with listing.open("a") as file:
                file.writelines(f"{digest}  {name}\n" for name, digest in new.items())
    except OSError:
        warnings.warn(f"{folder} cannot be written to: no sums are kept there", stacklevel=3)


def _json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is truncated or not JSON ({error}): {_again(path)}") from None


def _listed(folder: Path, name: str) -> list:
    """The entries of a list of questions, after its check."""
    _check(folder, [name])
    entries = _json(folder / name)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{folder / name} holds no list of questions: {_again(folder / name)}")
    return entries


def _mislabelled(path: Path, k: int, entry, why: str) -> DataError:
    return DataError(f"{path}, entry {k}: {why}, in {str(entry)[:150]}: {_again(path)}")


NAME = re.compile(r"([^_/]+)_(left_of|right_of|on|under|in-front_of|behind)_([^_/]+)\.\w+$")
RELATIONS = {"left_of": "left", "right_of": "right", "in-front_of": "front"}


def whatsup(folder: Path | str, subset: str = "A") -> list[Question]:
    """The What'sUp questions of subset "A" (photographs) or "B" (rendered scenes).

    Raises DataError for a file that is missing, truncated or not the one of the first use, and
    for a caption that contradicts its file's name.
    """
    folder, found = Path(folder).expanduser(), []
    if subset not in SUBSETS:
        raise ValueError(f"subset is 'A' or 'B', not {subset!r}")
    listing, pictures = SUBSETS[subset]
    entries = _listed(folder, listing)
    for k, entry in enumerate(entries):
        try:
            name, caption = Path(entry["image_path"]).name, entry["caption_options"][0]
            subject, relation, other = NAME.match(name).groups()
        except (TypeError, KeyError, IndexError, AttributeError):
            why = "no image_path <thing>_<relation>_<thing>.jpeg with caption_options"
            raise _mislabelled(folder / listing, k, entry, why) from None
        relation = RELATIONS.get(relation, relation)
        if {word for pair in OPTIONS for word in pair} & set(caption.split()) != {relation}:
            why = "the first caption does not say what the file's name says"
            raise _mislabelled(folder / listing, k, entry, why)
        options = next(pair for pair in OPTIONS if relation in pair)
        subject, other = subject.replace("-", " "), other.replace("-", " ")
        file = folder / pictures / name
        group = f"{subject}, {other}, {options[0]} or {options[1]}"
        found.append(Question((file,), subject, other, relation, options, relation, group))
    _check(folder, [f"{pictures}/{q.files[0].name}" for q in found])
    return found


def composites(
    folder: Path | str, fits: Callable[[str], bool] = lambda name: True
) -> list[Question]:
    """The paper's three-object questions, joined from What'sUp A (paper Table 1).

    Two things and the reference between them: for every ordered pair of things that were
    photographed on both sides of a reference, which one is to the left, and which to the right?
    fits(name): keep a thing?  The authors keep names of one token.  Raises DataError as `whatsup`.
    """
    sides, found = {}, []
    for q in whatsup(folder):
        if q.relation in ("left", "right") and fits(q.subject):
            sides.setdefault(q.other, {}).setdefault(q.subject, {})[q.relation] = q.files[0]
    for other, things in sides.items():
        both = [thing for thing, files in things.items() if len(files) == 2]
        for first, last in permutations(both, 2):
            files = (things[first]["left"], things[last]["right"])
            group = f"{first}, {other}, {last}"
            for relation, subject in (("left", first), ("right", last)):
                options = (first, last)
                found.append(Question(files, subject, other, relation, options, subject, group))
    if not found:
        raise DataError(f"{folder}: no two things that fit were photographed on both sides")
    return found


CAPTION = re.compile(
    r"A photo of (?:an?|the) (.+?) "
    r"(?:to the (left|right) of|(above|below)(?: of)?) (?:an?|the) (.+)$"
)


def coco_spatial(folder: Path | str) -> list[Question]:
    """The two-object questions of COCO-spatial (440 in the public file), with boxes if known.

    A thing's box is its largest one in the photograph, as in the released code; the questions
    have none if ``annotations/instances_val2017.json`` is not there.  Raises DataError as
    `whatsup`.
    """
    folder, found = Path(folder).expanduser(), []
    listing, pictures, annotations = COCO
    boxes = _coco_boxes(folder, annotations) if (folder / annotations).exists() else {}
    for k, entry in enumerate(_listed(folder, listing)):
        try:
            number, captions = int(entry[0]), entry[1:]
            (subject, *word, other), wrong = (CAPTION.match(c).groups() for c in captions)
            relation, opposite = word[0] or word[1], wrong[1] or wrong[2]
        except (TypeError, ValueError, IndexError, KeyError, AttributeError):
            why = "not [image id, right caption, wrong caption] with a relation each"
            raise _mislabelled(folder / listing, k, entry, why) from None
        if (subject, S.OPPOSITE[relation], other) != (wrong[0], opposite, wrong[3]):
            why = "the captions do not differ in the relation alone"
            raise _mislabelled(folder / listing, k, entry, why)
        options = next(pair for pair in OPTIONS if relation in pair)
        file = folder / pictures / f"{number:012d}.jpg"
        known = [boxes.get((number, name)) for name in (subject, other)]
        found.append(Question((file,), subject, other, relation, options, relation, str(number),
                              tuple(known) if all(known) else ()))  # fmt: skip
    _check(folder, [f"{pictures}/{q.files[0].name}" for q in found])
    return found


def _coco_boxes(folder: Path, name: str) -> dict:
    """{(image id, category): its largest box as left, top, right, bottom}."""
    _check(folder, [name])
    told, best = _json(folder / name), {}
    try:
        names = {c["id"]: c["name"] for c in told["categories"]}
        for one in told["annotations"]:
            left, top, wide, high = (float(v) for v in one["bbox"])
            key, area = (one["image_id"], names[one["category_id"]]), wide * high
            if area > best.get(key, (0, None))[0]:
                best[key] = area, (left, top, left + wide, top + high)
    except (TypeError, KeyError, ValueError):
        why = f"{folder / name} is not a COCO instances file"
        raise DataError(f"{why}: {_again(folder / name)}") from None
    return {key: box for key, (_, box) in best.items()}


# --- downloading -----------------------------------------------------------------------


def _drive(file_id: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={file_id}&export=download&confirm=t"


# What a file is called, where it is, and what it holds that is kept (itself, if not an archive).
# The Google Drive ids are those of the What'sUp repository's own loader.
SOURCES = {
    "whatsup-a": [
        (SUBSETS["A"][0], _drive("1ap8mmmpQjLIjPGuplkpBgc1hoEHCj4hm"), SUBSETS["A"][0]),
        ("controlled_images.tar.gz", _drive("19KGYVQjrV3syb00GgcavB2nZTW5NXX0H"), SUBSETS["A"][1]),
    ],
    "whatsup-b": [
        (SUBSETS["B"][0], _drive("1unNNosLbdy9NDjgj4l8fsQP3WiAAGA6z"), SUBSETS["B"][0]),
        ("controlled_clevr.tar.gz", _drive("13jdBpg8t3NqW3jrL6FK8HO93vwsUjDxG"), SUBSETS["B"][1]),
    ],
    "coco-spatial": [
        (COCO[0], _drive("1TCEoM0mgFmz8T4cF7PQ3XJmO6JjtiQ-s"), COCO[0]),
        ("val2017.zip", "http://images.cocodataset.org/zips/val2017.zip", COCO[1]),
        ("annotations_trainval2017.zip",
         "http://images.cocodataset.org/annotations/annotations_trainval2017.zip", COCO[2]),
    ],
}  # fmt: skip
LOADERS = {
    "whatsup-a": whatsup,
    "whatsup-b": lambda folder: whatsup(folder, "B"),
    "coco-spatial": coco_spatial,
}


def download(name: str, folder: Path | str, sources: list | None = None) -> list[Question]:
    """Fetch "whatsup-a", "whatsup-b" or "coco-spatial" (1 GB or more) into a folder, and load it.

    What is already there is not fetched again, and a download that was stopped goes on where it
    was.  sources: other addresses, as in SOURCES.  Raises DataError if a server cannot be
    reached or sends something else.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(SOURCES)}")
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for file, url, kept in sources or SOURCES[name]:
        if not (folder / kept).exists():
            if not (folder / file).exists():
                fetch(url, folder / file)
            if file != kept:
                _unpack(folder / file, kept)
    return LOADERS[name](folder)


def fetch(url: str, path: Path, block: int = 1 << 20) -> None:
    """Download one file, with a progress bar; a part that is there already is continued."""
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.headers.get_content_type() == "text/html":
                raise DataError(
                    f"{url} sent a web page instead of {path.name} (Google Drive does, after too "
                    f"many downloads): open {PAGE} in a browser and save the file as {path}"
                )
            have = have if answer.status == 206 else 0  # 200: the server starts at the beginning
            left = answer.headers.get("Content-Length")
            whole = have + int(left) if left else None
            bar = tqdm(total=whole, initial=have, desc=path.name, unit="B", unit_scale=True)
            with part.open("ab" if have else "wb") as file, bar:
                while data := answer.read(block):
                    file.write(data)
                    bar.update(len(data))
    except urllib.error.HTTPError as error:
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code != 416 or whole != str(have):  # 416: nothing is left, we had all of it
            part.unlink(missing_ok=True) if error.code == 416 else None
            raise DataError(f"{url} answers {error.code} {error.reason}: {_again(path)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{url} broke off ({error}): run it again, it goes on from there") from None
    if whole and part.stat().st_size != int(whole):
        raise DataError(
            f"{part} has {part.stat().st_size} of {whole} bytes: run it again, "
            "it goes on from there"
        )
    part.replace(path)


def _unpack(archive: Path, kept: str) -> None:
    """Move what is kept out of an archive to the folder beside it; then delete the archive."""
    folder, room = archive.parent, archive.parent / f".unpacking-{archive.name}"
    shutil.rmtree(room, ignore_errors=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                file.extractall(room, [n for n in file.namelist() if n.startswith(kept)])
        else:
            with tarfile.open(archive) as file:
                file.extractall(room, filter="data")
        (folder / kept).parent.mkdir(parents=True, exist_ok=True)
        (room / kept).replace(folder / kept)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(
            f"{archive} is truncated or does not hold {kept} ({error}): delete it and "
            "download it again"
        ) from None
    finally:
        shutil.rmtree(room, ignore_errors=True)
    archive.unlink()


# --- stand-ins, drawn --------------------------------------------------------------------


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=95, subsampling=0)


def drawn_whatsup(folder: Path | str, references: tuple[str, ...] = ("pot", "hat")) -> None:
    """Draw a stand-in for What'sUp A: each object on the left and on the right of a reference."""
    folder, entries = Path(folder), []
    wall, floor = np.full((S.MINI.side, S.MINI.side, 3), 225.0), np.array((170.0, 140.0, 110.0))
    wall[S.MINI.side // 2 :] = floor
    wall *= 1 - 0.15 * np.linspace(0, 1, S.MINI.side)[:, None]  # light falls from one side
    cells = S.MINI.cells(False)
    for other in references:
        for thing in [name for name in S.OBJECTS if name != other]:
            for place, relation in ((0, "left"), (2, "right")):
                name = f"{thing}_{relation}_of_{other}.jpeg"
                at = [cells[place], cells[1]]
                drawn = S.draw([S.Item(thing), S.Item(other)], at, background=wall)
                _save(drawn.pixels, folder / SUBSETS["A"][1] / name)
                captions = [f"A {thing} to the {word} of a {other}"
                            for word in (relation, S.OPPOSITE[relation])]  # fmt: skip
                path = f"data/{SUBSETS['A'][1]}/{name}"
                entries.append({"image_path": path, "caption_options": captions})
    (folder / SUBSETS["A"][0]).write_text(json.dumps(entries))


def drawn_coco(
    folder: Path | str, n: int, style: S.SceneStyle = S.EASY, seed: int = 0, heldout: bool = True
) -> None:
    """Draw a stand-in for COCO-spatial: n questions about naturalistic scenes, with boxes.

    Each scene shows three objects, and the question is about two of them; every relation is the
    answer equally often (n is rounded up to a multiple of four).  heldout: see
    `stimuli.scene_trials`.
    """
    folder, rng = Path(folder), np.random.RandomState(seed)
    entries, annotations = [], []
    for number, t in enumerate(S.scene_trials(-(-n // 4), style, seed, heldout)):
        low, high = sorted(rng.permutation(3)[:2].tolist())  # items are in the asked order
        pair = (low, high) if t.direction in ("left", "above") else (high, low)
        names = [t.stimulus.items[i].name for i in pair]
        entries.append([number, *(f"A photo of a {names[0]} {S.PHRASES[word]} a {names[1]}"
                                  for word in (t.direction, S.OPPOSITE[t.direction]))])  # fmt: skip
        boxes = t.stimulus.boxes.tolist()
        for item, (left, top, right, bottom) in zip(t.stimulus.items, boxes, strict=True):
            annotations.append({"image_id": number, "category_id": S.OBJECTS.index(item.name),
                                "bbox": [left, top, right - left, bottom - top]})  # fmt: skip
        _save(t.stimulus.pixels, folder / COCO[1] / f"{number:012d}.jpg")
    (folder / COCO[0]).write_text(json.dumps(entries))
    told = {"categories": [{"id": k, "name": name} for k, name in enumerate(S.OBJECTS)],
            "annotations": annotations}  # fmt: skip
    (folder / COCO[2]).parent.mkdir(exist_ok=True)
    (folder / COCO[2]).write_text(json.dumps(told))
