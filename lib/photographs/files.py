"""The public files: read with a clear word about what is wrong, and compared with first use."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from vlms.families import ModelError
from vlms.pictures import opened

SUMS = "SHA256SUMS"
PAGE = "https://github.com/amitakamath/whatsup_vlms"
SUBSETS = {
    "A": ("controlled_images_dataset.json", "controlled_images"),
    "B": ("controlled_clevr_dataset.json", "controlled_clevr"),
}
COCO = ("coco_qa_two_obj.json", "val2017", "annotations/instances_val2017.json")
# What is fetched in one piece, and the data set that it belongs to.
PIECES = {piece: name for name, pieces in (("whatsup-a", SUBSETS["A"]),
          ("whatsup-b", SUBSETS["B"]), ("coco-spatial", COCO)) for piece in pieces}  # fmt: skip
LONGEST = 2**28  # bytes of a JSON file: the largest public one has 20 million


class DataError(ValueError):
    """A file that is missing, truncated or mislabelled; the message says which and what to do."""


def picture(path: Path) -> Image.Image:
    """A picture in RGB.  Raises DataError."""
    try:
        return opened(path).convert("RGB")
    except ModelError as error:
        raise DataError(f"{error}; {again(path)}") from None


def again(path: Path) -> str:
    """What to do about a bad file, in half a sentence."""
    for piece in (path, *path.parents):
        for ending, name in PIECES.items():
            folder = piece.as_posix().removesuffix(f"/{ending}")
            if folder != piece.as_posix():
                first = f"delete {piece} and " if piece.exists() else ""
                page = "https://cocodataset.org" if name == "coco-spatial" else PAGE
                call = f"call `photographs.download({name!r}, {folder!r})`"
                return f"{first}{call}, which gets it again from {page}"
    return f"get it again from {PAGE}"


def check(folder: Path, names: Iterable[str]) -> None:
    """Compare files with the sums of their first use; look at a new one and keep its sum."""
    listing, new = folder / SUMS, {}
    known = sums(folder)
    for name in tqdm(sorted(set(names)), desc="checking files", delay=2, leave=False):
        path = folder / name
        try:
            if not path.is_file():
                raise DataError(f"{path} is missing: {again(path)}")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): {again(path)}") from None
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


def sums(folder: Path) -> dict[str, str]:
    """{file: SHA-256 sum of its first use}.  Raises DataError for a list that cannot be read."""
    listing = folder / SUMS
    try:
        lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    except (OSError, ValueError):
        raise DataError(f"{listing} cannot be read: delete it") from None
    return {line[66:]: line[:64] for line in lines}


def parsed(path: Path):
    """A JSON file's content.  Raises DataError."""
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError(f"more than {LONGEST:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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
