"""Images of any mode as RGB of 8 bits: right, or refused where that would lose what the file holds."""

import contextlib
import struct
import zlib

import numpy as np
from PIL import Image

DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, struct.error, zlib.error),
)
"""What damaged bytes raise in Pillow (SyntaxError is its own for a broken PNG)."""

MOST_PIXELS = 2**26
"""Pixels of the largest image that is decoded; 67 million take 256 MiB."""

_EXACT = frozenset({"1", "L", "RGB"})
_CLEAR = frozenset({"LA", "PA", "RGBA"})  # with transparency
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})  # grey of 16 bits, if it comes from a file that says so
_DEEP_FILES = frozenset({"PNG", "PPM", "TIFF"})

_TRANSPARENT = "has transparent pixels, which have no colour; put a background behind them"

_ORIENTATION = 0x0112  # of EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnsuitableError(ValueError):
    """A sound image that RGB of 8 bits cannot hold; the message goes on after its name, and says what to do."""


def as_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB, turned as its EXIF data say.

    Grey, one-bit and palette images, and opaque ones with an alpha channel, keep their values. Grey of 16 bits is
    v/257, rounded. CMYK becomes R = (255 − C)(255 − K)/255 and so on, as Pillow has it, without a colour profile.

    Raises:
        UnsuitableError: it is too large, has several pictures or transparent pixels, or does not say what is white.
    """
    check_size(image)
    if image.format != "MPO" and getattr(image, "is_animated", False):  # those of cameras begin with the photograph
        raise UnsuitableError("has several pictures; keep one of them")
    return _upright(_in_rgb(image), image)


def check_size(image: Image.Image) -> None:
    """Refuse an image of more than `MOST_PIXELS` before it is decoded.

    Raises:
        UnsuitableError: it is larger.
    """
    if image.width * image.height > MOST_PIXELS:
        raise UnsuitableError(f"has {image.width}×{image.height} pixels, more than {MOST_PIXELS:,}; make it smaller")


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _CLEAR or (image.mode in ("P", *_EXACT) and "transparency" in image.info):
        clear = image.convert("RGBA")
        if clear.getextrema()[-1] != (255, 255):
            raise UnsuitableError(_TRANSPARENT)
        return clear.convert("RGB")
    if image.mode in _DEEP and image.format in _DEEP_FILES:
        return _of_deep(image).convert("RGB")
    if image.mode == "RGB":
        return image
    if image.mode in ("P", "CMYK", *_EXACT):
        return image.convert("RGB")
    raise UnsuitableError(f"has Pillow's mode {image.mode}, which does not say what is white; convert it to RGB")


def _of_deep(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 2**16 - 1:
        raise UnsuitableError("has grey values outside 0 to 65535; bring them to 0 to 255")
    if (values == image.info.get("transparency", -1)).any():
        raise UnsuitableError(_TRANSPARENT)
    rounded = values.astype(np.uint32)
    rounded += 128
    rounded //= 257
    return Image.fromarray(rounded.astype(np.uint8))


def _upright(colour: Image.Image, image: Image.Image) -> Image.Image:
    orientation = 1
    with contextlib.suppress(*DAMAGE):  # damaged EXIF data say nothing about the pixels
        orientation = image.getexif().get(_ORIENTATION, 1)
    turn = _UPRIGHT.get(orientation)
    return colour if turn is None else colour.transpose(turn)
