"""miniImageNet in every form: the pixels of the source in the published order, and what is refused."""

import logging
import pickle
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

from data import python2
from data.small_imagenet import (
    LISTS,
    cache_of,
    source,
    with_bytes_keys,
    write_caches,
    write_category_split,
    write_csv,
    write_divided_folders,
    write_easyfsl_csv,
    write_flat_folders,
)
from data.small_pools import images_by_class
from metagrad.data.mini_imagenet import load_mini_imagenet
from metagrad.data.splits import ClassLists, published

FORMS = {
    "cache, Python 3": write_caches,
    "cache, Python 2": partial(write_caches, dump=python2.dumps),
    "cache, keys of bytes": partial(write_caches, dump=lambda held: pickle.dumps(with_bytes_keys(held))),
    "learn2learn": partial(write_caches, names=("train", "validation", "test")),
    "category split": write_category_split,
    "Ravi's lists": write_csv,
    "easyfsl's lists": write_easyfsl_csv,
    "divided folders": write_divided_folders,
    "divided folders, other names": partial(write_divided_folders, names=("train", "validation", "test")),
    "flat folders": write_flat_folders,
    "flat folders in data": lambda directory, images: write_flat_folders(directory / "data", images).parent,
    "in a folder of the directory": lambda directory, images: write_caches(directory / "mini-imagenet", images).parent,
}


def assert_holds(pools, images, lists=LISTS):
    assert [pool.names for pool in pools] == list(lists)
    found = images_by_class(pools)
    for held in images:
        for name, of_class in held.items():
            assert np.array_equal(found[name], of_class), name


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_pixels_of_the_source(write, tmp_path, cache):
    directory = write(tmp_path / "data", source())
    assert_holds(load_mini_imagenet(directory, cache, classes=LISTS), source())
    assert_holds(load_mini_imagenet(directory, cache, classes=LISTS), source())  # from the cache


def test_classes_in_another_order_give_the_same_pools(tmp_path, cache):
    reordered = [dict(reversed(held.items())) for held in source()]
    for number, write in enumerate((write_caches, write_category_split, write_csv)):
        directory = write(tmp_path / str(number), reordered)
        assert_holds(load_mini_imagenet(directory, cache, classes=LISTS), source())


def test_forms_have_cache_files_of_their_own(tmp_path, cache):
    directories = [write(tmp_path / name, source()) for name, write in FORMS.items() if "byte" not in name]
    for directory in directories:
        load_mini_imagenet(directory, cache, classes=LISTS)
    names = {path.name for path in cache.iterdir()}
    forms = ("cache-train", "cache-validation", "train-csv", "folders-train", "folders")
    assert {f"mini-imagenet-{form}.2.cache" for form in forms} <= names


def test_photographs_of_other_sizes_are_brought_to_84_by_lanczos(tmp_path, cache):
    directory = write_divided_folders(tmp_path, source())
    photograph = Image.fromarray(np.random.default_rng(3).integers(0, 256, (120, 200, 3), dtype=np.uint8))
    photograph.save(directory / "train" / LISTS.train[0] / "a.jpg")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(directory / "val" / LISTS[1][0] / "a.png")
    (directory / "train" / LISTS.train[0] / "notes.txt").write_text("no image")
    found = images_by_class(load_mini_imagenet(directory, cache, classes=LISTS))
    stored = Image.open(directory / "train" / LISTS.train[0] / "a.jpg")
    expected = np.asarray(stored.resize((84, 84), Image.Resampling.LANCZOS))
    assert np.array_equal(found[LISTS.train[0]][0], expected)
    grey = found[LISTS[1][0]][0]
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert len(found[LISTS.train[0]]) == 4


def test_images_of_no_class_are_counted(tmp_path, cache, caplog):
    write_caches(tmp_path, source())
    held = cache_of(source()[0])
    held["class_dict"] = {name: rows[:2] for name, rows in held["class_dict"].items()}
    (tmp_path / "mini-imagenet-cache-train.pkl").write_bytes(pickle.dumps(held))
    with caplog.at_level(logging.WARNING, "metagrad"):
        pools = load_mini_imagenet(tmp_path, cache, classes=LISTS)
    assert pools.train.counts.tolist() == [2, 2, 2]
    path = tmp_path / "mini-imagenet-cache-train.pkl"
    assert caplog.messages == [f"{path}: left out 3 of 9 images, which are of no class"]


SPREADSHEETS = {
    "byte-order mark": lambda text: text.encode("utf-8-sig"),
    "semicolons": lambda text: text.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"),
    "tabs in UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
    "quotes": lambda text: re.sub(r"[^,\n]+", r'"\g<0>"', text).encode(),
    "empty rows and an empty column": lambda text: text.replace("\n", ",\n").encode() + b",,\n\n",
}


@pytest.mark.parametrize("saved", SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_lists_that_a_spreadsheet_saved_are_read(saved, tmp_path, cache):
    directory = write_csv(tmp_path, source())
    for part in ("train", "val", "test"):
        path = directory / f"{part}.csv"
        path.write_bytes(saved(path.read_text()))
    assert_holds(load_mini_imagenet(directory, cache, classes=LISTS), source())


def test_the_published_split_is_asked_for_by_default(tmp_path, cache):
    write_caches(tmp_path, source())
    with pytest.raises(ValueError, match="lacks 61 of the 64 classes of train"):
        load_mini_imagenet(tmp_path, cache)


def test_lists_that_overlap_are_refused(tmp_path, cache):
    lists = ClassLists(LISTS.train, LISTS.validation, LISTS.train[:1])
    with pytest.raises(ValueError, match="both train and test, the first 'n01532829'"):
        load_mini_imagenet(write_flat_folders(tmp_path, source()), cache, classes=lists)


@pytest.mark.slow
def test_a_set_of_the_real_number_of_classes(tmp_path, cache):
    lists = published("mini_imagenet")
    images = source(lists, count=20)
    pools = load_mini_imagenet(write_caches(tmp_path, images, dump=python2.dumps), cache)
    assert_holds(pools, images, lists)
    assert [int(pool.counts.sum()) for pool in pools] == [1280, 320, 400]
