"""What nobody thought of: files and arguments changed at random, the same ones in every run.

Nothing but a ModelError, SetupError, DataError or ValueError with a sentence leaves the public
functions.  Where an argument is of another type than its annotation says, the tests' own type
checker speaks first, and that counts as well.
"""

import json
import shutil
import warnings
from collections import Counter

import numpy as np
import pytest
from held import held
from hostile import sent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from PIL import Image

import dualmech
import photographs
from dualmech import record, store
from dualmech.__main__ import main
from vlms import pictures
from vlms.families import ModelError
from vlms.machine import SetupError

COUNT = Counter()  # of the cases that were tried
ALLOWED = (ModelError, SetupError, photographs.DataError, ValueError)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["", 0, -1, 10**400, 1e308, "mini", "llama", "left", [[]], {}, {"a": {}}])
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def fuzz(times: int):
    """The same `times` cases in every run, with no clock."""
    return settings(
        max_examples=times, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def tried(function, *args, **how):
    """Call it: what it returns, or None for an error that a reader can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **how)
        except TypeCheckError:
            return None
        except ALLOWED as error:
            told = str(error)
            assert len(told.split()) >= 4 and "\n" not in told.strip() and len(told) < 2000, told
            return None


@st.composite
def changed(draw, document):
    """A JSON document of which one or two places hold something else, or nothing."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 2))):
        box = document
        while True:
            keys = list(box) if isinstance(box, dict) else list(range(len(box)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            deeper = isinstance(box[key], dict | list) and box[key]
            if deeper and draw(st.integers(0, 3)):
                box = box[key]
                continue
            if draw(st.booleans()):
                box[key] = draw(JSON)
            else:
                del box[key]
            break
    return document


# --- results --------------------------------------------------------------------------------


@fuzz(150)
@given(changed(sent()), st.booleans())
def test_a_changed_result(tmp_path_factory, one, whole):
    COUNT["a result with a place changed at random"] += 1
    path = tmp_path_factory.mktemp("x") / "strips.json"
    path.write_text(json.dumps(one if whole else one.get("provenance")))
    assert main(["check-result", str(path)]) in (0, 1)
    if (read := tried(record.read, path)) is not None:
        tried(record.check_sent, read, path)
        assert len(record.place(read).parts) == 2


@fuzz(60)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_result(tmp_path_factory, content):
    COUNT["random bytes as a result"] += 1
    path = tmp_path_factory.mktemp("x") / "strips.json"
    path.write_bytes(content)
    assert tried(record.read, path) is None


# --- checkpoints ------------------------------------------------------------------------------

FILES = ("config.json", "tokenizer_config.json", "processor_config.json", "tokenizer.json")


@pytest.fixture(scope="module")
def copied(checkpoint, tmp_path_factory):
    return shutil.copytree(checkpoint, tmp_path_factory.mktemp("fuzzed") / "model")


@fuzz(60)
@given(st.data(), st.sampled_from(FILES))
def test_a_changed_checkpoint(checkpoint, copied, data, name):
    """Loaded, if it can be, and then asked."""
    told = json.loads((checkpoint / name).read_text())
    (copied / name).write_text(json.dumps(data.draw(changed(told))))
    COUNT["a file of settings of a checkpoint with a place changed at random"] += 1
    vlm = tried(dualmech.load, copied, device="cpu")
    shutil.copy(checkpoint / name, copied / name)
    if vlm is not None:
        words = tried(vlm.answer, [Image.new("RGB", (96, 96))], ["What is left of the key?"])
        assert words is None or isinstance(words[0], str)


@fuzz(40)
@given(st.integers(0, 10**9), st.integers(0, 255), st.booleans())
def test_changed_bytes_of_the_weights(checkpoint, copied, at, byte, cut):
    """In the header, where they say what the rest is; or the file is cut."""
    COUNT["weights cut, or with a byte of their header changed"] += 1
    path = copied / "model.safetensors"
    raw = bytearray((checkpoint / path.name).read_bytes())
    head = int.from_bytes(raw[:8], "little") + 8
    if cut:
        raw = raw[: at % len(raw)]
    else:
        raw[at % head] = byte
    path.write_bytes(raw)
    tried(dualmech.load, copied, device="cpu")
    shutil.copy(checkpoint / path.name, path)


# --- pictures and questions -----------------------------------------------------------------

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16")
SHAPES = st.lists(st.integers(0, 130), max_size=4).map(tuple)
ARRAYS = st.builds(
    lambda shape, kind, value: np.full(shape, value).astype(kind),
    SHAPES, st.sampled_from(["u1", "u2", "i4", "f4", "f8", "?", "c8", "U3", "O"]),
    st.sampled_from([0, 1, 0.5, -1, 200]),
)  # fmt: skip
MADE = st.builds(
    lambda mode, wide, high: Image.new(mode, (wide, high)),
    st.sampled_from(MODES), st.sampled_from([0, 1, 2, 96, 97, 2000]),
    st.sampled_from([1, 3, 96, 200]),
)  # fmt: skip
PICTURES = st.lists(ARRAYS | MADE | st.none() | st.text(max_size=3), max_size=2)
QUESTIONS = st.lists(
    st.text(max_size=20) | st.sampled_from(["left key", "<image>", "<pad>", "left " * 5000]),
    max_size=2,
)


@fuzz(120)
@given(PICTURES, QUESTIONS, st.sampled_from(["pad", "crop", "stretch", "native", ""]),
       st.sampled_from([1, 64, 0, -1]))  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_any_picture_and_question(vlm, images, questions, fit, batch):
    COUNT["arrays, pictures and questions of all kinds in answer"] += 1
    said = tried(vlm.answer, images, questions, fit=fit, batch=batch)
    assert said is None or (len(said) == len(images) and all(isinstance(w, str) for w in said))


@fuzz(60)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]), st.integers(0, 10**6),
       st.binary(max_size=4), st.booleans())  # fmt: skip
