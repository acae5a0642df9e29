"""Natural images: small files in the public formats, and a real server to download them from."""

import hashlib
import io
import json
import re
import shutil
import struct
import tarfile
import threading
import zipfile
import zlib
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import photographs as D
from dualmech import drawing, stimuli
from dualmech import edits as E
from photographs import questions, web

COLOURS = {"mug": (200, 0, 0), "beer-bottle": (0, 200, 0), "cap": (0, 0, 200)}


def picture(path, size=(40, 20), colour=(250, 250, 250), box=None):
    """A one-coloured JPEG, with a red box on it if asked."""
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    if box is not None:
        left, top, right, bottom = box
        pixels[top:bottom, left:right] = (255, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=100, subsampling=0)


def seen(questions) -> list[bytes]:
    return [q.image((96, 96)).tobytes() for q in questions]


def write(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))


@pytest.fixture
def whatsup(tmp_path):
    """Three things around an armchair, in the four relations of subset A; one pair of subset B."""
    captions = {"left_of": "to the left of", "right_of": "to the right of", "on": "on",
                "under": "under", "in-front_of": "in front of", "behind": "behind"}  # fmt: skip

    def entries(folder, things, other, names):
        out = []
        for thing in things:
            for name in names:
                file = f"{thing}_{name}_{other}.jpeg"
                picture(tmp_path / folder / file, colour=COLOURS[thing])
                told = [name, *(n for n in names if n != name)]
                said = [f"A {thing.replace('-', ' ')} {captions[n]} a {other}" for n in told]
                out.append({"image_path": f"data/{folder}/{file}", "caption_options": said})
        return out

    a = entries("controlled_images", COLOURS, "armchair", ("left_of", "right_of", "on", "under"))
    b = entries("controlled_clevr", ["mug"], "cap", ("in-front_of", "behind"))
    write(tmp_path / "controlled_images_dataset.json", a)
    write(tmp_path / "controlled_clevr_dataset.json", b)
    return tmp_path


ENTRIES = [
    [37777, "A photo of a dining table to the left of a oven",
     "A photo of a dining table to the right of a oven"],
    [37777, "A photo of a oven below a cup", "A photo of a oven above a cup"],
]  # fmt: skip


@pytest.fixture
def coco(tmp_path):
    """Two questions about one photograph; the oven is there twice, the cup has no box."""
    write(tmp_path / "coco_qa_two_obj.json", ENTRIES)
    picture(tmp_path / "val2017" / "000000037777.jpg", box=(4, 2, 12, 6))
    names = {"dining table": 67, "oven": 79, "cup": 47}
    boxes = [(67, [4, 2, 8, 4]), (79, [1, 1, 3, 3]), (79, [20, 4, 10, 15])]
    told = {
        "categories": [{"id": k, "name": name} for name, k in names.items()],
        "annotations": [{"image_id": 37777, "category_id": k, "bbox": b} for k, b in boxes],
    }
    write(tmp_path / "annotations" / "instances_val2017.json", told)
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four drawn questions in COCO's format."""
    folder = tmp_path_factory.mktemp("made")
    D.drawn_coco(folder, 4)
    return folder


# --- formats ---------------------------------------------------------------------------


def test_whatsup_reads_relations_from_names_and_groups_opposite_pictures(whatsup):
    found = D.whatsup(whatsup)
    assert len(found) == 12
    file = whatsup / "controlled_images" / "beer-bottle_left_of_armchair.jpeg"
    group = "beer bottle, armchair, left or right"
    sides = ("left", "right")
    assert found[4] == D.Question((file,), "beer bottle", "armchair", "left", sides, "left", group)
    assert [q.group == group for q in found[4:8]] == [True, True, False, False]
    assert [q.answer for q in found[:4]] == ["left", "right", "on", "under"]
    rendered = D.whatsup(whatsup, "B")
    assert [q.answer for q in rendered] == ["front", "behind"]
    assert D.two_orders(rendered[0]) == (
        "Is the mug in front of or behind the cap? Answer with one word.",
        "Is the mug behind or in front of the cap? Answer with one word.",
    )
    with pytest.raises(ValueError, match="'A' or 'B'"):
        D.whatsup(whatsup, "C")


