"""Pictures of one's own: what a viewer shows, and what a model is shown, pixel by pixel."""

import io
from dataclasses import replace

import numpy as np
import pytest
from held import held
from PIL import Image, ImageOps

from vlms import families, pictures
from vlms.families import ModelError

RED, BLUE = (255, 0, 0), (0, 0, 255)
KINDS = ("JPEG", "PNG", "WEBP", "TIFF")
# Where the red half of a picture with a red left half is seen, by its EXIF orientation.
SEEN = {1: "left", 2: "right", 3: "right", 4: "left", 5: "above", 6: "above", 7: "below",
        8: "below"}  # fmt: skip


def halves(size=(40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    return image


def stored(image: Image.Image, kind: str, **how) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    buffer.seek(0)
    return buffer


def side(image: Image.Image) -> str:
    """On which side the red half is."""
    pixels = np.asarray(image).astype(int)
    more = pixels[..., 0] - pixels[..., 2]
    right, below = more[:, more.shape[1] // 2 :].mean(), more[more.shape[0] // 2 :].mean()
    if abs(right) > abs(below):
        return "right" if right > 0 else "left"
    return "below" if below > 0 else "above"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("orientation", "seen"), SEEN.items())
def test_a_photograph_is_seen_as_a_viewer_shows_it(tmp_path, kind, orientation, seen):
    exif = Image.Exif()
    exif[0x0112] = orientation
    halves().save(tmp_path / "picture", kind, exif=exif)
    opened = pictures.opened(tmp_path / "picture")
    shown = pictures.upright(opened)
    assert shown.size == ((40, 20) if orientation < 5 else (20, 40))
    assert side(shown) == seen == side(ImageOps.exif_transpose(opened))
    for fit in pictures.FITS:
        assert side(pictures.fitted(opened, (96, 96), fit)) == seen


def test_transparency_lies_over_white():
    for mode, clear, solid in (("RGBA", (0, 0, 0, 0), (9, 8, 7, 255)), ("LA", (0, 0), (9, 255))):
        shown = pictures.upright(Image.new(mode, (2, 2), clear))
        assert (np.asarray(shown) == 255).all()
        assert pictures.upright(Image.new(mode, (1, 1), solid)).getpixel((0, 0))[0] == 9
    half = pictures.upright(Image.new("RGBA", (1, 1), (0, 0, 0, 128))).getpixel((0, 0))
    assert half == (127, 127, 127)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    shown = pictures.upright(Image.open(stored(palette, "PNG", transparency=0)))
    assert np.asarray(shown).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_sixteen_bits_and_floats_become_eight():
    wide = np.array([[0, 128, 257], [32896, 65278, 65535]], np.uint16)
    eight = [[0, 0, 1], [128, 254, 255]]
    for array in (wide, wide.astype(">u2")):
        assert np.asarray(pictures.upright(array))[..., 0].tolist() == eight
    for image in (Image.fromarray(wide), Image.open(stored(Image.fromarray(wide), "PNG"))):
        assert np.asarray(pictures.upright(image))[..., 0].tolist() == eight
    dark = np.full((2, 2), 200, np.uint16)  # nearly black, in whatever it is kept
    assert {pictures.upright(x).getpixel((0, 0)) for x in (dark, Image.fromarray(dark))} == {
        (1, 1, 1)
    }
    floats = np.array([[0, 0.5, 1.0]])
    for array in (floats, floats.astype("f4"), floats.astype("f2")):
        assert np.asarray(pictures.upright(array))[..., 1].tolist() == [[0, 128, 255]]


def test_of_a_moving_picture_the_first_frame_is_seen():
    frames = [halves(), ImageOps.mirror(halves())]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        image = Image.open(stored(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert image.n_frames == 2 and side(pictures.upright(image)) == "left", kind


def test_fits_by_hand():
    wide = halves((192, 96))
    pad, crop, stretch = (np.asarray(pictures.fitted(wide, (96, 96), f)) for f in pictures.FITS)
    assert (pad[:24] == 255).all() and (pad[72:] == 255).all()
    assert (pad[24:72, :47] == RED).all() and (pad[24:72, 49:] == BLUE).all()
    for other in (crop, stretch):
        assert (other[:, :46] == RED).all() and (other[:, 50:] == BLUE).all()
    middle = Image.new("RGB", (288, 96), "white")
    middle.paste(halves((96, 96)), (96, 0))
    assert (np.asarray(pictures.fitted(middle, (96, 96), "crop")) == halves((96, 96))).all()
    with pytest.raises(ModelError, match="fit is one of pad, crop, stretch, not 'zoom'"):
        pictures.fitted(wide, (96, 96), "zoom")


def test_any_picture_is_answered_and_none_of_a_wrong_size_is_prepared(vlm):
    question = "The object above the key is a(n) "
    for fit in pictures.FITS:
        shown = pictures.fitted(halves(), vlm.canvas, fit)
        assert vlm.answer([halves()], [question], fit=fit) == vlm.answer([shown], [question])
    with pytest.raises(ModelError, match="takes images of 96 x 96 pixels or an exact multiple"):
        vlm.prepare([halves()], [question])
    with pytest.raises(ModelError, match="models have one canvas: use fit='pad', 'crop' or"):
        vlm.answer([halves()], [question], fit="native")
    free = replace(vlm, family=replace(vlm.family, native=True))
    assert free.native(halves((100, 50))).grid == (6, 12)
    assert families.FAMILIES["qwen2_vl"].native and free.native(halves((8, 8000))).grid == (1000, 1)


# --- odd ones --------------------------------------------------------------------------------


def with_info(**info) -> Image.Image:
    image = halves()
    image.info |= info
    return image


def closed() -> Image.Image:
    image = Image.open(stored(halves(), "PNG"))
    image.close()
    return image


def cut(kind: str) -> Image.Image:
    raw = stored(Image.effect_noise((90, 90), 90).convert("RGB"), kind).getvalue()
    return Image.open(io.BytesIO(raw[: len(raw) // 2]))


ZERO = np.zeros((4, 4, 3), np.uint8)
# What is shown of a picture that few people have, as the colour of its first pixel, or the error.
ODD = {
    "one pixel": (Image.new("RGB", (1, 1), RED), RED),
    "bilevel": (Image.new("1", (4, 4), 1), (255, 255, 255)),
    "CMYK": (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), RED),
    "a CMYK JPEG": (Image.open(stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")),
                    RED),
    "YCbCr": (halves().convert("YCbCr"), RED),
    "HSV": (halves().convert("HSV"), RED),
    "premultiplied": (Image.new("RGBA", (4, 4), (*RED, 255)).convert("RGBa"), RED),
    "grey, premultiplied": (Image.new("LA", (4, 4), (7, 255)).convert("La"), "cannot be read"),
    "with a colour profile": (with_info(icc_profile=b"no profile"), RED),
    "turned by an unknown number": (Image.open(stored(halves(), "PNG", exif=b"II*\0\x08\0\0\0\x01"
                                    b"\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0")), RED),
    "damaged EXIF data": (with_info(exif=b"Exif\0\0nonsense"), "cannot be read"),
    "damaged transparency": (with_info(transparency=b"xx"), "cannot be read"),
    "closed": (closed(), "cannot be read"),
    "a cut PNG": (cut("PNG"), "cannot be read"),
    "a cut JPEG": (cut("JPEG"), "cannot be read"),
    "a cut TIFF": (cut("TIFF"), "cannot be read"),
    "no pixels": (Image.new("RGB", (0, 9)), "has no pixels"),
    "grey floats that are no numbers": (Image.fromarray(np.full((4, 4), np.nan, "f4")),
                                        "from 0 to 65535"),
    "grey floats below zero": (Image.fromarray(np.full((4, 4), -1, "f4")), "from 0 to 65535"),
    "a depth map of 32 bits": (Image.fromarray(np.full((4, 4), 10**6, "i4")), "from 0 to 65535"),
    "an array of floats in 0..255": (np.full((4, 4, 3), 200.0), "numbers from 0 to 1"),
    "an array of infinities": (np.full((4, 4, 3), np.inf), "numbers from 0 to 1"),
    "an array of true and false": (np.ones((4, 4), bool), "uint8, uint16 or floats, got bool"),
    "an array of int64": (np.ones((4, 4), int), "uint8, uint16 or floats, got int64"),
    "an array of words": (np.full((4, 4), "x"), "uint8, uint16 or floats, got <U1"),
    "an array of objects": (np.full((4, 4), None), "uint8, uint16 or floats, got object"),
    "an array without pixels": (ZERO[:0], "got (0, 4, 3)"),
    "an array in one dimension": (ZERO[0, 0], "got (3,)"),
    "an array of one channel": (np.zeros((9, 8, 1), np.uint8), "got (9, 8, 1)"),
    "an array with channels first": (np.zeros((3, 9, 8), np.uint8), "channels first"),
    "an array of pictures": (ZERO[None], "got (1, 4, 4, 3)"),
    "a masked array": (np.ma.masked_less(ZERO, 1), "masked pixels"),
    "an array with a mask of nothing": (np.ma.masked_less(ZERO, 0), (0, 0, 0)),
    "an array seen from behind": ((np.arange(48, dtype=np.uint8).reshape(4, 4, 3))[::-1, ::-1],
                                  (45, 46, 47)),
    "a list of lists": ([[0, 0], [0, 0]], "expected a PIL image or an array (H, W, 3), got list"),
    "a path": ("picture.png", "expected a PIL image or an array (H, W, 3), got str"),
    "nothing": (None, "expected a PIL image or an array (H, W, 3), got NoneType"),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_an_odd_picture_is_seen_or_told(what, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as readers run it
    picture, wanted = ODD[what]
    if isinstance(wanted, tuple):
        found = pictures.upright(picture).getpixel((0, 0))
        assert np.abs(np.subtract(found, wanted)).max() <= 1, found  # JPEG and YCbCr round
        return
    with pytest.raises(ModelError) as error:
        pictures.upright(picture)
    told = str(error.value)
    assert wanted in told and len(told.split()) > 4 and "\n" not in told


def test_odd_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    loop, folder = tmp_path / "loop.png", tmp_path / "folder.png"
    loop.symlink_to(loop)
    folder.mkdir()
    heic = tmp_path / "phone.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    odd = [loop, folder, "x" * 5000, "a\0b.png", b"bytes.png", None, "\ud800.png", heic]
    for path in odd:
        words = "is not an image that can be read" if path == heic else "no image at"
        with pytest.raises(ModelError, match=words):
            pictures.opened(path)
    held("odd", "photographs turned and mirrored, odd pictures, arrays and paths",
         len(ODD) + len(odd) + len(KINDS) * len(SEEN),
         "shown as a viewer shows it, or an error with a sentence")  # fmt: skip


@pytest.mark.parametrize(
    ("images", "questions"),
    [((i for i in [halves()]), ["key"]), ([halves()], iter(["key"])), ([halves()], [None]),
     ([halves()], [5]), ([halves()], [b"key"]), (None, ["key"]), (halves(), "key"), (5, 5)],
)  # fmt: skip
def test_odd_lists_are_told(vlm, monkeypatch, images, questions):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    for do in (vlm.answer, vlm.prepare, vlm.describe):
        with pytest.raises(ModelError, match="^give a list of images and a list of questions"):
            do(images, questions)
