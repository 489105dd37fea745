"""Image files on the disk as RGB pixels of one size."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from metagrad.tasks.readers.found import Pixels

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm"})
"""Endings of the files that count as images, in small or capital letters."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")

# What damaged bytes raise in Pillow (SyntaxError is its own for a broken PNG).
_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)


def read_image(path: Path, side: int) -> Pixels:
    """An image file as uint8 [3, side, side]; as `decode_image`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the image {path} cannot be read ({error}); get it again") from error
    return decode_image(data, side, str(path))


def decode_image(data: bytes, side: int, name: str) -> Pixels:
    """An encoded image as uint8 [3, side, side], as `resized` gives it.

    Raises:
        ValueError: the bytes are damaged, or no image; `name` says where they came from.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            image.load()
            return resized(image, side)
    except _DAMAGE as error:
        raise ValueError(f"the image {name} cannot be read ({' '.join(str(error).split())}); get it again") from error


def resized(image: Image.Image, side: int) -> Pixels:
    """An image as uint8 [3, side, side], red first; grey becomes RGB, transparency is dropped.

    An image of another size is brought to this one with Pillow's LANCZOS filter, whatever its proportions.
    """
    colour = image.convert("RGB")
    if colour.size != (side, side):
        colour = colour.resize((side, side), Image.Resampling.LANCZOS)
    return np.moveaxis(np.asarray(colour), -1, 0)


def is_image(path: Path) -> bool:
    """Whether the file's name ends as an image's does, and is not hidden."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")
