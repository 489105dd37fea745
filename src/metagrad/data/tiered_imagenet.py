"""tieredImageNet, as Ren et al. and MetaOptNet pass it on, or as class folders."""

import os
import re
from pathlib import Path

from metagrad.data.pools import MetaSplit
from metagrad.data.readers.folders import find_divided_folders
from metagrad.data.readers.png_pickles import find_png_pickle
from metagrad.data.readers.undecoded import Undecoded, all_parts, places, pool_of
from metagrad.data.splits import ClassLists, as_published, counted, published

SIDE = 84
"""Height and width of an image, in pixels."""

FOLDERS = ("tiered-imagenet", "tieredimagenet", "tiered_imagenet", "tieredImageNet")
"""Folders of the directory that may hold the files instead of it."""

FORMS = (
    "train_images_png.pkl with train_labels.pkl (and the same of val and test)",
    "folders train, val and test of class folders",
)
"""What is looked for, in this order."""

_SYNSET = re.compile(r"n\d{8}")


def load_tiered_imagenet(
    directory: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    *,
    classes: ClassLists | None = None,
) -> MetaSplit:
    """TieredImageNet (Ren et al. 2018) as pools of 84×84 RGB images, uint8: 351, 97 and 160 synsets, 779,165 images.

    The first call decodes the files, in minutes, into cache files of 16.5 GB together; later calls map those into
    memory. Where files tell synsets (or `synsets.txt` lies beside the pickles), these are compared with the published
    lists; where they tell only descriptions or numbers, their count is.

    Args:
        directory: holds one of the `FORMS`, directly or in one of the `FOLDERS`.
        cache: directory of the cache files; None for `default_cache()`.
        classes: which classes make up each meta-set; None for the published lists.

    Raises:
        ValueError: files or classes are missing, a file is damaged or hostile, or the classes are not those of the
            lists.

    Warns:
        UserWarning: a cache file is damaged, and made anew; or it cannot be written, and the next call decodes again.
    """
    lists = published("tiered_imagenet") if classes is None else classes
    for place in places(directory, FOLDERS):
        parts = _png_pickles(place, lists) or find_divided_folders(place, "tiered-imagenet-folders", SIDE)
        if parts is not None:
            pools = MetaSplit(*(pool_of(part, cache) for part in parts))
            told = any(_SYNSET.fullmatch(name) for pool in pools for name in pool.names)
            return (as_published if told else counted)(pools, lists, [part.path for part in parts])
    raise ValueError(
        f"{directory} holds no tieredImageNet, directly or in a folder {' or '.join(FOLDERS)}: neither "
        f"{', nor '.join(FORMS)}"
    )


def _png_pickles(place: Path, lists: ClassLists) -> tuple[Undecoded, ...] | None:
    parts = ("train", "val", "test")
    pickles = [
        find_png_pickle(place, part, f"tiered-imagenet-{part}", SIDE, synsets)
        for part, synsets in zip(parts, lists, strict=True)
    ]
    return all_parts(place, [f"{part}_images_png.pkl and {part}_labels.pkl" for part in parts], pickles)
