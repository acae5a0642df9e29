"""Pictures of your own, made fit for a model: upright, in RGB, on its canvas (1 and 11)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .families import ModelError

FITS = ("pad", "crop", "stretch")
# Of Pillow's formats those that only hold pixels: others start programs or read further files.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def opened(path: Path | str) -> Image.Image:
    """A picture from a file, read whole.

    Raises ModelError for a file that is missing, cut, of another kind than FORMATS, or so large
    (Pillow's limit, about 89 million pixels) that it would fill the memory.
    """
    try:
        there = Path(path).is_file()
    except (OSError, TypeError):  # a name that is too long, or no name at all
        there = False
    if not there:
        raise ModelError(f"no image at {path}: check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
            image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ModelError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller"
        ) from None
    except Exception as error:  # a decoder may stumble in its own way
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{path} is not an image that can be read ({why}): use {', '.join(FORMATS[:3])} or "
            "another common format"
        ) from None
    return image


def upright(picture) -> Image.Image:
    """A PIL image or an array as 8-bit RGB, as a viewer shows it.

    Turned as its EXIF data say; transparency over white; 16 bits and floats scaled to 8; of a
    moving picture the frame it stands at, the first.  Colour profiles are not applied, as in the
    models' own processors.  Arrays are (H, W), (H, W, 3) or (H, W, 4), uint8, uint16 or floats in
    [0, 1].  Raises ModelError for anything else.
    """
    if isinstance(picture, np.ndarray):
        picture = _from_array(picture)
    if not isinstance(picture, Image.Image):
        found = type(picture).__name__
        raise ModelError(f"expected a PIL image or an array (H, W, 3), got {found}")
    if not min(picture.size):
        raise ModelError("the picture has no pixels: open another one")
    try:
        return _rgb(ImageOps.exif_transpose(picture))
    except ModelError:
        raise
    except Exception as error:  # pixels that are read only now, damaged EXIF data, odd modes
        raise ModelError(f"the picture cannot be read ({error}): save it again as PNG") from None


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        grey = np.asarray(picture, dtype=float)
        if not (np.isfinite(grey).all() and 0 <= grey.min() and grey.max() <= 65535):
            raise ModelError("a grey picture holds numbers from 0 to 65535, and this one does not")
        most = 255.0 if grey.max() < 256 and ";" not in picture.mode else 65535.0
        most = 1.0 if picture.mode == "F" and grey.max() <= 1 else most
        return Image.fromarray((grey * (255 / most) + 0.5).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return picture.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (3, 4):
        raise ModelError(
            f"an array of shape {array.shape} has its channels first: give (height, width, 3), "
            "for example `array.transpose(1, 2, 0)`"
        )
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ModelError(f"expected an array (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    if np.ma.is_masked(array):
        raise ModelError("the array has masked pixels: say what is there, with `array.filled(0)`")
    array = np.asarray(array)
    if array.dtype.kind == "u" and array.itemsize == 2:  # in either order of bytes
        array = (array / 257 + 0.5).astype(np.uint8)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and 0 <= array.min() and array.max() <= 1):
            raise ModelError("an array of floats holds numbers from 0 to 1, and this one does not")
        array = (array * 255 + 0.5).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ModelError(f"expected an array of uint8, uint16 or floats, got {array.dtype}")
    return Image.fromarray(array)


def fitted(picture, canvas: tuple[int, int], fit: str = "pad") -> Image.Image:
    """A picture as RGB on a canvas (height, width).

    fit: "pad" with white to its shape, "crop" the middle, or "stretch".  One that has the canvas'
    size, or an exact multiple of it, is only averaged down.  Raises ModelError for another fit.
    """
    if fit not in FITS:
        raise ModelError(f"fit is one of {', '.join(FITS)}, not {fit!r}")
    picture, size = upright(picture), canvas[::-1]
    factor = max(1, picture.height // canvas[0])
    if picture.size == (size[0] * factor, size[1] * factor):
        return picture.reduce(factor) if factor > 1 else picture
    if fit == "pad":
        return padded(picture, size, "white")
    if fit == "crop":
        return ImageOps.fit(picture, size, Image.Resampling.BICUBIC)
    return picture.resize(size, Image.Resampling.BICUBIC)


def padded(picture: Image.Image, size: tuple[int, int], color) -> Image.Image:
    """A picture whole and in its shape in the middle of (width, height), the rest in one colour.

    Raises ModelError for one that is so thin that nothing of it would be left.
    """
    if max(picture.size) > min(picture.size) * min(size):
        raise ModelError(
            f"a picture of {picture.width} x {picture.height} pixels is too thin to be seen on "
            f"{size[0]} x {size[1]}: crop it, or ask with fit='crop' or 'stretch'"
        )
    return ImageOps.pad(picture, size, Image.Resampling.BICUBIC, color=color)
