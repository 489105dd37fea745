"""Folders of images, one folder for each class."""

import contextlib
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from metagrad.data.cache import ClassImages
from metagrad.data.readers.image_files import ENDINGS, is_image, read_image
from metagrad.data.readers.undecoded import Undecoded, all_parts
from metagrad.foreign import printable, reason

PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "validation", "valid"),
    "test": ("test",),
}
"""What the folders of the meta-sets are called."""

_LOG = logging.getLogger(__name__)

_VERSION = "class folders LANCZOS 2"  # change it whenever the same files give other arrays


def find_class_folders(directory: Path, name: str, side: int, classes: Sequence[str] | None = None) -> Undecoded | None:
    """Folders of images in a directory, each a class of that name, its images in the order of their file names.

    Images are brought to side × side pixels (`decode_image`). What is neither hidden nor an image file is left out, and
    so are folders without images; a note in the log counts them. None where no folder has an image, or where one of
    `classes` has no folder.

    Args:
        directory: holds the folders.
        name: of the cache file.
        side: height and width of the decoded images, in pixels.
        classes: the folders to read; None for all that have images.

    Raises:
        ValueError: a folder cannot be listed.
    """
    if not directory.is_dir():
        return None
    left_out: Counter[str] = Counter()
    if classes is None:
        statuses = _statuses(directory)
        classes = [path.name for path, status in statuses.items() if status and stat.S_ISDIR(status.st_mode)]
        left_out["files outside of folders"] += len(statuses) - len(classes)
    elif not all((directory / one).is_dir() for one in classes):
        return None
    files = {one: paths for one in classes if (paths := _images(directory / one, left_out))}
    if not files:
        return None
    left_out["folders without images"] += len(classes) - len(files)
    if +left_out:
        kinds = ", ".join(f"{printable(kind, 40)} {count}" for kind, count in (+left_out).most_common(5))
        _LOG.warning("%s: left out what is no %s file: %s", directory, ", ".join(sorted(ENDINGS)), kinds)
    made_from = "\n".join(f"{one}/{path.name} {state}" for one, paths in files.items() for path, state in paths.items())
    return Undecoded(name, directory, f"{_VERSION} {side}\n{made_from}", lambda: _classes(files, side))


def find_divided_folders(directory: Path, name: str, side: int) -> tuple[Undecoded, ...] | None:
    """Class folders in folders `train`, `val` (or `validation`, `valid`) and `test`; None where no `train` has any.

    Raises:
        ValueError: there is one of them, and not all.
    """
    parts = [
        next((f for folder in called if (f := find_class_folders(directory / folder, f"{name}-{part}", side))), None)
        for part, called in PARTS.items()
    ]
    folders = [f"a folder {' or '.join(called)} with class folders" for called in PARTS.values()]
    return all_parts(directory, folders, parts) if parts[0] else None


def _statuses(folder: Path) -> Mapping[Path, os.stat_result | None]:
    """What a folder holds and does not hide, in order; None for a link to nothing or to itself."""
    try:
        with os.scandir(folder) as entries:
            paths = sorted(Path(entry.path) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be read ({reason(error)})") from error
    statuses: dict[Path, os.stat_result | None] = dict.fromkeys(paths)
    for path in paths:
        with contextlib.suppress(OSError):
            statuses[path] = path.stat()
    return statuses


def _images(folder: Path, left_out: Counter[str]) -> Mapping[Path, str]:
    """Image files of a folder, in order, with sizes and times of change; what else it has is counted by its kind."""
    states: dict[Path, str] = {}
    for path, status in _statuses(folder).items():
        if status is None or not stat.S_ISREG(status.st_mode):
            left_out["folders, pipes or dead links in classes"] += 1
        elif not is_image(path):
            left_out[path.suffix.lower() or "files without an ending"] += 1
        else:
            states[path] = f"{status.st_size} {status.st_mtime_ns}"
    return states


def _classes(files: Mapping[str, Mapping[Path, str]], side: int) -> Iterator[ClassImages]:
    for one, paths in files.items():
        yield ClassImages(one, np.stack([read_image(path, side) for path in paths]))
