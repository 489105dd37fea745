"""miniImageNet and tieredImageNet in the forms that they are distributed in, with few classes and images."""

import csv
import io
import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from metagrad.data.splits import ClassLists

LISTS = ClassLists(("n01532829", "n01558993", "n01704323"), ("n01855672", "n02091244"), ("n01930112", "n01981276"))
PARTS = ("train", "val", "test")
IMAGES = 3  # of a class


def pixels(names, seed=0, count=IMAGES):
    """Pixels of each class, uint8 [count, 84, 84, 3]; red, green and blue are unlike each other."""
    source = np.random.default_rng([seed, *(int(name[1:]) for name in names)])
    tint = np.array([1.0, 0.5, 0.1])
    return {name: (source.integers(0, 256, (count, 84, 84, 3)) * tint).astype(np.uint8) for name in names}


def source(lists=LISTS, **options):
    return tuple(pixels(names, **options) for names in lists)


def rows_of(images):
    """The first image of each class, then the second ones, and so on; and the number of each image's class."""
    flat = np.concatenate(list(images.values()))
    labels = np.repeat(np.arange(len(images)), [len(held) for held in images.values()])
    order = np.argsort(np.concatenate([np.arange(len(held)) for held in images.values()]), kind="stable")
    return flat[order], labels[order]


def cache_of(images):
    """The dict of Ren et al.: rows of each class by name."""
    flat, labels = rows_of(images)
    return {
        "image_data": flat,
        "class_dict": {name: np.flatnonzero(labels == row).tolist() for row, name in enumerate(images)},
    }


def category_split_of(images, first, names=True):
    """The dict of Gidaris and MetaOptNet: a list of labels that begin at `first`."""
    flat, labels = rows_of(images)
    held = {"data": flat, "labels": [int(label) + first for label in labels]}
    if names:
        held["catname2label"] = {name: row + first for row, name in enumerate(images)}
        held["label2catname"] = {row + first: name for row, name in enumerate(images)}
    return held


def with_bytes_keys(held):
    """As Python 3 writes it after reading Python 2's with `encoding="bytes"`."""
    return {
        key.encode(): {name.encode(): rows for name, rows in value.items()} if isinstance(value, dict) else value
        for key, value in held.items()
    }


def write_caches(directory, images, dump=pickle.dumps, names=PARTS):
    directory.mkdir(parents=True, exist_ok=True)
    for part, held in zip(names, images, strict=True):
        (directory / f"mini-imagenet-cache-{part}.pkl").write_bytes(dump(cache_of(held)))
    return directory


def write_category_split(directory, images, pattern="miniImageNet_category_split_{}.pickle", names=True):
    directory.mkdir(parents=True, exist_ok=True)
    first = 0
    parts = ("train_phase_train", "val", "test") if "miniImageNet" in pattern else PARTS
    for part, held in zip(parts, images, strict=True):
        data = pickle.dumps(category_split_of(held, first, names), 2)
        (directory / pattern.format(part)).write_bytes(data)
        first += len(held)
    return directory


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_csv(directory, images, ending="png"):
    """Ravi and Larochelle's lists beside a folder of images; theirs are jpg, which would not keep the pixels."""
    for part, held in zip(PARTS, images, strict=True):
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["filename", "label"])
            for name, of_class in held.items():
                for number, image in enumerate(of_class, start=1):
                    filename = f"{name}{number:08d}.{ending}"
                    writer.writerow([filename, name])
                    write_image(directory / "images" / filename, image)
    return directory


def write_easyfsl_csv(directory, images):
    """Class and file name; the files have ImageNet's own names, in class folders."""
    for part, held in zip(PARTS, images, strict=True):
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["class_name", "image_name"])
            for name, of_class in held.items():
                for number, image in enumerate(of_class):
                    writer.writerow([name, f"{name}_{9 - number}.png"])
                    write_image(directory / name / f"{name}_{9 - number}.png", image)
    return directory


def write_divided_folders(directory, images, names=PARTS):
    for part, held in zip(names, images, strict=True):
        write_flat_folders(directory / part, [held])
    return directory


def write_flat_folders(directory, images):
    for held in images:
        for name, of_class in held.items():
            for number, image in enumerate(of_class):
                write_image(directory / name / f"{name}_{number:04d}.png", image)
    return directory


def png(image):
    """A PNG file as OpenCV gives it: an array of bytes [n, 1] that holds red in the place of red."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return np.frombuffer(file.getvalue(), np.uint8).reshape(-1, 1)


def descriptions(names):
    return [f"creature {name[1:]}" for name in names]


def write_png_pickles(directory, images, labels, dump=pickle.dumps):
    """tieredImageNet: `labels` is the function that makes the second pickle, of names, labels and the first number."""
    directory.mkdir(parents=True, exist_ok=True)
    first = 0
    for part, held in zip(PARTS, images, strict=True):
        flat, dense = rows_of(held)
        (directory / f"{part}_images_png.pkl").write_bytes(dump([png(image) for image in flat]))
        (directory / f"{part}_labels.pkl").write_bytes(dump(labels(list(held), dense, first)))
        first += len(held)
    return directory


def specific(names, dense, _first):
    """Labels of Ren et al.: from 0 in every set, with descriptions."""
    return {
        "label_specific": dense.astype(np.int32),
        "label_general": np.zeros(len(dense), np.int32),
        "label_specific_str": descriptions(names),
        "label_general_str": ["creature"],
    }


def offset(_names, dense, first):
    """Labels of MetaOptNet: a list that goes on from set to set, without names."""
    return {"labels": [int(label) + first for label in dense]}


def write_synsets(directory, lists=LISTS):
    names = [name for part in lists for name in reversed(part)] + ["n09999999"]
    (directory / "synsets.txt").write_text("\n".join(names) + "\n")
    (directory / "class_names.txt").write_text("\n".join(descriptions(names)) + "\n")
    return Path(directory)
