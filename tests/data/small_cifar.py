"""CIFAR-100 in the forms that it is distributed in, with few classes and images."""

import io
import tarfile

import numpy as np

from data import python2
from metagrad.data.splits import ClassLists

NAMES = ("apple", "bear", "cloud", "dolphin", "elephant", "fox", "girl")
LISTS = ClassLists(("fox", "apple", "girl"), ("cloud", "bear"), ("elephant", "dolphin"))
TRAIN, TEST = 5, 2  # images of a class


def pixels(seed=0, count=TRAIN + TEST):
    """uint8 [classes, count, 32, 32, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (len(NAMES), count, 32, 32, 3), dtype=np.uint8)


def batches(images):
    """The three members of the Python archive, in the order of a shuffle, channel after channel."""
    members = {"meta": {"fine_label_names": list(NAMES), "coarse_label_names": ["all"]}}
    for name, part in (("train", slice(0, TRAIN)), ("test", slice(TRAIN, None))):
        chosen = images[:, part]
        labels = np.arange(len(NAMES)).repeat(chosen.shape[1])
        flat = chosen.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2).reshape(len(labels), 3072)
        order = np.argsort(np.arange(len(labels)) % chosen.shape[1], kind="stable")  # image after image of each class
        members[name] = {
            "filenames": [f"{row}.png" for row in order],
            "batch_label": f"{name} batch",
            "fine_labels": labels[order].tolist(),
            "coarse_labels": [0] * len(labels),
            "data": flat[order],
        }
    return members


def write_archive(directory, members, name="cifar-100-python.tar.gz"):
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(directory / name, "w:gz") as tar:
        folder = tarfile.TarInfo("cifar-100-python")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for member, held in members.items():
            data = held if isinstance(held, bytes) else python2.dumps(held)
            entry = tarfile.TarInfo(f"cifar-100-python/{member}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return directory


def write_folder(directory, members):
    folder = directory / "cifar-100-python"
    folder.mkdir(parents=True)
    for member, held in members.items():
        (folder / member).write_bytes(python2.dumps(held))
    return directory


def write_part(directory, images, names=NAMES):
    directory.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(directory / "cifar100_mini60.npz", images=images, classes=np.array(names))
    return directory
