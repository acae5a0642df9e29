"""Fetching the public files; a download that was stopped goes on where it was."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import shutil
import tarfile
import urllib.error
import urllib.request
import warnings
import zipfile
from pathlib import Path

from tqdm.auto import tqdm

from .files import COCO, PAGE, SUBSETS, SUMS, DataError
from .load import coco_spatial, whatsup
from .questions import Question


def _drive(file_id: str) -> str:
    return f"https://drive.usercontent.google.com/download?id={file_id}&export=download&confirm=t"


# The host of the book's COCO addresses has no certificate for its name; its storage has one.
COCO_HOST = "https://s3.amazonaws.com/images.cocodataset.org"
# What a file is called, where it is, what it holds that is kept (itself, if not an archive), and
# its SHA-256 sum, where it is known.  The Google Drive ids are those of the What'sUp repository's
# own loader; its publishers give no sums.
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
        ("val2017.zip", f"{COCO_HOST}/zips/val2017.zip", COCO[1],
         "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
        ("annotations_trainval2017.zip", f"{COCO_HOST}/annotations/annotations_trainval2017.zip",
         COCO[2], "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"),
    ],
}  # fmt: skip
# Sums of What'sUp that one other user published, in experiments/comp01_whatsup.py of
# https://github.com/liziqiu846/minimind-v (commit fb40833).  No proof: a difference is only told.
SEEN = {
    SUBSETS["A"][0]: "77ee94ae35552ed643ecd47f700daa178e10051458baae99d5c4c5d5922590d3",
    "controlled_images.tar.gz": "4fc005e7ab1e2ac5e5836d2456dd9ae930239c44953b0b2d3e9523f6ad5b1a69",
    SUBSETS["B"][0]: "2c0df1ab59d13d71442752b4b3c7353114d712a785b0850ec22e11c2b0c474c9",
    "controlled_clevr.tar.gz": "df8b23af7dc73c4bf98937777b7a5d85aab42598eace82fa7adad5802df2c493",
}
LOADERS = {
    "whatsup-a": whatsup,
    "whatsup-b": lambda folder: whatsup(folder, "B"),
    "coco-spatial": coco_spatial,
}
LARGEST = 2**33  # bytes of a download, and of what an archive unpacks to
MOST = 200_000  # files in an archive


def download(name: str, folder: Path | str, sources: list | None = None) -> list[Question]:
    """Fetch "whatsup-a", "whatsup-b" or "coco-spatial" (1 GB or more) into a folder, and load it.

    What is already there is not fetched again, and a download that was stopped goes on where it
    was.  Warns, with the sum of what came, of a file whose publishers give none.  sources: other
    addresses, as in SOURCES.  Raises DataError if a server cannot be reached or sends something
    else (also another file than the one first used here), or where the folder cannot be written.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(SOURCES)}")
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, url, kept, *digest in sources or SOURCES[name]:
            if not (folder / kept).exists():
                if not (folder / file).exists():
                    fetch(url, folder / file, *digest)
                if not digest:
                    _trusted(folder / file)
                if file != kept:
                    _unpack(folder / file, kept)
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error}") from None
    return LOADERS[name](folder)