def test_coco_reads_two_word_names_and_takes_the_largest_box(coco):
    first, second = D.coco_spatial(coco)
    assert (first.subject, first.other, first.answer) == ("dining table", "oven", "left")
    assert first.boxes == ((4, 2, 12, 6), (20, 4, 30, 19))
    assert (second.subject, second.answer, second.options) == ("oven", "below", ("above", "below"))
    assert second.boxes == ()  # the cup has none
    assert first.group == second.group == "37777"
    shutil.rmtree(coco / "annotations")
    assert [q.boxes for q in D.coco_spatial(coco)] == [(), ()]


def test_the_two_orders_of_both_forms(coco):
    first, second = D.coco_spatial(coco)
    assert D.two_orders(first) == (
        "Is the dining table to the left or to the right of the oven? Answer with one word.",
        "Is the dining table to the right or to the left of the oven? Answer with one word.",
    )
    asked = "Using the oven as the reference point, which side is the dining table on? "
    assert D.two_orders(first, "reference") == (
        f"{asked}Answer with one word: left or right.",
        f"{asked}Answer with one word: right or left.",
    )
    assert D.two_orders(second, "reference")[1] == (
        "Using the cup as the reference point, where is the oven located? "
        "Answer with one word: below or above."
    )
    with pytest.raises(ValueError, match="form 'other'"):
        D.two_orders(first, "other")


def test_the_direct_form_is_the_one_the_shipped_models_are_trained_on(made):
    for q in D.coco_spatial(made):
        items = drawing.Item(q.subject), drawing.Item(q.other)
        vertical = "above" in q.options
        known = [stimuli.pairwise_question(*items, vertical, swap) for swap in (False, True)]
        assert list(D.two_orders(q)) == known


# --- pictures --------------------------------------------------------------------------


def question_of(path, size, box=None) -> D.Question:
    """A question about a picture with a red box."""
    picture(path, size, box=box)
    boxes = (box, box) if box else ()
    return D.Question((path,), "a", "b", "left", ("left", "right"), "left", "", boxes)


@pytest.mark.parametrize("size, box", [((40, 20), (4, 2, 12, 6)), ((20, 40), (2, 30, 10, 38))])
def test_a_picture_is_padded_and_its_boxes_with_it(tmp_path, size, box):
    q = question_of(tmp_path / "x.jpg", size, box)
    pixels = np.asarray(q.image((96, 96))).astype(int)
    assert pixels.shape == (96, 96, 3)
    left, top, right, bottom = q.boxes_on((96, 96))[0]
    assert abs((right - left) * (bottom - top) - 2.4**2 * 8 * (box[3] - box[1])) < 90  # scale 2.4
    inside = pixels[top + 2 : bottom - 2, left + 2 : right - 2]
    assert (abs(inside - (255, 0, 0)) < 12).all()
    red = (abs(pixels - (255, 0, 0)) < 60).all(-1)
    red[top - 1 : bottom + 1, left - 1 : right + 1] = False
    assert not red.any()
    border = pixels[:24] if size[0] > size[1] else pixels[:, :24]
    assert (border == questions.PADDING).all()


@pytest.mark.parametrize("size", [(400, 2), (2, 400)])
def test_a_picture_too_thin_for_the_canvas_is_named(tmp_path, size):
    q = question_of(tmp_path / "x.jpg", size)
    assert q.image((336, 336)).size == (336, 336)
    with pytest.raises(D.DataError, match=r"x\.jpg: a picture of .* is too thin to be seen on 96"):
        q.image((96, 96))


