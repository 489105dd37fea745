"""Decoded images in one memory-mapped file: tied to what they were made from, and written whole or not at all."""

import contextlib
import hashlib
import json
import logging
import math
import os
import secrets
import struct
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from metagrad import opening

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
_LONGEST_INDEX = 2**25  # bytes; the index of a million classes has some 30 million

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
        decoded = _opened(path, key)
    except _Damaged:
        warnings.warn(f"the cache {path} is damaged and is made anew", stacklevel=4)
        decoded = None
    if decoded is not None:
        return decoded
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _sole_writer(path) as (file, partial):
            with contextlib.suppress(_Damaged):  # another process may have made it while this one waited
                decoded = _opened(path, key)
            if decoded is None:
                _LOG.info("decoding images, once: they are kept in %s", path)
                _write(file, key, decode())
                os.replace(partial, path)
        mapped = decoded or _opened(path, key)
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
        with opening.reading(path, sys.maxsize) as file:
            index = _index(file)
            if index.made_from != key:
                return None
            # Copy on write: nothing here writes, but torch takes no array that it could not write to.
            images = np.memmap(file, dtype=index.dtype, mode="c", shape=index.shape)
    except OSError:  # absent, or no file; or unreadable, and then writing it anew works or warns
        return None
    if images.nbytes <= CHECKED_TO_THE_LAST_BYTE and hashlib.sha256(images.data).hexdigest() != index.sha256:
        raise _Damaged
    return Decoded(index.names, index.counts, images)


class _Index(NamedTuple):
    made_from: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    sha256: str
    names: tuple[str, ...]
    counts: tuple[int, ...]


def _index(file: IO[bytes]) -> _Index:
    size = file.seek(0, os.SEEK_END)
    if size < _TAIL.size:
        raise _Damaged
    file.seek(size - _TAIL.size)
    length, digest, magic = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or length > min(size - _TAIL.size, _LONGEST_INDEX):
        raise _Damaged
    file.seek(size - _TAIL.size - length)
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise _Damaged
    try:
        index = _checked(json.loads(text))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _Damaged from error
    if math.prod(index.shape) * index.dtype.itemsize != size - _TAIL.size - length:
        raise _Damaged
    return index


def _checked(entries: Any) -> _Index:
    """The entries of an index, once they are of their kinds: a file with the right digest may be somebody else's."""
    names, counts = zip(*entries["classes"], strict=True)
    shape, dtype = tuple(entries["shape"]), np.dtype(entries["dtype"])
    whole = all(type(number) is int and number >= 0 for number in (*shape, *counts))
    if not whole or len(shape) < 2 or sum(counts) != shape[0] or dtype.kind not in "uf":
        raise ValueError("the index does not describe images")
    if not all(isinstance(text, str) for text in (*names, entries["made_from"], entries["sha256"])):
        raise TypeError("the index does not name its classes")
    return _Index(entries["made_from"], dtype, shape, entries["sha256"], names, counts)


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
        "sha256": body.hexdigest(),
        "classes": names,
    }
    text = json.dumps(entries).encode()
    file.write(text + _TAIL.pack(len(text), hashlib.sha256(text).digest(), _MAGIC))
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _sole_writer(path: Path) -> Generator[tuple[IO[bytes], Path]]:
    """An empty file beside `path`, and its path, for one process at a time; it goes at the end, unless renamed by then.

    The lock ends with the process, so that whoever finds the remains of a killed one begins again in its file. A link
    of that name is not followed.
    """
    partial = path.with_name(f"{path.name}.partial")
    file = opening.appending(partial)
    while (held := _locked(file)) and not _is(file, partial):  # renamed or deleted by the process that had it
        file.close()
        file = opening.appending(partial)
    if not held:  # no locks here: a file that no other process knows
        file.close()
        partial.unlink(missing_ok=True)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
        file = opening.creating(partial)
    with file:
        try:
            file.truncate(0)
            yield file, partial
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
