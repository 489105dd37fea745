"""Pickles of whole sets of images: the caches of Ren et al. and learn2learn, and those of Gidaris and MetaOptNet."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metagrad.data.cache import ClassImages
from metagrad.data.readers.files import present, state
from metagrad.data.readers.held import array, integers, mapping
from metagrad.data.readers.pickles import open_pickle
from metagrad.data.readers.undecoded import Pixels, Undecoded, channels_first, grouped
from metagrad.data.splits import numbered_name
from metagrad.foreign import reason

_LOG = logging.getLogger(__name__)

_VERSION = "image pickles 1"  # change it whenever the same files give other arrays


def find_image_pickle(path: Path, name: str, side: int) -> Undecoded | None:
    """One pickle of images uint8 [N, side, side, 3], red first, with their classes; None where there is no such file.

    Two forms are told apart by their keys. `image_data` and `class_dict`, which has the rows of each class by name: Ren
    et al. (from Python 2, or rewritten by Python 3 with keys of bytes) and learn2learn. `data` and `labels`, one
    integer for each image, with `catname2label` or without names: Gidaris and Komodakis, MetaOptNet, CIFAR-FS and
    FC100. Without names, the class of label 17 is called "class 17".

    Args:
        path: the file.
        name: of the cache file.
        side: height and width that the images must have, in pixels.
    """
    if not present(path):
        return None
    return Undecoded(name, path, f"{_VERSION} {side}\n{state(path)}", lambda: _classes(path, side))


def _classes(path: Path, side: int) -> Iterator[ClassImages]:
    held = open_pickle(path)
    try:
        images, rows = _images_and_rows(held)
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            raise ValueError(f"its images are {images.dtype} {list(images.shape)}, not uint8 [N, {side}, {side}, 3]")
        _check_rows(rows, len(images))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold labelled images ({reason(error)}); get it again") from error
    if left_out := len(images) - sum(map(len, rows.values())):
        _LOG.warning("%s: left out %d of %d images, which are of no class", path, left_out, len(images))
    for name, of_class in rows.items():
        yield ClassImages(name, channels_first(images[of_class]))


def _images_and_rows(held: Any) -> tuple[Pixels, Mapping[str, npt.NDArray[np.integer[Any]]]]:
    held = mapping(held, "it")
    if {"image_data", "class_dict"} <= held.keys():
        listed = mapping(held["class_dict"], "its class_dict")
        rows = {str(name): integers(of_class, "its rows") for name, of_class in listed.items()}
        if len(rows) < len(listed):
            raise ValueError("its class_dict has two classes of one name")
        return array(held["image_data"], "its images"), rows
    if {"data", "labels"} <= held.keys():
        images, labels = array(held["data"], "its images"), integers(held["labels"], "its labels")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"it has {len(images)} images and {len(labels)} labels")
        values, dense = np.unique(labels, return_inverse=True)
        return images, dict(zip(_names(values.tolist(), held), grouped(dense, len(values)), strict=True))
    keys = ", ".join(sorted(map(str, held)))
    raise ValueError(f"its keys are {keys}, neither image_data and class_dict nor data and labels")


def _names(labels: Sequence[int], held: Mapping[str, Any]) -> Sequence[str]:
    if "catname2label" not in held:
        return [numbered_name(label) for label in labels]
    known = mapping(held["catname2label"], "its catname2label")
    numbers = integers([*known.values()], "its labels").tolist()
    times = Counter(numbers)
    for label in labels:
        if times[label] != 1:
            raise ValueError(f"its catname2label has {times[label]} names for label {label}")
    named = dict(zip(numbers, map(str, known), strict=True))
    return [named[label] for label in labels]


def _check_rows(rows: Mapping[str, npt.NDArray[np.integer[Any]]], images: int) -> None:
    empty = [name for name, of_class in rows.items() if len(of_class) == 0]
    if empty or not rows:
        raise ValueError(f"it has no image of class {empty[0]!r}" if empty else "it has no class")
    every = np.concatenate(list(rows.values()))
    if every.min() < 0 or every.max() >= images:
        raise ValueError(f"its class_dict names image {int(every.max())} of {images}")
    if len(np.unique(every)) < len(every):
        raise ValueError("its class_dict has an image in two classes")
