"""Decoded images in one memory-mapped file: tied to what they were made from, and written whole or not at all."""

import contextlib
import hashlib
import json
import logging
import os
import secrets
import struct
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

try:
    import fcntl
except ImportError:  # Windows has no flock: there two processes may both decode, and the later one wins
    fcntl = None

Array = npt.NDArray[Any]

CHECKED_TO_THE_LAST_BYTE = 2**26
"""Images of up to so many bytes (64 MiB) are compared with their checksum at every load. Of larger ones only the index
and the length are checked: taking the checksum would read all that an episode does not need."""

# A cache file is the images, an index in JSON, and a tail: the index's length and SHA-256, and these bytes. The images
# come first, so that they begin with a page of memory.
LAYOUT = 2
"""Of cache files, and a part of their names: versions that lay them out otherwise leave each other's alone."""

_MAGIC = b"mgcache2"
_TAIL = struct.Struct("<Q32s8s")

_LOG = logging.getLogger(__name__)


class ClassImages(NamedTuple):
    """All images of one class, [n, C, H, W] or [n, D]; of one shape and dtype for every class of a data set."""

    name: str
    images: Array


class Decoded(NamedTuple):
    """Images of all classes, class after class: a name and a number of images each, and [sum of counts, ...]."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    images: Array


class _Damaged(Exception):
    pass


def cached(path: Path, made_from: str, decode: Callable[[], Iterator[ClassImages]]) -> Decoded:
    """The images in a cache file; or those that `decode` gives, which are written there first, class after class.

    The images are mapped into memory: what is read from the disk is what is looked at, and no more than a class is held
    while they are decoded. Processes may do this at the same time: one decodes while the others wait for it, and each
    sees a whole file or none. (Writing to the array changes it for this process alone.)

    Args:
        path: the cache file; its directory is made where needed.
        made_from: describes everything that the images depend on; a file made from anything else is replaced.
        decode: gives the classes, at least one. What it raises comes through, and leaves the file as it was.

    Warns:
        UserWarning: the file is damaged, and made anew; or it cannot be written, the images are held in memory, and the
            next call decodes again. The warning points at the third caller up.

    Cost: a file of up to `CHECKED_TO_THE_LAST_BYTE` is read and its checksum taken, 25 MB in about 50 ms.
    """
    key = hashlib.sha256(made_from.encode()).hexdigest()
    try:
        found = _opened(path, key)
    except _Damaged:
        warnings.warn(f"the cache {path} is damaged and is made anew", stacklevel=4)
        found = None
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _sole_writer(path) as partial:
            with contextlib.suppress(_Damaged):  # another process may have made it while this one waited
                found = _opened(path, key)
            if found is None:
                _LOG.info("decoding images, once: they are kept in %s", path)
                _write(partial, key, decode())
                os.replace(partial.name, path)
        mapped = found or _opened(path, key)
        assert mapped is not None
        return mapped
    except (OSError, _Damaged) as error:
        warnings.warn(
            f"the cache {path} cannot be written ({error}), so the next call starts over; name another directory, for "
            "instance with $METAGRAD_CACHE",
            stacklevel=4,
        )
    classes = list(decode())
    return Decoded(
        tuple(one.name for one in classes),
        tuple(len(one.images) for one in classes),
        np.concatenate([one.images for one in classes]),
    )


def default_cache() -> Path:
    """`$METAGRAD_CACHE`, else `$XDG_CACHE_HOME/metagrad`, else `~/.cache/metagrad`.

    Raises:
        ValueError: neither variable is set and there is no home directory.
    """
    if os.environ.get("METAGRAD_CACHE"):
        return Path(os.environ["METAGRAD_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "metagrad"
    try:
        return Path.home() / ".cache" / "metagrad"
    except RuntimeError as error:
        raise ValueError(f"there is no home directory for a cache ({error}); set $METAGRAD_CACHE") from error


def _opened(path: Path, key: str) -> Decoded | None:
    """The images of a cache file, mapped; None where there is none, or one of something else."""
    try:
        with path.open("rb") as file:
            index = _index(file)
            if index["made_from"] != key:
                return None
            shape, dtype = tuple(index["shape"]), np.dtype(index["dtype"])
            # Copy on write: nothing here writes, but torch takes no array that it could not write to.
            images = np.memmap(file, dtype=dtype, mode="c", shape=shape)
    except OSError:  # absent; or unreadable, and then writing it anew works or warns
        return None
    if images.nbytes <= CHECKED_TO_THE_LAST_BYTE and hashlib.sha256(images.data).hexdigest() != index["sha256"]:
        raise _Damaged
    names, counts = zip(*index["classes"], strict=True)
    return Decoded(names, counts, images)


def _index(file: IO[bytes]) -> dict[str, Any]:
    size = file.seek(0, os.SEEK_END)
    if size < _TAIL.size:
        raise _Damaged
    file.seek(size - _TAIL.size)
    length, digest, magic = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or length > size - _TAIL.size:
        raise _Damaged
    file.seek(size - _TAIL.size - length)
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise _Damaged
    index = json.loads(text)
    if index["bytes"] != size - _TAIL.size - length:
        raise _Damaged
    return index


def _write(file: IO[bytes], key: str, classes: Iterator[ClassImages]) -> None:
    names: list[tuple[str, int]] = []
    body = hashlib.sha256()
    shape, dtype = (), np.dtype(np.uint8)
    for name, images in classes:
        assert not names or (images.shape[1:], images.dtype) == (shape, dtype), f"class {name!r} differs from the first"
        shape, dtype = images.shape[1:], images.dtype
        names.append((name, len(images)))
        block = np.ascontiguousarray(images).data
        file.write(block)
        body.update(block)
    entries = {
        "made_from": key,
        "dtype": dtype.str,
        "shape": [sum(count for _, count in names), *shape],
        "bytes": file.tell(),
        "sha256": body.hexdigest(),
        "classes": names,
    }
    text = json.dumps(entries).encode()
    file.write(text + _TAIL.pack(len(text), hashlib.sha256(text).digest(), _MAGIC))
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _sole_writer(path: Path) -> Generator[IO[bytes]]:
    """An empty file beside `path`, for one process at a time; unless it has been renamed by then, it goes at the end.

    The lock ends with the process, so that whoever finds the remains of a killed one begins again in its file.
    """
    partial = path.with_name(f"{path.name}.partial")
    file = partial.open("ab")
    while (held := _locked(file)) and not _is(file, partial):  # renamed or deleted by the process that had it
        file.close()
        file = partial.open("ab")
    if not held:  # no locks here: a file that no other process knows
        file.close()
        partial.unlink(missing_ok=True)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
        file = partial.open("xb")
    with file:
        try:
            file.truncate(0)
            yield file
        finally:
            if _is(file, partial):
                partial.unlink(missing_ok=True)


def _locked(file: IO[bytes]) -> bool:
    """Wait for the only lock of a file; False where there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # some network file systems have none
        return False
    return True


def _is(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
