"""miniImageNet and tieredImageNet damaged: how each is written, and what is said of it."""

import pickle

import numpy as np

from data import damage
from data.damage import bomb, caches, in_place_of, rewritten, tiered
from data.small_imagenet import (
    LISTS,
    offset,
    pixels,
    source,
    specific,
    write_caches,
    write_category_split,
    write_csv,
    write_divided_folders,
    write_synsets,
)

SPLIT_VAL = "miniImageNet_category_split_val.pickle"
UNREADABLE = "cannot be read as a pickle of arrays"
IMAGE = f"test/{LISTS.test[1]}/{LISTS.test[1]}_0002.png"


def split_val(directory, held):
    rewritten(write_category_split(directory, source()), SPLIT_VAL, held)


def listed(directory, change):
    return rewritten(write_csv(directory, source()), "val.csv", change)


def folders(directory, change):
    rewritten(write_divided_folders(directory, source()), IMAGE, change)


MINI = {
    "nothing there": (lambda d: None, "holds no miniImageNet, directly or in a folder mini-imagenet or"),
    "no directory": (lambda d: d.rmdir(), "there is no directory"),
    "one file missing": (
        lambda d: (write_caches(d, source()) / "mini-imagenet-cache-val.pkl").unlink(),
        "has mini-imagenet-cache-train.pkl but lacks mini-imagenet-cache-val.pkl",
    ),
    "cut short": (
        lambda d: rewritten(write_caches(d, source()), "mini-imagenet-cache-test.pkl", lambda data: data[:-5000]),
        f"mini-imagenet-cache-test.pkl {UNREADABLE}",
    ),
    "empty": (
        lambda d: rewritten(write_caches(d, source()), "mini-imagenet-cache-test.pkl", b""),
        f"mini-imagenet-cache-test.pkl {UNREADABLE} (Ran out of input)",
    ),
    "wrong keys": (lambda d: caches(d, {"image_data": None, "images": 3}), "class_dict, images, neither image_data"),
    "no dict": (
        lambda d: rewritten(write_caches(d, source()), "mini-imagenet-cache-val.pkl", [1]),
        "mini-imagenet-cache-val.pkl does not hold labelled images (it holds a list, not a dict)",
    ),
    "wrong size": (
        lambda d: caches(d, {"image_data": np.zeros((9, 32, 32, 3), np.uint8)}),
        "its images are uint8 [9, 32, 32, 3], not uint8 [N, 84, 84, 3]",
    ),
    "floats": (lambda d: caches(d, {"image_data": np.zeros((9, 84, 84, 3))}), "its images are float64"),
    "images in lists": (lambda d: caches(d, {"image_data": [[1]]}), "its images are a list, not an array"),
    "rows outside": (lambda d: caches(d, {"class_dict": {"a": [0, 9]}}), "its class_dict names image 9 of 9"),
    "rows twice": (lambda d: caches(d, {"class_dict": {"a": [0, 1], "b": [1]}}), "has an image in two classes"),
    "rows of no dict": (lambda d: caches(d, {"class_dict": [0]}), "its class_dict holds a list, not a dict"),
    "two classes of one name": (lambda d: caches(d, {"class_dict": {1: [0], "1": [1]}}), "two classes of one name"),
    "empty class": (lambda d: caches(d, {"class_dict": {"a": [0], "b": []}}), "it has no image of class 'b'"),
    "rows of text": (lambda d: caches(d, {"class_dict": {"a": ["0"]}}), "its rows are not lists of integers"),
    "rows beyond 64 bits": (lambda d: caches(d, {"class_dict": {"a": [2**70]}}), "its rows have more than 64 bits"),
    "hostile": (
        lambda d: caches(d, {"class_dict": damage.Attack(d)}, "val"),
        f"mini-imagenet-cache-val.pkl {UNREADABLE} (it asks for builtins.exec",
    ),
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
        lambda d: split_val(d, {"data": np.zeros((3, 84, 84, 3), np.uint8), "labels": [1, 2]}),
        "it has 3 images and 2 labels",
    ),
    "label without a name": (
        lambda d: split_val(d, {"data": np.zeros((1, 84, 84, 3), np.uint8), "labels": [1], "catname2label": {"a": 2}}),
        "its catname2label has 0 names for label 1",
    ),
    "labels of unsigned 64 bits": (
        lambda d: split_val(
            d, {"data": np.zeros((1, 84, 84, 3), np.uint8), "labels": np.array([2**64 - 1], np.uint64)}
        ),
        "its labels have more than 64 bits",
    ),
    "listed image missing": (
        lambda d: (write_csv(d, source()) / "images" / f"{LISTS.train[1]}00000002.png").unlink(),
        "but there is no",
    ),
    "other columns": (
        lambda d: listed(d, b"file,label\na,b\n"),
        "val.csv has columns file, label, not filename,label or class_name,image_name; name its columns so",
    ),
    "columns of escape sequences": (lambda d: listed(d, b"\x1b[2J,\x9b1A\na,b\n"), "val.csv is no text in UTF-8"),
    "columns of controls": (lambda d: listed(d, b"\x1b[2J,\x07\na,b\n"), "val.csv has columns �[2J, �, not filename"),
    "too many rows": (lambda d: listed(d, b"filename,label\n" + b"a,a\n" * 2**18), "it has more than 262,144 rows"),
    "no rows": (lambda d: listed(d, b"filename,label\n"), "val.csv lists no image"),
    "half a row": (
        lambda d: listed(d, lambda data: data + b"a.png\n"),
        "val.csv has a row with more or fewer columns than its header",
    ),
    "image listed twice": (
        lambda d: listed(d, lambda data: data + data.splitlines()[1]),
        "val.csv lists an image twice",
    ),
    **{
        f"{name} listed": (
            lambda d, name=name: listed(d, f"filename,label\n{name},a\n".encode()),
            f"{name}, which is outside of its folder",
        )
        for name in ("/dev/zero", "../../photo.png")
    },
    "folder listed": (
        lambda d: in_place_of(listed(d, b"filename,label\na.png,a\n") / "images" / "a.png", "folder"),
        "a.png is no regular file",
    ),
    "name that ends nowhere": (lambda d: listed(d, b"filename,label\n" + b"a" * 99_999 + b",a\n"), "but there is no"),
    "image cut short": (lambda d: folders(d, lambda data: data[:1000]), f"{LISTS.test[1]}_0002.png cannot be read"),
    "no test folder": (
        lambda d: (write_divided_folders(d, source()) / "test").rename(d / "elsewhere"),
        "has train but lacks a folder test with class folders",
    ),
    **{
        f"{kind} in place of a pickle": (
            lambda d, kind=kind: in_place_of(write_caches(d, source()) / "mini-imagenet-cache-val.pkl", kind),
            f"mini-imagenet-cache-val.pkl {words}",
        )
        for kind, words in {
            "pipe": "is no regular file; put the file itself there, or a link to it",
            "folder": "is no regular file",
            "device": "is no regular file",
            "itself": "cannot be read (Too many levels of symbolic links)",
            "nothing": "cannot be read (No such file or directory)",
            "zeros": f"{UNREADABLE} (it has the opcode 00",
        }.items()
    },
    "zeros in place of a list": (
        lambda d: in_place_of(write_csv(d, source()) / "val.csv", "zeros"),
        "val.csv cannot be read (it has 8,589,934,592 bytes, and at most 16,777,216 are read)",
    ),
}


