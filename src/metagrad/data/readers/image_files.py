"""Image files on the disk as RGB pixels of one size."""

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from metagrad.data.readers.colours import DAMAGE, MOST_PIXELS, UnsuitableError, as_rgb, check_size
from metagrad.data.readers.files import contents
from metagrad.data.readers.undecoded import Pixels
from metagrad.foreign import reason

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm"})
"""Endings of the files that count as images, in small or capital letters."""

LARGEST = 2**28
"""Bytes of the largest image file that is read (256 MiB)."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")


def read_image(path: Path, side: int) -> Pixels:
    """An image file as uint8 [3, side, side]; as `decode_image`.

    Raises:
        ValueError: as `decode_image` and `opened`.
    """
    return decode_image(contents(path, LARGEST), side, str(path))


def decode_image(data: bytes, side: int, name: str) -> Pixels:
    """An encoded image as uint8 [3, side, side], as `resized` gives it.

    Raises:
        ValueError: the bytes are damaged, or no image, or one that RGB of 8 bits cannot hold; `name` says where they
            came from.
    """
    with decoding(f"the image {name}", "get it again"), open_image(data, _FORMATS) as image:
        return resized(image, side)


def open_image(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """An encoded image, not decoded yet, and no larger than `MOST_PIXELS`; errors are for `decoding`."""
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnsuitableError(f"has more than {MOST_PIXELS:,} pixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise OSError(f"it is no {', '.join(formats)} file") from error
    check_size(image)
    return image


@contextmanager
def decoding(name: str, way_out: str) -> Generator[None]:
    """Errors of opening and decoding an image as one sentence.

    Args:
        name: of the image.
        way_out: what to do where it is damaged.

    Raises:
        ValueError: the image is damaged, or `as_rgb` refuses it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damage that it can read around
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UnsuitableError as error:
        raise ValueError(f"{name} {error}") from error
    except DAMAGE as error:
        raise ValueError(f"{name} cannot be read ({reason(error)}); {way_out}") from error


def resized(image: Image.Image, side: int) -> Pixels:
    """An image as uint8 [3, side, side], red first, as `as_rgb` gives it.

    An image of another size is brought to this one with Pillow's LANCZOS filter, whatever its proportions.

    Raises:
        UnsuitableError: as `as_rgb`.
    """
    colour = as_rgb(image)
    if colour.size != (side, side):
        colour = colour.resize((side, side), Image.Resampling.LANCZOS)
    return np.moveaxis(np.asarray(colour), -1, 0)


def is_image(path: Path) -> bool:
    """Whether the file's name ends as an image's does, and is not hidden."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")
