"""The public files: read with a clear word about what is wrong, and compared with first use."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

SUMS = "SHA256SUMS"
PAGE = "https://github.com/amitakamath/whatsup_vlms"
SUBSETS = {
    "A": ("controlled_images_dataset.json", "controlled_images"),
    "B": ("controlled_clevr_dataset.json", "controlled_clevr"),
}
COCO = ("coco_qa_two_obj.json", "val2017", "annotations/instances_val2017.json")


class DataError(ValueError):
    """A file that is missing, truncated or mislabelled; the message says which and what to do."""


def picture(path: Path) -> Image.Image:
    """A picture in RGB.  Raises DataError."""
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except OSError as error:
        raise DataError(
            f"{path} is missing, truncated or not a picture ({error}): {again(path)}"
        ) from None


def again(path: Path) -> str:
    """What to do about a bad file, in half a sentence."""
    coco = "2017" in f"{path.parent.name}/{path.name}"
    page = "https://cocodataset.org/#download" if coco else PAGE
    return f"get it again with `photographs.download` or from {page}"


def check(folder: Path, names: Iterable[str]) -> None:
    """Compare files with the sums of their first use; look at a new one and keep its sum."""
    listing, known = folder / SUMS, {}
    if listing.exists():
        known = {line[66:]: line[:64] for line in listing.read_text().splitlines()}
    new = {}
    for name in tqdm(sorted(set(names)), desc="checking files", delay=2, leave=False):
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing: {again(path)}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if name in known and digest != known[name]:
            raise DataError(
                f"{path} is not the file that was first used here (see {listing}): {again(path)}, "
                "or delete its line in that list if you replaced it on purpose"
            )
        if name not in known:
            parsed(path) if path.suffix == ".json" else picture(path)
            new[name] = digest
    try:
        if new:
            with listing.open("a") as file:
                file.writelines(f"{digest}  {name}\n" for name, digest in new.items())
    except OSError:
        warnings.warn(f"{folder} cannot be written to: no sums are kept there", stacklevel=3)


def parsed(path: Path):
    """A JSON file's content.  Raises DataError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is truncated or not JSON ({error}): {again(path)}") from None


def listed(folder: Path, name: str) -> list:
    """The entries of a list of questions, after its check."""
    check(folder, [name])
    entries = parsed(folder / name)
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{folder / name} holds no list of questions: {again(folder / name)}")
    return entries


def mislabelled(path: Path, k: int, entry, why: str) -> DataError:
    """The error of an entry that contradicts itself."""
    return DataError(f"{path}, entry {k}: {why}, in {str(entry)[:150]}: {again(path)}")
