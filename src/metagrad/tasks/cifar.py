"""CIFAR-FS and FC100: the two few-shot data sets that divide the classes of CIFAR-100."""

import os
from collections.abc import Mapping

from metagrad.tasks.pools import MetaSplit
from metagrad.tasks.readers.cifar100 import ARCHIVE, PART, find_cifar100
from metagrad.tasks.readers.found import places, pool_of
from metagrad.tasks.splits import ClassLists, Published, divided, published

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
    """CIFAR-FS (Bertinetto et al. 2019) as pools of 32×32 RGB images, uint8: 64, 16 and 20 fine classes of CIFAR-100.

    The first call decodes the files into one cache file; later calls map that into memory.

    Args:
        directory: holds `cifar-100-python.tar.gz`, the same unpacked, or `cifar100_mini60.npz`.
        cache: directory of the cache files; None for `default_cache()`.
        classes: which classes make up each meta-set; None for the published lists.

    Raises:
        ValueError: the files or a class are missing, a file is damaged, or a class is in two sets.

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
    for place in places(directory, FOLDERS[name]):
        found = find_cifar100(place)
        if found is not None:
            return divided(pool_of(found, cache), lists, found.path)
    raise ValueError(
        f"{directory} holds neither {ARCHIVE}, nor a folder cifar-100-python, nor {PART}, directly or in a folder "
        f"{' or '.join(FOLDERS[name])}"
    )
