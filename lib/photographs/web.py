"""Fetching the public files; a download that was stopped goes on where it was."""

from __future__ import annotations

import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tqdm.auto import tqdm

from .files import COCO, PAGE, SUBSETS, DataError, again
from .load import coco_spatial, whatsup
from .questions import Question


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
            raise DataError(f"{url} answers {error.code} {error.reason}: {again(path)}") from None
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