def test_composites_join_the_halves_of_two_pictures(whatsup):
    found = D.composites(whatsup)
    assert len(found) == 3 * 2 * 2  # ordered pairs of three things, two directions
    q = next(q for q in found if q.group == "mug, armchair, cap" and q.relation == "right")
    assert (q.answer, q.options) == ("cap", ("mug", "cap"))
    pixels = np.asarray(q.image((48, 96))).astype(int)
    assert pixels.shape == (48, 96, 3)
    assert (abs(pixels[:, :48] - COLOURS["mug"]) < 4).all()
    assert (abs(pixels[:, 48:] - COLOURS["cap"]) < 4).all()
    (t,) = D.trials([q], (48, 96))
    assert t.question == "The object on the floor to the right of the armchair is a(n) "
    assert t.answer == "cap" and len(t.stimulus.boxes) == 0
    assert {q.answer for q in D.composites(whatsup, lambda n: " " not in n)} == {"mug", "cap"}
    with pytest.raises(D.DataError, match="no two things"):
        D.composites(whatsup, lambda n: n == "mug")


def test_a_name_that_fits_is_one_token_in_both_cases_without_a_space(vlm):
    letters = {c: k for k, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    words = ("mug", "Mug", "Ġcap", "ĠCap", "plate")  # cap needs its space, Plate is in pieces
    core = Tokenizer(models.BPE(letters | {w: 256 + k for k, w in enumerate(words)}, [],
                                ignore_merges=True))  # fmt: skip
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fits = D.one_token(PreTrainedTokenizerFast(tokenizer_object=core))
    assert [name for name in ("mug", "cap", "plate", "beer bottle") if fits(name)] == ["mug"]
    fits = D.one_token(vlm.tokenizer)  # one that knows a list of words, in lower case
    assert fits("pot") and not fits("armchair") and not fits("pot hat")


# --- scores ----------------------------------------------------------------------------


def test_strict_asks_for_both_orders(made):
    questions = D.coco_spatial(made)
    asked = D.trials(questions, (96, 96))
    right = [t.answer for t in asked]
    assert D.strict(asked, right).all()
    half = [word if k % 2 else "?" for k, word in enumerate(right)]
    assert D.by_order(asked, half).tolist() == [[False, True]] * 4
    assert not D.strict(asked, half).any()
    first_named = [w for q in questions for w in (q.options[0], q.options[1])]
    assert not D.strict(asked, first_named).any()
    one_word = [q.options[0] for q in questions for _ in range(2)]
    assert D.strict(asked, one_word).mean() == 0.5  # blind, and still right on half
    with pytest.raises(ValueError, match="7 answers to 8 trials"):
        D.strict(asked, right[1:])


def test_a_group_is_right_if_all_of_it_is(whatsup):
    questions = [q for q in D.whatsup(whatsup) if q.relation in ("left", "right")]
    right = [True, True, True, False, False, True]
    assert list(D.grouped(questions, right).values()) == [True, False, False]


def test_edits_take_the_trials(vlm, made):
    asked = D.trials(D.coco_spatial(made), vlm.canvas)
    words = E.answers(vlm, asked)
    assert words == vlm.answer([t.stimulus.image for t in asked], [t.question for t in asked])
    w = torch.eye(2, vlm.d_model)
    named = {"no": E.amplify(w, 0.0, where="object"), "loud": E.amplify(w, 50.0, where="object")}
    found = E.sweep(vlm, asked, named, [0])
    assert found["no"].said[0].tolist() == words and found["loud"].p.shape == (1, len(asked), 1)


# --- files that cannot be used ---------------------------------------------------------


LIST, PICTURE = "coco_qa_two_obj.json", "val2017/000000037777.jpg"
BOXES, A = "annotations/instances_val2017.json", "controlled_images_dataset.json"


def test_a_missing_file_is_named(coco):
    with pytest.raises(D.DataError, match=f"{A} is missing: call .*whatsup_vlms"):
        D.whatsup(coco)
    (coco / PICTURE).unlink()
    with pytest.raises(D.DataError, match=r"000000037777.jpg is missing: delete .*val2017 and"):
        D.coco_spatial(coco)


@pytest.mark.parametrize("name", [LIST, BOXES, PICTURE])
def test_a_truncated_file_is_named(coco, name):
    whole = (coco / name).read_bytes()
    (coco / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(D.DataError, match=f"{name} is .*truncated"):
        D.coco_spatial(coco)


@pytest.mark.parametrize("entry, why", [
    ([1, ENTRIES[0][1], ENTRIES[1][2]], "do not differ in the relation alone"),
    ([1, ENTRIES[0][1], ENTRIES[0][1]], "do not differ in the relation alone"),
    ([1, "A photo of a cup beside a oven", ENTRIES[0][2]], "with a relation each"),
    ({"image_path": "x"}, "with a relation each"),
    *([[n, *ENTRIES[0][1:]], "with a relation each"] for n in ("x", None, -5, 10**99, 1e999,
                                                               float("nan"))),
])  # fmt: skip
def test_an_entry_of_coco_that_is_none_is_named(coco, entry, why):
    write(coco / LIST, [*ENTRIES, entry])
    with pytest.raises(D.DataError, match=f"{LIST}, entry 2: .*{why}"):
        D.coco_spatial(coco)


SAID = ["A mug on a cap"]


@pytest.mark.parametrize("entry, why", [
    ({"image_path": "mug_under_cap.jpeg", "caption_options": SAID}, "what the file's name"),
    *((entry, "no image_path") for entry in (
        5, None, [], {}, {"image_path": 5, "caption_options": SAID},
        *({"image_path": "mug_on_cap.jpeg", "caption_options": said} for said in ([], [5], 5)),
        *({"image_path": path, "caption_options": SAID} for path in (
            "mug.jpeg", "x" * 5000 + "_on_cap.jpeg", "mug\n_on_cap.jpeg", "mug_on_cap.jpeg\x00")),
    )),
])  # fmt: skip
def test_an_entry_of_whatsup_that_is_none_is_named(tmp_path, entry, why):
    write(tmp_path / A, [entry])
    with pytest.raises(D.DataError, match=f"{A}, entry 0: .*{why}.*delete .*{A}"):
        D.whatsup(tmp_path)


@pytest.mark.parametrize("text, why", [
    ("[]", "holds no list of questions"), ("[" * 2000 + "]" * 2000, "not JSON"),
])  # fmt: skip
def test_a_list_that_is_none_is_named(coco, text, why):
    (coco / LIST).write_text(text)
    with pytest.raises(D.DataError, match=f"{LIST} .*{why}"):
        D.coco_spatial(coco)


@pytest.mark.parametrize("number", ["NaN", "-1", "1e400", "Infinity", "1" + "0" * 400, "[]", '"x"'])
def test_a_box_that_is_none_is_refused(coco, number):
    text = (coco / BOXES).read_text().replace("[20, 4, 10, 15]", f"[20, {number}, 10, 15]")
    (coco / BOXES).write_text(text)
    with pytest.raises(D.DataError, match="a box in it is no box: delete"):
        D.coco_spatial(coco)


def hostile_picture(kind: str) -> bytes:
    if kind == "EPS":
        return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n"
    if kind == "huge":  # a PNG that says it has 10^10 pixels
        size = struct.pack(">II5B", 100_000, 100_000, 8, 2, 0, 0, 0)
        chunks = ((len(data), name + data) for name, data in ((b"IHDR", size), (b"IDAT", b"")))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", n) + one + struct.pack(">I", zlib.crc32(one)) for n, one in chunks
        )
    if kind == "SVG":
        return b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["EPS", "huge", "SVG", "PDF", "PPM"])
