"""CIFAR-FS and FC100: the two few-shot data sets that divide the classes of CIFAR-100."""

import os
from collections.abc import Mapping
from pathlib import Path

from metagrad.data.pools import MetaSplit
from metagrad.data.readers.cifar100 import ARCHIVE, PART, SIDE, find_cifar100
from metagrad.data.readers.folders import find_class_folders, find_divided_folders
from metagrad.data.readers.image_pickles import find_image_pickle
from metagrad.data.readers.undecoded import Undecoded, all_parts, places, pool_of
from metagrad.data.splits import ClassLists, Published, as_published, divided, published

TITLES: Mapping[str, str] = {"cifar_fs": "CIFAR-FS", "fc100": "FC100"}

PICKLES: Mapping[str, str] = {"cifar_fs": "CIFAR_FS_{}.pickle", "fc100": "FC100_{}.pickle"}
"""Names of MetaOptNet's pickles."""

FORMS = (
    "folders train, val and test of class folders, directly or in processed",
    ARCHIVE,
    "a folder cifar-100-python",
    PART,
    "a class folder for each of the 100 classes, directly or in data",
)
"""What is looked for besides, in this order."""

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "cifar_fs": ("cifar-fs", "cifarfs", "cifar100"),
    "fc100": ("fc100", "FC100", "cifar100"),
}
"""Folders of the directory that may hold the files instead of it."""


def load_cifar_fs(
    directory: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    *,
    classes: ClassLists | None = None,
) -> MetaSplit:
    """CIFAR-FS (Bertinetto et al. 2019) as pools of 32×32 RGB images, uint8: 64, 16, 20 fine classes of CIFAR-100.

    The first call decodes the files into one cache file; later calls map that into memory.

    Args:
        directory: holds MetaOptNet's `PICKLES` or one of the `FORMS`, directly or in one of the `FOLDERS`.
        cache: directory of the cache files; None for `default_cache()`.
        classes: which classes make up each meta-set; None for the published lists.

    Raises:
        ValueError: files or classes are missing, a file is damaged or hostile, images have a wrong size, or the classes
            are not those of the lists.

    Warns:
        UserWarning: the cache is damaged, and made anew; or it cannot be written, and the next call decodes again.
    """
    return _load("cifar_fs", directory, cache, classes)


def load_fc100(
    directory: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    *,
    classes: ClassLists | None = None,
) -> MetaSplit:
    """FC100 (Oreshkin et al. 2018): 60, 20, 20 classes in 12, 4, 4 superclasses of CIFAR-100; as `load_cifar_fs`.

    Raises:
        ValueError: as `load_cifar_fs`.
    """
    return _load("fc100", directory, cache, classes)


def _load(
    name: Published,
    directory: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None,
    classes: ClassLists | None,
) -> MetaSplit:
    lists = published(name) if classes is None else classes
    every = [one for part in lists for one in part]
    for place in places(directory, FOLDERS[name]):
        parts = _pickles(place, name)
        for folder in (place, place / "processed"):
            parts = parts or find_divided_folders(folder, f"{name}-folders", SIDE)
        if parts is not None:
            pools = MetaSplit(*(pool_of(part, cache) for part in parts))
            return as_published(pools, lists, [part.path for part in parts])
        whole = find_cifar100(place)
        for folder in (place, place / "data"):
            whole = whole or find_class_folders(folder, f"{name}-folders", SIDE, every)
        if whole is not None:
            return divided(pool_of(whole, cache), lists, whole.path)
    raise ValueError(
        f"{directory} holds no {TITLES[name]}, directly or in a folder {' or '.join(FOLDERS[name])}: neither "
        f"{PICKLES[name].format('train')} (and val, test), nor {', nor '.join(FORMS)}"
    )


def _pickles(place: Path, name: Published) -> tuple[Undecoded, ...] | None:
    names = [PICKLES[name].format(part) for part in ("train", "val", "test")]
    return all_parts(place, names, [find_image_pickle(place / one, Path(one).stem, SIDE) for one in names])
