"""A user's own images: folders of class folders."""

import hashlib
import os
from pathlib import Path

from metagrad import checks
from metagrad.data.pools import MetaSplit
from metagrad.data.readers.folders import find_divided_folders
from metagrad.data.readers.undecoded import pool_of


def load_folder(directory: str | os.PathLike[str], size: int, cache: str | os.PathLike[str] | None = None) -> MetaSplit:
    """Pools of RGB images, uint8 [3, size, size], from files DIRECTORY/train/CLASS/IMAGE, and so for val and test.

    The first call decodes the files into cache files; later calls map those into memory, after looking at the size and
    time of every image file.

    Args:
        directory: holds folders `train`, `val` (or `validation`, `valid`) and `test`, each with one folder of images
            (png, jpg, bmp, webp, gif, ppm) for each of its classes.
        size: height and width to which images are brought, in pixels, with Pillow's LANCZOS filter.
        cache: directory of the cache files; None for `default_cache()`.

    Raises:
        TypeError: `size` is not an integer.
        ValueError: `size` is below 1, a folder is missing, an image is damaged, or a class is in two sets.

    Warns:
        UserWarning: a cache file is damaged, and made anew; or it cannot be written, and the next call decodes again.
    """
    checks.integer("size", size, least=1)
    place = Path(directory)
    # One file for each folder, so that experiments on different ones do not replace each other's.
    name = f"folder-{hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16]}-{size}"
    parts = find_divided_folders(place, name, size)
    if parts is None:
        raise ValueError(
            f"{directory} holds no folders train, val and test with a folder of images for each class; arrange the "
            "images so"
        )
    return MetaSplit.disjoint(*(pool_of(part, cache) for part in parts))