def test_only_named_formats_and_sizes_are_opened(coco, kind):
    (coco / PICTURE).write_bytes(hostile_picture(kind))
    why = "has more than" if kind == "huge" else "is not an image"
    with pytest.raises(D.DataError, match=f"000000037777.jpg {why}"):
        D.coco_spatial(coco)


def test_sums_are_kept_at_first_use_and_checked_later(coco):
    D.coco_spatial(coco)
    listing = coco / "SHA256SUMS"
    sums = dict(reversed(line.split("  ")) for line in listing.read_text().splitlines())
    assert len(sums) == 3
    for name, digest in sums.items():
        assert hashlib.sha256((coco / name).read_bytes()).hexdigest() == digest
    D.coco_spatial(coco)
    assert len(listing.read_text().splitlines()) == 3  # nothing is listed twice
    picture(coco / PICTURE, colour=(1, 2, 3))
    with pytest.raises(D.DataError, match="000000037777.jpg is not the file that was first used"):
        D.coco_spatial(coco)
    listing.write_text("".join(f"{d}  {n}\n" for n, d in sums.items() if not n.endswith("jpg")))
    assert len(D.coco_spatial(coco)) == 2  # replaced on purpose


def test_a_folder_that_cannot_be_written_to_still_loads(coco):
    (coco / D.SUMS).symlink_to(coco / "nowhere" / D.SUMS)
    with pytest.warns(UserWarning, match="cannot be written to"):
        assert len(D.coco_spatial(coco)) == 2