def _trusted(path: Path) -> None:
    """Say that nobody vouches for a file, and what its sum is."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    seen = SEEN.get(path.name)
    other = "as another user had it" if seen == digest else f"where another user had {seen}"
    warnings.warn(
        f"{path.name} is trusted as it came, since its publishers give no sum: SHA-256 {digest}"
        f"{f', {other}' if seen else ''}; later uses are compared with {SUMS}",
        stacklevel=3,
    )


def fetch(url: str, path: Path, digest: str | None = None, block: int = 1 << 20) -> None:
    """Download one file, with a progress bar.

    A part that is there is continued, if the server still has the file that it is a part of, by
    the mark (ETag or date) that it gave.  digest: the file's SHA-256 sum.  Raises DataError.
    """
    part, mark = (path.with_name(path.name + ending) for ending in (".part", ".mark"))
    have, headers = 0, {}
    if part.exists() and (told := _mark(mark)):
        have = part.stat().st_size
        headers = {"Range": f"bytes={have}-", "If-Range": told}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            whole = _whole(answer, url, path, have)
            have = have if answer.status == 206 else 0  # 200: the server starts at the beginning
            told = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            mark.write_text(json.dumps("" if told.startswith("W/") else told))
            bar = tqdm(total=whole, initial=have, desc=path.name, unit="B", unit_scale=True)
            with part.open("ab" if have else "wb") as file, bar:
                while data := answer.read(block):
                    file.write(data)
                    bar.update(len(data))
                    if file.tell() > (whole or LARGEST):
                        break
    except urllib.error.HTTPError as error:
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code != 416 or whole != str(have):  # 416: nothing is left, we had all of it
            part.unlink(missing_ok=True) if error.code == 416 else None
            raise DataError(
                f"{url} answers {error.code} {error.reason}: run it again later, or save the file "
                f"as {path}"
            ) from None
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{url} broke off ({error}): run it again, it goes on from there") from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{url} is no address, or answers nonsense: {error}") from None
    size, most = part.stat().st_size, int(whole or LARGEST)
    if size > most:
        part.unlink()
        raise DataError(f"{url} sends more than the {most:,} bytes that it may: run it again")
    if whole and size < most:
        raise DataError(f"{part} has {size} of {whole} bytes: run it again, it goes on from there")
    mark.unlink(missing_ok=True)
    with part.open("rb") as file:
        if digest and hashlib.file_digest(file, "sha256").hexdigest() != digest:
            part.unlink()
            raise DataError(f"{url} sent another file than the published one: run it again")
    part.replace(path)


def _mark(path: Path) -> str:
    """The mark that a server gave with the part that is there, or none."""
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError):
        return ""
    return told if isinstance(told, str) and told.isprintable() else ""


def _whole(answer, url: str, path: Path, have: int) -> int | None:
    """The whole file's size, if the server tells it.  Raises DataError for another answer."""
    if url.startswith("https:") and not answer.geturl().startswith("https:"):
        raise DataError(f"{url} leads to {answer.geturl()}, which anyone on the way can change")
    if answer.headers.get_content_type() == "text/html":
        raise DataError(
            f"{url} sent a web page instead of {path.name} (Google Drive does, after too "
            f"many downloads): open {PAGE} in a browser and save the file as {path}"
        )
    left, start = answer.headers.get("Content-Length"), 0
    if answer.status == 206:
        told = answer.headers.get("Content-Range", "")
        start, start_told = have, told.removeprefix("bytes ").partition("-")[0]
        if start_told != str(have) or (left and told.rpartition("/")[2] not in
                                       ("*", str(have + int(left)))):  # fmt: skip
            path.with_name(path.name + ".part").unlink()
            raise DataError(f"{url} sent {told or 'some part'} instead of the rest: run it again")
    whole = start + int(left) if left else None
    if (whole or 0) > LARGEST:
        raise DataError(f"{url} has {whole:,} bytes, more than any file of the data: not fetched")
    return whole


def _unpack(archive: Path, kept: str) -> None:
    """Move what is kept out of an archive to the folder beside it; then delete the archive, also
    one that is damaged, so that it is fetched again."""
    folder, room = archive.parent, archive.parent / f".unpacking-{archive.name}"
    shutil.rmtree(room, ignore_errors=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                some = [one for one in file.infolist() if one.filename.startswith(kept)]
                _check_size(sum(one.file_size for one in some), len(some))
                file.extractall(room, some)
        else:
            with tarfile.open(archive) as file:
                size = 0
                for count, one in enumerate(file):
                    size += one.size
                    _check_size(size, count)
                    file.extract(one, room, filter="data")
        (folder / kept).parent.mkdir(parents=True, exist_ok=True)
        (room / kept).replace(folder / kept)
    except Exception as error:  # an unpacker may stumble in its own way
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full:
            archive.unlink()
        what = "make room and run it again" if full else "it is deleted: run it again"
        raise DataError(
            f"{archive} is truncated or does not hold {kept} ({error}): {what}"
        ) from None
    finally:
        shutil.rmtree(room, ignore_errors=True)
    archive.unlink()


def _check_size(size: int, count: int) -> None:
    if size > LARGEST or count > MOST:
        raise DataError(f"it would unpack to {size:,} bytes in {count:,} files or more")
