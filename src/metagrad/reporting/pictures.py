"""PNG files inside the page: checked to be whole, and written as data: addresses."""

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from metagrad.opening import read_bytes

LARGEST = 8 * 2**20
"""Bytes of a file that is still put into the page."""


@dataclass(frozen=True)
class Picture:
    """An image.

    Args:
        name: of its file.
        source: a data: address.
        width: pixels.
        height: pixels.
        caption: what it is.
        alternative: what it shows, for those who do not see it.
        command: id of the command that makes it.
    """

    name: str
    source: str
    width: int
    height: int
    caption: str
    alternative: str
    command: str | None = None


def picture(path: Path, caption: str, alternative: str, command: str | None = None) -> Picture:
    """The PNG file as a picture.

    Raises:
        ValueError: it is damaged or something else.
        OSError: it is missing, no regular file, or too large for a page.
    """
    data = read_bytes(path, LARGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                width, height = image.size
                image.verify()  # checksums of all chunks
    # Pillow has no error class of its own: a cut file, a flipped byte and a foreign file each raise another.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"is damaged or no PNG picture ({error})") from error
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return Picture(path.name, source, width, height, caption, alternative, command)