def test_the_list_of_sums_may_be_anything(coco):
    for content in (b"", b"x\n\n", b"a" * 64):
        (coco / D.SUMS).write_bytes(content)
        assert len(D.coco_spatial(coco)) == 2
    (coco / D.SUMS).write_bytes(b"\xff\xfe")
    with pytest.raises(D.DataError, match="SHA256SUMS cannot be read: delete it"):
        D.coco_spatial(coco)


# --- downloading -----------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Serves bytes by path, with ranges; `cut` bytes after the start it hangs up, once."""

    def do_GET(self):
        s = self.server
        s.asked.append((self.path, self.headers["Range"]))
        if self.path not in s.files:
            return self.send_error(404)
        data, start = s.files[self.path], 0
        if self.headers["Range"] and s.ranges and self.headers["If-Range"] == s.mark:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                return self.end_headers()
        self.send_response(206 if start else 200)
        kind = "text/html; charset=utf-8" if data.startswith(b"<!") else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) - start))
        if s.mark:
            self.send_header("ETag", s.mark)
        if start:
            told = s.told or f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send_header("Content-Range", told)
        self.end_headers()
        cut, s.cut = s.cut, None
        self.wfile.write(data[start : start + cut if cut else None])

    def log_message(self, *_):
        pass


DATA = np.random.RandomState(0).bytes(50_000)


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.files, found.asked, found.cut, found.ranges = {"/x.bin": DATA}, [], None, True
        found.mark, found.told = '"first"', None
        thread = threading.Thread(target=partial(found.serve_forever, poll_interval=0.01))
        thread.start()
        found.url = f"http://127.0.0.1:{found.server_port}"
        yield found
        found.shutdown()
        thread.join()


def get(server, folder) -> bytes:
    D.fetch(server.url + "/x.bin", folder / "x.bin")
    assert [p.name for p in folder.iterdir()] == ["x.bin"]
    return (folder / "x.bin").read_bytes()


def test_a_download_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 20_000
    with pytest.raises(D.DataError, match="x.bin.part has 20000 of 50000 bytes: run it again"):
        get(server, tmp_path)
    assert not (tmp_path / "x.bin").exists()
    assert get(server, tmp_path) == DATA
    assert server.asked == [("/x.bin", None), ("/x.bin", "bytes=20000-")]


def test_a_part_is_gone_on_with_thrown_away_or_enough(server, tmp_path):
    def left(part: bytes):
        (tmp_path / "x.bin.part").write_bytes(part)
        (tmp_path / "x.bin.mark").write_text(json.dumps(server.mark))

    left(DATA)  # whole
    assert get(server, tmp_path) == DATA
    (tmp_path / "x.bin").unlink()
    left(DATA + b"more")
    with pytest.raises(D.DataError, match="answers 416"):
        get(server, tmp_path)
    assert get(server, tmp_path) == DATA
    left(b"old" * 1000)
    server.ranges = False  # a server that begins anew
    assert get(server, tmp_path) == DATA and server.asked[-1] == ("/x.bin", "bytes=3000-")


