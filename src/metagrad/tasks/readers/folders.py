"""Folders of images, one folder for each class."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from metagrad.tasks.cache import ClassImages
from metagrad.tasks.readers.found import Found, all_parts
from metagrad.tasks.readers.image_files import is_image, read_image

PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "validation", "valid"),
    "test": ("test",),
}
"""What the folders of the meta-sets are called."""

_VERSION = "class folders LANCZOS 1"  # change it whenever the same files give other arrays


def find_class_folders(directory: Path, name: str, side: int, classes: Sequence[str] | None = None) -> Found | None:
    """Folders of images in a directory, each a class of that name, its images in the order of their file names.

    Images are brought to side × side pixels (`decode_image`). Hidden folders, and files that are no images, are left
    out. None where no folder has an image, or where one of `classes` has no folder.

    Args:
        directory: holds the folders.
        name: of the cache file.
        side: height and width of the decoded images, in pixels.
        classes: the folders to read; None for all that have images.
    """
    if not directory.is_dir():
        return None
    if classes is None:
        classes = sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and entry.name[0] != ".")
    elif not all((directory / one).is_dir() for one in classes):
        return None
    files = {one: paths for one in classes if (paths := _images(directory / one))}
    if not files:
        return None
    made_from = "\n".join(f"{one}/{path.name} {state}" for one, paths in files.items() for path, state in paths.items())
    return Found(name, directory, f"{_VERSION} {side}\n{made_from}", lambda: _classes(files, side))


def find_divided_folders(directory: Path, name: str, side: int) -> tuple[Found, ...] | None:
    """Class folders in folders `train`, `val` (or `validation`, `valid`) and `test`; None where no `train` has any.

    Raises:
        ValueError: there is one of them, and not all.
    """
    found = [
        next((f for folder in called if (f := find_class_folders(directory / folder, f"{name}-{part}", side))), None)
        for part, called in PARTS.items()
    ]
    folders = [f"a folder {' or '.join(called)} with class folders" for called in PARTS.values()]
    return all_parts(directory, folders, found) if found[0] else None


def _images(folder: Path) -> Mapping[Path, str]:
    """Image files of a folder, in order, with sizes and times of change."""
    with os.scandir(folder) as entries:
        states = {Path(entry.path): entry.stat() for entry in entries if is_image(Path(entry.name)) and entry.is_file()}
    return {path: f"{states[path].st_size} {states[path].st_mtime_ns}" for path in sorted(states)}


def _classes(files: Mapping[str, Mapping[Path, str]], side: int) -> Iterator[ClassImages]:
    for one, paths in files.items():
        yield ClassImages(one, np.stack([read_image(path, side) for path in paths]))
