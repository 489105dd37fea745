"""Images found on the disk and not decoded yet: what all readers of files give, and the way from there to a pool."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from metagrad.data.cache import LAYOUT, ClassImages, cached, default_cache
from metagrad.data.pools import ClassPool

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Undecoded:
    """Labelled images in files, not decoded yet.

    Args:
        name: of the cache file, without its ending; files of other forms and parts have other names.
        path: the file or folder, for messages.
        made_from: describes everything that the decoded images depend on.
        decode: gives the classes one after the other, images uint8 [n, C, H, W]; ValueError where a file is damaged.
    """

    name: str
    path: Path
    made_from: str
    decode: Callable[[], Iterator[ClassImages]]


def pool_of(images: Undecoded, cache: str | os.PathLike[str] | None) -> ClassPool:
    """The pool of all classes found: decoded on the first call, mapped from the cache file ever after.

    Args:
        images: what a reader found.
        cache: directory of the cache file; None for `default_cache()`.

    Raises:
        ValueError: a file is damaged.

    Warns:
        UserWarning: as `cached`.
    """
    directory = default_cache() if cache is None else Path(cache)
    decoded = cached(directory / f"{images.name}.{LAYOUT}.cache", images.made_from, images.decode)
    labels = torch.arange(len(decoded.names)).repeat_interleave(torch.tensor(decoded.counts))
    return ClassPool(torch.from_numpy(decoded.images), labels, decoded.names)


def places(directory: str | os.PathLike[str], folders: Sequence[str]) -> list[Path]:
    """The directory, and those of these folders that it has: where a data set's files are looked for.

    Raises:
        ValueError: there is no such directory.
    """
    if not Path(directory).is_dir():
        raise ValueError(f"there is no directory {directory}; name the one that holds the data set's files")
    within = [Path(directory, folder) for folder in folders]
    return [Path(directory), *(place for place in within if place.is_dir())]


def all_parts(directory: Path, names: Sequence[str], parts: Sequence[Undecoded | None]) -> tuple[Undecoded, ...] | None:
    """What was found of a set that comes in several files; None where nothing was.

    Args:
        directory: where they were looked for, for the message.
        names: of the files.
        parts: what was found of each.

    Raises:
        ValueError: some are there, and one is not.
    """
    present = [one for one in parts if one is not None]
    if present and len(present) < len(parts):
        missing = next(name for name, one in zip(names, parts, strict=True) if one is None)
        raise ValueError(f"{directory} has {present[0].path.name} but lacks {missing}; put it there")
    return tuple(present) or None


def channels_first(images: npt.NDArray[Any]) -> Pixels:
    """[n, H, W, C] as [n, C, H, W]; a view."""
    return np.moveaxis(images, -1, 1)


def grouped(labels: npt.NDArray[Any], count: int) -> Sequence[npt.NDArray[np.intp]]:
    """Rows of each label 0 … count − 1, in their order."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))
