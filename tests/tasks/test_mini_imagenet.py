"""miniImageNet in every form: the pixels of the source in the published order, and what is refused."""

import pickle
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

from metagrad.tasks.mini_imagenet import load_mini_imagenet
from metagrad.tasks.splits import ClassLists, published
from tasks import python2
from tasks.small_imagenet import (
    LISTS,
    PARTS,
    cache_of,
    pixels,
    source,
    with_bytes_keys,
    write_caches,
    write_category_split,
    write_csv,
    write_divided_folders,
    write_easyfsl_csv,
    write_flat_folders,
)
from tasks.small_pools import images_by_class

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


def rewritten(directory, name, change):
    path = directory / name
    path.write_bytes(change(path.read_bytes()))


def changed(entries, part="train"):
    """Pickles of which one has other entries."""

    def write(directory):
        write_caches(directory, source())
        held = {**cache_of(source()[PARTS.index(part)]), **entries}
        held = {key: value for key, value in held.items() if value is not None}
        (directory / f"mini-imagenet-cache-{part}.pkl").write_bytes(pickle.dumps(held))

    return write


class Attack:
    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return exec, (f"open({str(self.touched)!r}, 'w')",)


def hostile(directory):
    changed({"class_dict": Attack(directory / "touched")}, "val")(directory)


def cut_png(directory):
    write_divided_folders(directory, source())
    rewritten(directory, f"test/{LISTS.test[1]}/{LISTS.test[1]}_0002.png", lambda data: data[:1000])


REFUSED = {
    "nothing there": (lambda d: None, "holds no miniImageNet, directly or in a folder mini-imagenet or"),
    "no directory": (lambda d: d.rmdir(), "there is no directory"),
    "one file missing": (
        lambda d: (write_caches(d, source()) / "mini-imagenet-cache-val.pkl").unlink(),
        "has mini-imagenet-cache-train.pkl but lacks mini-imagenet-cache-val.pkl",
    ),
    "cut short": (
        lambda d: rewritten(write_caches(d, source()), "mini-imagenet-cache-test.pkl", lambda data: data[:-5000]),
        "mini-imagenet-cache-test.pkl cannot be read as a pickle of arrays",
    ),
    "empty": (
        lambda d: rewritten(write_caches(d, source()), "mini-imagenet-cache-test.pkl", lambda data: b""),
        "mini-imagenet-cache-test.pkl cannot be read as a pickle of arrays (Ran out of input)",
    ),
    "wrong keys": (changed({"image_data": None, "images": 3}), "its keys are class_dict, images, neither image_data"),
    "no dict": (
        lambda d: rewritten(write_caches(d, source()), "mini-imagenet-cache-val.pkl", lambda _: pickle.dumps([1])),
        "mini-imagenet-cache-val.pkl does not hold labelled images (it holds a list, not a dict)",
    ),
    "wrong size": (
        changed({"image_data": np.zeros((9, 32, 32, 3), np.uint8)}),
        "its images are uint8 [9, 32, 32, 3], not uint8 [N, 84, 84, 3]",
    ),
    "floats": (changed({"image_data": np.zeros((9, 84, 84, 3))}), "its images are float64"),
    "rows outside": (changed({"class_dict": {LISTS.train[0]: [0, 9]}}), "its class_dict names image 9 of 9"),
    "rows twice": (changed({"class_dict": {"a": [0, 1], "b": [1]}}), "its class_dict has an image in two classes"),
    "empty class": (changed({"class_dict": {"a": [0], "b": []}}), "it has no image of class 'b'"),
    "rows of text": (changed({"class_dict": {"a": ["0"]}}), "its rows are not lists of integers"),
    "hostile": (hostile, "mini-imagenet-cache-val.pkl cannot be read as a pickle of arrays (it asks for builtins.exec"),
    "another split": (
        lambda d: write_caches(d, [pixels([*LISTS.train[:2], "n00000001"]), *source()[1:]]),
        "has 1 classes that are not of train, the first 'n00000001'; it is another split",
    ),
    "overlapping splits": (
        lambda d: write_caches(d, [source()[0], pixels([*LISTS[1], LISTS.train[0]]), source()[2]]),
        "has 1 classes that are not of validation, the first 'n01532829'",
    ),
    "missing class": (
        lambda d: write_caches(d, [pixels(LISTS.train[:2]), *source()[1:]]),
        "lacks 1 of the 3 classes of train, the first missing is 'n01704323'",
    ),
    "labels of other images": (
        lambda d: (write_category_split(d, source()) / "miniImageNet_category_split_val.pickle").write_bytes(
            pickle.dumps({"data": np.zeros((3, 84, 84, 3), np.uint8), "labels": [1, 2]})
        ),
        "it has 3 images and 2 labels",
    ),
    "label without a name": (
        lambda d: (write_category_split(d, source()) / "miniImageNet_category_split_val.pickle").write_bytes(
            pickle.dumps({"data": np.zeros((1, 84, 84, 3), np.uint8), "labels": [1], "catname2label": {"a": 2}})
        ),
        "its catname2label has 0 names for label 1",
    ),
    "listed image missing": (
        lambda d: (write_csv(d, source()) / "images" / f"{LISTS.train[1]}00000002.png").unlink(),
        "but there is no",
    ),
    "other columns": (
        lambda d: rewritten(write_csv(d, source()), "val.csv", lambda data: b"file,label\na,b\n"),
        "val.csv has columns file, label, not filename,label or class_name,image_name",
    ),
    "no rows": (
        lambda d: rewritten(write_csv(d, source()), "val.csv", lambda data: b"filename,label\n"),
        "val.csv lists no image",
    ),
    "half a row": (
        lambda d: rewritten(write_csv(d, source()), "val.csv", lambda data: data + b"a.png\n"),
        "val.csv has a row with more or fewer columns than its header",
    ),
    "image listed twice": (
        lambda d: rewritten(write_csv(d, source()), "val.csv", lambda data: data + data.splitlines()[1]),
        "val.csv lists an image twice",
    ),
    "image cut short": (cut_png, f"{LISTS.test[1]}_0002.png cannot be read"),
    "no test folder": (
        lambda d: (write_divided_folders(d, source()) / "test").rename(d / "elsewhere"),
        "has train but lacks a folder test with class folders",
    ),
}


@pytest.mark.parametrize(("write", "sentence"), REFUSED.values(), ids=REFUSED)
def test_files_that_cannot_be_used_are_named(write, sentence, tmp_path, cache):
    directory = tmp_path / "data"
    directory.mkdir()
    write(directory)
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        load_mini_imagenet(directory, cache, classes=LISTS)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (directory / "touched").exists()
    assert not list(cache.glob("*.partial"))


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