def test_a_part_of_another_file_is_not_gone_on_with(server, tmp_path):
    """The server has a new file, gives no mark, sends other bytes, or the part has no mark."""
    other = DATA[::-1]

    def stopped():
        server.files["/x.bin"], server.cut, server.mark, server.told = DATA, 20_000, '"first"', None
        (tmp_path / "x.bin").unlink(missing_ok=True)
        with pytest.raises(D.DataError, match="run it again, it goes on from there"):
            get(server, tmp_path)
        server.files["/x.bin"] = other

    stopped()
    server.mark = '"second"'
    assert get(server, tmp_path) == other
    stopped()
    (tmp_path / "x.bin.mark").unlink()
    assert get(server, tmp_path) == other
    for told in ("bytes 0-49999/50000", "bytes 20000-49999/60000", "nonsense", "bytes 19999-/*"):
        stopped()
        server.told = told
        with pytest.raises(D.DataError, match=f"sent {re.escape(told)} instead of the rest"):
            get(server, tmp_path)
        assert get(server, tmp_path) == other


def test_a_file_with_a_known_sum_is_that_file(server, tmp_path):
    known = hashlib.sha256(DATA).hexdigest()
    D.fetch(server.url + "/x.bin", tmp_path / "x.bin", known)
    server.files["/x.bin"] = DATA[:-1] + b"x"
    with pytest.raises(D.DataError, match="sent another file than the published one"):
        D.fetch(server.url + "/x.bin", tmp_path / "y.bin", known)
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]
    for sources in web.SOURCES.values():
        for file, url, _, *digest in sources:
            assert url.startswith("https://"), file
            assert not digest or re.fullmatch("[0-9a-f]{64}", *digest)
    assert sum(len(one) == 4 for one in web.SOURCES["coco-spatial"]) == 2


def test_what_has_no_published_sum_is_trusted_aloud_and_remembered(
    server, made, tmp_path, monkeypatch
):
    """Also over another download: what the publishers change later does not slip in."""
    archive, folder = packed(made, "zip"), tmp_path / "data"
    listing = (made / web.COCO[0]).read_bytes()
    server.files |= {"/list": listing, "/pictures": archive, "/boxes": archive}
    known = hashlib.sha256(archive).hexdigest()
    sources = [(file, f"{server.url}/{at}", kept, *sums) for (file, _, kept, *_), at, sums in zip(
        web.SOURCES["coco-spatial"], ("list", "pictures", "boxes"), ((), (known,), (known,)),
        strict=True)]  # fmt: skip
    digest = hashlib.sha256(listing).hexdigest()
    with pytest.warns(UserWarning) as told:
        first = D.download("coco-spatial", folder, sources)
    (words,) = [str(w.message) for w in told]
    assert words.startswith("coco_qa_two_obj.json is trusted as it came, since its publishers give")
    assert f"no sum: SHA-256 {digest}; later uses are compared with SHA256SUMS" in words
    assert f"{digest}  coco_qa_two_obj.json" in (folder / D.SUMS).read_text().splitlines()
    for seen, word in ((digest, "as another user had it"), ("0" * 64, f"where .* had {'0' * 64};")):
        monkeypatch.setitem(web.SEEN, web.COCO[0], seen)
        (folder / web.COCO[0]).unlink()
        with pytest.warns(UserWarning, match=f"no sum: SHA-256 {digest}, {word}"):
            assert D.download("coco-spatial", folder, sources) == first
    (folder / web.COCO[0]).unlink()
    server.files["/list"] = json.dumps(json.loads(listing)[1:]).encode()
    with pytest.warns(UserWarning), pytest.raises(D.DataError) as error:
        D.download("coco-spatial", folder, sources)
    assert "coco_qa_two_obj.json is not the file that was first used here" in str(error.value)
    assert set(web.SEEN) >= {file for name in ("whatsup-a", "whatsup-b")
                             for file, _, _, *sums in web.SOURCES[name] if not sums}  # fmt: skip