def test_a_damaged_picture_file(tmp_path_factory, kind, at, put, cut):
    COUNT["a picture file cut or with bytes changed"] += 1
    path = tmp_path_factory.mktemp("x") / "picture"
    Image.effect_noise((40, 30), 50).convert("RGB").save(path, kind)
    raw = bytearray(path.read_bytes())
    at %= len(raw)
    raw[at : len(raw) if cut else at + len(put)] = put
    path.write_bytes(raw)
    image = tried(pictures.opened, path)
    if image is not None:
        tried(pictures.fitted, image, (96, 96))


# --- kept chunks --------------------------------------------------------------------------------


@fuzz(40)
@given(st.binary(max_size=300), st.integers(0, 2))
def test_any_bytes_in_the_store(vlm, tmp_path_factory, content, how):
    """As a whole, before or after what was kept: the numbers are those that were measured."""
    COUNT["random bytes in a kept part of a sweep"] += 1
    patch = pytest.MonkeyPatch()
    patch.setenv("DUALMECH_CACHE", str(tmp_path_factory.mktemp("cache")))

    def double(some):
        return {"twice": np.array(some)[None, None] * 2.0}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.swept(vlm, [1, 2], double, "double", (1,))
        (path,) = store.cache_dir().glob("*.npz")
        raw = path.read_bytes()
        path.write_bytes([content, content + raw, raw + content][how])
        found = store.swept(vlm, [1, 2], double, "double", (1,))
    patch.undo()
    assert found["twice"].tolist() == [[[2, 4]]]


# --- photographs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    photographs.drawn_coco(folder, 4)
    photographs.drawn_whatsup(folder, ("pot",))
    return folder


@fuzz(80)
@given(st.data(), st.sampled_from(["coco_qa_two_obj.json", "controlled_images_dataset.json",
                                   "annotations/instances_val2017.json"]))  # fmt: skip
def test_a_changed_list_of_photographs(drawn, data, name):
    path = drawn / name
    text = path.read_text()
    path.write_text(json.dumps(data.draw(changed(json.loads(text)))))
    COUNT["a list of photographs or boxes with a place changed at random"] += 1
    (drawn / photographs.SUMS).unlink(missing_ok=True)
    loaders = (photographs.coco_spatial,) if "coco" in name or "inst" in name else (
        photographs.whatsup, photographs.composites)  # fmt: skip
    for load in loaders:
        for question in (tried(load, drawn) or [])[:2]:
            if (pixels := tried(question.image, (96, 96))) is not None:
                assert pixels.size == (96, 96)
            tried(photographs.trials, [question], (96, 96))
    path.write_text(text)


def test_the_cases_are_as_many_as_the_page_says():
    """Of those that ran just now."""
    for what, times in COUNT.items():
        again = "kept part" in what
        held("random", what, times, "measured again, the same numbers" if again
             else "a result, or an error with a sentence")  # fmt: skip
