"""CIFAR-100 by fine class: its archive for Python, as it is or unpacked, or a file with part of its images."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metagrad.tasks.cache import ClassImages
from metagrad.tasks.readers.found import Found, Pixels, channels_first, grouped, state
from metagrad.tasks.readers.held import array, integers, mapping, texts
from metagrad.tasks.readers.pickles import load_pickle, open_pickle

ARCHIVE = "cifar-100-python.tar.gz"
"""The archive as it is distributed, https://www.cs.toronto.edu/~kriz/cifar.html; it unpacks to cifar-100-python/."""

PART = "cifar100_mini60.npz"
"""A NumPy archive with arrays `images`, uint8 [100, n, 32, 32, 3], and `classes`, the fine names [100]."""

SIDE = 32
"""Height and width of an image, in pixels."""

_MEMBERS = ("train", "test", "meta")
_VERSION = "cifar100 1"  # change it whenever the same files give other arrays
_DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, KeyError, ValueError)


def find_cifar100(directory: Path) -> Found | None:
    """CIFAR-100 in a directory: 600 images of each of 100 fine classes, training images before test images.

    Looked for are the archive, a folder `cifar-100-python` with `train`, `test` and `meta`, and `cifar100_mini60.npz`,
    which has 60 images of each class. None where there is none of them.
    """
    archive, folder, part = directory / ARCHIVE, directory / "cifar-100-python", directory / PART
    if all((folder / member).is_file() for member in _MEMBERS):
        files = [folder / member for member in _MEMBERS]
        return Found("cifar100", folder, f"{_VERSION}\n{state(*files)}", lambda: _of_batches(folder, _from_folder))
    if archive.is_file():
        return Found("cifar100", archive, f"{_VERSION}\n{state(archive)}", lambda: _of_batches(archive, _from_archive))
    if part.is_file():
        return Found("cifar100-mini60", part, f"{_VERSION}\n{state(part)}", lambda: _of_part(part))
    return None


def _from_folder(folder: Path) -> Mapping[str, Any]:
    return {member: open_pickle(folder / member) for member in _MEMBERS}


def _from_archive(archive: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:  # one pass: going back would decompress again
                member = entry.name.removeprefix("./").removeprefix("cifar-100-python/")
                if member in _MEMBERS and (file := tar.extractfile(entry)) is not None:
                    found[member] = load_pickle(file, f"{member} in {archive}")
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    return found


def _of_batches(path: Path, read: Callable[[Path], Mapping[str, Any]]) -> Iterator[ClassImages]:
    found = read(path)
    try:
        meta, *parts = [mapping(found[member], member) for member in ("meta", "train", "test")]
        names = texts(meta["fine_label_names"], "its fine_label_names")
        flat = np.concatenate([array(part["data"], "its images") for part in parts])
        labels = np.concatenate([integers(part["fine_labels"], "its fine_labels") for part in parts])
        images: Pixels = flat.reshape(len(labels), 3, SIDE, SIDE)
        if images.dtype != np.uint8 or len(set(names)) < len(names):
            raise ValueError("its images are not bytes, or it names a class twice")
        if np.unique(labels).tolist() != list(range(len(names))) or not names:
            raise ValueError(f"its labels are not those of its {len(names)} classes")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    for name, rows in zip(names, grouped(labels, len(names)), strict=True):
        yield ClassImages(name, images[rows])


def _of_part(path: Path) -> Iterator[ClassImages]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, names = arrays["images"], [str(name) for name in arrays["classes"]]
        if images.dtype != np.uint8 or images.ndim != 5 or images.shape[2:] != (SIDE, SIDE, 3):
            raise ValueError(f"its images are {images.dtype} {list(images.shape)}, not uint8 [classes, n, 32, 32, 3]")
        if len(names) != len(images) or len(set(names)) < len(names):
            raise ValueError(f"it has {len(images)} classes of images and {len(set(names))} names")
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    for name, of_class in zip(names, images, strict=True):
        yield ClassImages(name, channels_first(of_class))


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    return ValueError(f"{path} cannot be read as CIFAR-100 ({reason}); get it again")