def test_a_server_that_sends_too_much_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "LARGEST", 40_000)
    with pytest.raises(D.DataError, match="50,000 bytes, more than any file of the data"):
        D.fetch(server.url + "/x.bin", tmp_path / "x.bin")
    for url in ("nonsense", "file:///etc/hostname\x00", server.url + "/x y"):
        with pytest.raises(D.DataError):
            D.fetch(url, tmp_path / "x.bin")
    assert not (tmp_path / "x.bin").exists()


def test_the_advice_about_a_bad_file_works(server, made, tmp_path):
    """Each file in turn is cut; what the error says is done, and the data set loads again."""
    sources, folder = offered(server, made, "coco-spatial", "zip"), tmp_path / "data"
    first = D.download("coco-spatial", folder, sources)
    for path in (folder / LIST, first[0].files[0], folder / BOXES):
        path.write_bytes(path.read_bytes()[:-90])
        with pytest.raises(D.DataError) as error:
            D.download("coco-spatial", folder, sources)
        told = re.search(
            r"delete (\S+) and call `photographs.download\('(.+)', '(.+)'\)`", str(error.value)
        )
        assert told[2] == "coco-spatial" and told[3] == str(folder)
        bad = Path(told[1])
        assert bad.is_relative_to(folder)
        shutil.rmtree(bad) if bad.is_dir() else bad.unlink()
        assert D.download("coco-spatial", folder, sources) == first


def test_what_is_not_the_file_is_refused(server, tmp_path):
    server.files["/page"] = b"<!DOCTYPE html>Too many users"
    with pytest.raises(D.DataError, match="sent a web page instead of x.json.*whatsup_vlms"):
        D.fetch(server.url + "/page", tmp_path / "x.json")
    with pytest.raises(D.DataError, match="answers 404"):
        D.fetch(server.url + "/nothing", tmp_path / "x.json")
    with pytest.raises(D.DataError, match="broke off"):
        D.fetch("http://127.0.0.1:9/x", tmp_path / "x.json")  # nobody listens there
    assert not list(tmp_path.iterdir())


def packed(folder, kind):
    """A folder's content as an archive."""
    buffer = io.BytesIO()
    zipped = kind == "zip"
    make = zipfile.ZipFile(buffer, "w") if zipped else tarfile.open(fileobj=buffer, mode="w:gz")
    with make as archive:
        for path in sorted(folder.rglob("*.*")):
            (archive.write if zipped else archive.add)(path, path.relative_to(folder))
    return buffer.getvalue()


def offered(server, made, name, kind):
    """The sources of a made data set on the server: lists as they are, what is packed as one."""
    archive = packed(made, kind)
    for file, _, kept, *_ in web.SOURCES[name]:
        server.files[f"/{file}"] = (made / file).read_bytes() if file == kept else archive
    return [(file, f"{server.url}/{file}", kept) for file, _, kept, *_ in web.SOURCES[name]]


@pytest.mark.parametrize("name, draw, kind", [
    ("coco-spatial", lambda f: D.drawn_coco(f, 4), "zip"), ("whatsup-a", D.drawn_whatsup, "tar"),
])  # fmt: skip
def test_a_data_set_is_fetched_unpacked_and_loaded_once(server, tmp_path, name, draw, kind):
    draw(tmp_path / "made")
    sources = offered(server, tmp_path / "made", name, kind)
    found = D.download(name, tmp_path / "data", sources)
    there = {p.relative_to(tmp_path / "data") for p in (tmp_path / "data").rglob("*.*")}
    made = {p.relative_to(tmp_path / "made") for p in (tmp_path / "made").rglob("*.*")}
    assert there == made  # no archive, no part, no folder for unpacking is left
    assert seen(found) == seen(web.LOADERS[name](tmp_path / "made"))
    asked = len(server.asked)
    assert asked == len(sources) and len(D.download(name, tmp_path / "data", sources)) == len(found)
    assert len(server.asked) == asked


