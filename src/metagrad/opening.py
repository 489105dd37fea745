"""Opening what lies in a directory that anyone may have made: regular files only, no links followed, sizes bounded."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

JSON_BYTES = 32 * 2**20
"""Largest JSON file that is read; its values take up to twenty times that."""

LINES_BYTES = 2**30
"""Largest file that is read line by line."""

LINE_BYTES = 2**24
"""Longest line that is read; a longer one is damaged."""

_ALWAYS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISLNK, "a symbolic link, which is not followed"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def reading(path: Path, largest: int) -> IO[bytes]:
    """The file, open to read.

    Raises:
        OSError: it is missing, no regular file, or larger than `largest` bytes.
    """
    file = _opened(path, os.O_RDONLY, "rb")
    size = os.fstat(file.fileno()).st_size
    if size > largest:
        file.close()
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {largest:,} are read", str(path))
    return file


def read_bytes(path: Path, largest: int) -> bytes:
    """All bytes of the file; errors as `reading`."""
    with reading(path, largest) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def lines(path: Path) -> Iterator[bytes]:
    """The file's lines with their ends; one that is longer than `LINE_BYTES` comes as its first bytes, without an end.

    Raises:
        OSError: as `reading`.
    """
    with reading(path, LINES_BYTES) as file:
        while line := file.readline(LINE_BYTES):
            yield line
            while len(line) == LINE_BYTES and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES)


def appending(path: Path) -> IO[bytes]:
    """The file, open to append, made if it is not there.

    Raises:
        OSError: it is no regular file, or has another name elsewhere, whose file would change with it.
    """
    file = _opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, "ab")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OSError(errno.EMLINK, "it is a hard link, and writing would change a file elsewhere; copy it", str(path))
    return file


def creating(path: Path) -> IO[bytes]:
    """A new file, open to write; OSError where anything is there already, a link among them."""
    return _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, "wb")


def claiming(path: Path) -> IO[bytes]:
    """The file, open to be locked, made if it is not there, its bytes as they are; OSError: it is no regular file."""
    return _opened(path, os.O_RDWR | os.O_CREAT, "r+b")


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):  # not there, or no name that the system takes
        return False


def _opened(path: Path, flags: int, mode: str) -> IO[bytes]:
    try:
        _require_regular(os.lstat(path), path)  # before: to open a device may act on it
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    descriptor = os.open(path, flags | _ALWAYS, 0o666)
    try:
        _require_regular(os.fstat(descriptor), path)  # after: it may have been exchanged
        return os.fdopen(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "a device")
        raise OSError(errno.EINVAL, f"it is no regular file but {kind}", str(path))