def labels(directory, held):
    rewritten(tiered(directory), "val_labels.pkl", held)


def images(directory, held):
    rewritten(tiered(directory), "val_images_png.pkl", held)


TIERED = {
    "nothing there": (lambda d: None, "holds no tieredImageNet, directly or in a folder tiered-imagenet or"),
    "images alone": (
        lambda d: (tiered(d) / "val_labels.pkl").unlink(),
        "lacks val_images_png.pkl and val_labels.pkl",
    ),
    "images cut short": (lambda d: images(d, lambda data: data[:-500]), f"val_images_png.pkl {UNREADABLE}"),
    "labels cut short": (lambda d: labels(d, lambda data: data[:-50]), f"val_labels.pkl {UNREADABLE}"),
    "an image cut short": (
        lambda d: images(d, lambda data: pickle.dumps([file[:200] for file in pickle.loads(data)])),
        "the image 0 in",
    ),
    "an image that explodes": (lambda d: images(d, [bomb()] * 6), "val_images_png.pkl has more than 67,108,864 pixels"),
    "lists in place of images": (lambda d: images(d, [[1]] * 6), "is a list in place of a file"),
    "not images": (lambda d: images(d, {"a": 1}), "holds a dict, but"),
    "too few images": (lambda d: images(d, [b"a"]), "holds 1 images, but val_labels.pkl has 6 labels"),
    "wrong keys": (
        lambda d: labels(d, {"label_general": [0]}),
        "its keys are label_general, neither label_specific nor labels",
    ),
    "labels of floats": (lambda d: labels(d, {"labels": [0.5]}), "its labels are not lists of integers"),
    "labels beyond 64 bits": (lambda d: labels(d, {"labels": [2**64] * 6}), "its labels have more than 64 bits"),
    "names of other classes": (
        lambda d: tiered(d, lambda names, dense, first: {**specific(names, dense, first), "label_specific_str": ["a"]}),
        "has 3 classes and 1 names",
    ),
    "names that are no text": (
        lambda d: labels(d, {"labels": [0, 1] * 3, "label_specific_str": [["a"], 3]}),
        "its label_specific_str are not lists of text",
    ),
    "hostile": (
        lambda d: rewritten(tiered(d), "test_labels.pkl", {"labels": damage.Attack(d)}),
        f"test_labels.pkl {UNREADABLE} (it asks for builtins.exec",
    ),
    "another split": (
        lambda d: write_synsets(tiered(d, images=[pixels(["n09999999", *LISTS.train[:2]]), *source()[1:]])),
        "has 1 classes that are not of train, the first 'n09999999'",
    ),
    "another number of classes": (
        lambda d: tiered(d, offset, [pixels(LISTS.train[:2]), *source()[1:]]),
        "has 2 classes, but train has 3",
    ),
    "overlapping splits": (
        lambda d: tiered(d, images=[source()[0], pixels([LISTS.train[0], LISTS.validation[0]]), source()[2]]),
        "1 classes are in both train and validation, the first 'creature 01532829'",
    ),
    "lists of unequal length": (
        lambda d: (write_synsets(tiered(d)) / "synsets.txt").write_text("n01532829\n"),
        "has 8 lines and synsets.txt 1",
    ),
    "lists that are no text": (
        lambda d: (write_synsets(tiered(d)) / "synsets.txt").write_bytes(b"\xff\xfe\x00"),
        "synsets.txt is no text in UTF-8",
    ),
}