def test_an_archive_that_holds_something_else_is_named(server, tmp_path):
    picture(tmp_path / "made" / "other" / "x.jpg")
    server.files["/a.zip"] = packed(tmp_path / "made", "zip")
    server.files["/b.tar.gz"] = packed(tmp_path / "made", "tar")[:-50]
    for file in ("a.zip", "b.tar.gz"):  # both are deleted, so that the next run fetches them
        sources = [(file, f"{server.url}/{file}", "val2017")]
        with pytest.raises(D.DataError, match=f"{file} is truncated or does not hold val2017"):
            D.download("coco-spatial", tmp_path / "data", sources)
        assert not list((tmp_path / "data").iterdir())
    with pytest.raises(ValueError, match="unknown data set 'coco'; known: whatsup-a"):
        D.download("coco", tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name, most", [("LARGEST", 1000), ("MOST", 3)])
def test_an_archive_unpacks_to_a_bounded_size(made, tmp_path, monkeypatch, kind, name, most):
    (tmp_path / "x").write_bytes(packed(made, kind))
    monkeypatch.setattr(web, name, most)
    with pytest.raises(D.DataError, match="it would unpack to"):
        D.download("coco-spatial", tmp_path, [("x", "nowhere", "val2017")])
    assert not list(tmp_path.iterdir())


def test_an_archive_writes_nowhere_else(server, tmp_path):
    def tar(*members):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, kind, target in members:
                one = tarfile.TarInfo(name)
                one.type, one.linkname, one.size = kind, target, 0
                archive.addfile(one)
        return buffer.getvalue()

    out = str(tmp_path / "out")
    for k, members in enumerate([
        [("../out", tarfile.REGTYPE, "")], [(out, tarfile.REGTYPE, "")],
        [("val2017", tarfile.SYMTYPE, str(tmp_path))],
        [("a", tarfile.SYMTYPE, ".."), ("a/../../out", tarfile.REGTYPE, "")],
        [("val2017", tarfile.LNKTYPE, "../../x")], [("val2017", tarfile.CHRTYPE, "")],
        [("val2017", tarfile.FIFOTYPE, "")],
    ]):  # fmt: skip
        server.files["/x"] = tar(*members)
        with pytest.raises(D.DataError, match="is truncated or does not hold val2017"):
            D.download("coco-spatial", tmp_path / f"data{k}", [("x", f"{server.url}/x", "val2017")])
        assert not Path(out).exists() and not list((tmp_path / f"data{k}").iterdir())


# --- stand-ins -------------------------------------------------------------------------


def test_the_drawn_questions_are_true_balanced_and_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        D.drawn_coco(tmp_path / name, 5, seed=3)  # rounded up to eight
    one, two = (D.coco_spatial(tmp_path / name) for name in ("one", "two"))
    assert seen(one) == seen(two)
    assert sorted(q.answer for q in one) == sorted(["left", "right", "above", "below"] * 2)
    for q in one:
        subject, other = ((b[:2] + b[2:]) / 2 for b in q.boxes_on((96, 96)))
        axis = int(q.answer in ("above", "below"))
        assert (subject[axis] < other[axis]) == (q.answer in ("left", "above"))


def test_the_drawn_whatsup_has_every_object_on_both_sides(tmp_path):
    D.drawn_whatsup(tmp_path, ("pot",))
    things = [name for name in drawing.OBJECTS if name != "pot"]
    questions = D.whatsup(tmp_path)
    assert [(q.subject, q.answer) for q in questions] == [
        (thing, side) for thing in things for side in ("left", "right")
    ]
    assert len(D.composites(tmp_path)) == len(things) * (len(things) - 1) * 2
