"""CIFAR-100 by fine class: its archive for Python, as it is or unpacked, or a file with part of its images."""

import gzip
import io
import math
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metagrad.data.cache import ClassImages
from metagrad.data.readers.files import contents, opened, present, state
from metagrad.data.readers.held import array, integers, mapping, texts
from metagrad.data.readers.pickles import load_pickle, open_pickle
from metagrad.data.readers.undecoded import Pixels, Undecoded, channels_first, grouped
from metagrad.data.readers.zips import DAMAGE, member, open_zip
from metagrad.foreign import reason

ARCHIVE = "cifar-100-python.tar.gz"
"""The archive as it is distributed, https://www.cs.toronto.edu/~kriz/cifar.html; it unpacks to cifar-100-python/."""

PART = "cifar100_mini60.npz"
"""A NumPy archive with arrays `images`, uint8 [100, n, 32, 32, 3], and `classes`, the fine names [100]."""

SIDE = 32
"""Height and width of an image, in pixels."""

_MEMBERS = ("train", "test", "meta")
_VERSION = "cifar100 1"  # change it whenever the same files give other arrays
_LARGEST = 192 * 2**20  # bytes of a member; that of the training images has 155 million
_MOST_MEMBERS = 64
_LONGEST_END = 2**20  # bytes after the last member
_DAMAGE = (*DAMAGE, tarfile.TarError, TypeError)


def find_cifar100(directory: Path) -> Undecoded | None:
    """CIFAR-100 in a directory: 600 images of each of 100 fine classes, training images before test images.

    Looked for are the archive, a folder `cifar-100-python` with `train`, `test` and `meta`, and `cifar100_mini60.npz`,
    which has 60 images of each class. None where there is none of them.
    """
    archive, folder, part = directory / ARCHIVE, directory / "cifar-100-python", directory / PART
    members = [folder / member for member in _MEMBERS]
    if all(present(member) for member in members):
        return Undecoded("cifar100", folder, _made_from(*members), lambda: _of_batches(folder, _from_folder))
    if present(archive):
        return Undecoded("cifar100", archive, _made_from(archive), lambda: _of_batches(archive, _from_archive))
    if present(part):
        return Undecoded("cifar100-mini60", part, _made_from(part), lambda: _of_part(part))
    return None


def _made_from(*files: Path) -> str:
    return f"{_VERSION}\n{state(*files)}"


def _from_folder(folder: Path) -> Mapping[str, Any]:
    return {member: open_pickle(folder / member) for member in _MEMBERS}


def _from_archive(archive: Path) -> Mapping[str, Any]:
    return {name: load_pickle(io.BytesIO(data), f"{name} in {archive}") for name, data in _members(archive)}


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The three members, in one pass: going back would decompress again."""
    with opened(archive) as file:
        try:
            with _Bounded(fileobj=file) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
                for number, entry in enumerate(tar):
                    if number == _MOST_MEMBERS or entry.size > _LARGEST:
                        raise ValueError("it has more or larger members than CIFAR-100")
                    name = entry.name.removeprefix("./").removeprefix("cifar-100-python/")
                    if name in _MEMBERS and entry.isreg() and (content := tar.extractfile(entry)) is not None:
                        yield name, content.read()
                if len(plain.read(_LONGEST_END)) == _LONGEST_END:  # at the end the checksum of all before is compared
                    raise ValueError("it goes on after its members")
        except _DAMAGE as error:
            raise _damaged(archive, error) from error


class _Bounded(gzip.GzipFile):
    """What a gzip file unpacks to, for tarfile: never read in large pieces, nor backwards, whatever headers say."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LARGEST:
            raise OSError("a header asks for too many bytes")
        return super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        here = super().seek(0, io.SEEK_CUR)
        if (offset, whence) == (0, io.SEEK_CUR):
            return here
        if whence != io.SEEK_SET or offset + 1 < here:
            raise OSError("a header leads back")
        return super().seek(offset)


def _of_batches(path: Path, read: Callable[[Path], Mapping[str, Any]]) -> Iterator[ClassImages]:
    held = read(path)
    try:
        meta, *parts = [mapping(held[name], name) for name in ("meta", "train", "test")]
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
    data = contents(path, _LARGEST)
    try:
        with open_zip(data) as archive:
            images, classes = (_array(member(archive, f"{name}.npy", _LARGEST)) for name in ("images", "classes"))
        names = texts(classes, "its classes")
        if images.dtype != np.uint8 or images.ndim != 5 or images.shape[2:] != (SIDE, SIDE, 3):
            raise ValueError(f"its images are {images.dtype} {list(images.shape)}, not uint8 [classes, n, 32, 32, 3]")
        if len(names) != len(images) or len(set(names)) < len(names):
            raise ValueError(f"it has {len(images)} classes of images and {len(set(names))} names")
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    for name, of_class in zip(names, images, strict=True):
        yield ClassImages(name, channels_first(of_class))


def _array(data: bytes) -> npt.NDArray[Any]:
    """An array in NumPy's format: a view of the bytes, which must be of the right number."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"it holds an array {dtype} {list(shape)} without its bytes")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def _damaged(path: Path, error: Exception) -> ValueError:
    why = f"it lacks {error}" if isinstance(error, KeyError) else reason(error)
    return ValueError(f"{path} cannot be read as CIFAR-100 ({why}); get it again")
