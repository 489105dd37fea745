"""miniImageNet, in all the forms that it is passed on in."""

import os
from pathlib import Path

from metagrad.data.pools import MetaSplit
from metagrad.data.readers.folders import find_class_folders, find_divided_folders
from metagrad.data.readers.image_pickles import find_image_pickle
from metagrad.data.readers.ravi import find_csv
from metagrad.data.readers.undecoded import Undecoded, all_parts, places, pool_of
from metagrad.data.splits import ClassLists, as_published, divided, published

SIDE = 84
"""Height and width of an image in the pools, in pixels."""

FOLDERS = ("mini-imagenet", "miniimagenet", "mini_imagenet", "miniImageNet", "mini_imagenet_full_size")
"""Folders of the directory that may hold the files instead of it."""

FORMS = (
    "mini-imagenet-cache-train.pkl (and -val or -validation, -test)",
    "miniImageNet_category_split_train_phase_train.pickle (and _val, _test)",
    "train.csv (and val.csv, test.csv) with a folder images",
    "folders train, val and test of class folders",
    "a class folder for each of the 100 synsets, directly or in data",
)
"""What is looked for, in this order."""


def load_mini_imagenet(
    directory: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    *,
    classes: ClassLists | None = None,
) -> MetaSplit:
    """MiniImageNet as pools of 84×84 RGB images, uint8: the 64, 16 and 20 synsets of Ravi and Larochelle (2017).

    The first call decodes the files into cache files; later calls map those into memory. Pickles hold 84×84 pixels;
    image files of another size are brought to that with Pillow's LANCZOS filter, so that forms differ in their pixels.

    Args:
        directory: holds one of the `FORMS`, directly or in one of the `FOLDERS`.
        cache: directory of the cache files; None for `default_cache()`.
        classes: which classes make up each meta-set; None for the published lists.

    Raises:
        ValueError: files or classes are missing, a file is damaged or hostile, images have a wrong size, or the classes
            are not those of the lists (another split, such as that of Vinyals et al.).

    Warns:
        UserWarning: a cache file is damaged, and made anew; or it cannot be written, and the next call decodes again.
    """
    lists = published("mini_imagenet") if classes is None else classes
    every = [name for part in lists for name in part]
    for place in places(directory, FOLDERS):
        for find in (_caches, _category_split, _csv, _divided_folders):
            parts = find(place)
            if parts is not None:
                pools = MetaSplit(*(pool_of(part, cache) for part in parts))
                return as_published(pools, lists, [part.path for part in parts])
        for folder in (place, place / "data"):
            flat = find_class_folders(folder, "mini-imagenet-folders", SIDE, every)
            if flat is not None:
                return divided(pool_of(flat, cache), lists, folder)
    raise ValueError(
        f"{directory} holds no miniImageNet, directly or in a folder {' or '.join(FOLDERS)}: neither "
        f"{', nor '.join(FORMS)}"
    )


def _caches(place: Path) -> tuple[Undecoded, ...] | None:
    names = ["mini-imagenet-cache-train.pkl", "mini-imagenet-cache-val.pkl", "mini-imagenet-cache-test.pkl"]
    pickles = [_pickle(place / name, "cache") for name in names]
    pickles[1] = pickles[1] or _pickle(place / "mini-imagenet-cache-validation.pkl", "cache")  # learn2learn's
    return all_parts(place, names, pickles)


def _category_split(place: Path) -> tuple[Undecoded, ...] | None:
    names = [f"miniImageNet_category_split_{part}.pickle" for part in ("train_phase_train", "val", "test")]
    return all_parts(place, names, [_pickle(place / name, "category-split") for name in names])


def _csv(place: Path) -> tuple[Undecoded, ...] | None:
    names = ["train.csv", "val.csv", "test.csv"]
    return all_parts(place, names, [find_csv(place / name, f"mini-imagenet-{name[:-4]}-csv", SIDE) for name in names])


def _divided_folders(place: Path) -> tuple[Undecoded, ...] | None:
    return find_divided_folders(place, "mini-imagenet-folders", SIDE)


def _pickle(path: Path, form: str) -> Undecoded | None:
    return find_image_pickle(path, f"mini-imagenet-{form}-{path.stem.replace('mini-imagenet-cache-', '')}", SIDE)
