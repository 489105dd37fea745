"""A directory belongs to one process at a time, until that process lets go or dies.

The directory itself is locked, so that nobody who deletes a file in it can take it over; and a file in it, for file
systems where directories cannot be locked, and for versions of metagrad that lock the file alone.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from metagrad import opening

try:
    import fcntl
except ImportError:  # Windows has no flock: there two writers of one directory are not told apart
    fcntl = None

LOCK = "lock"
"""The file's name."""

_NO_LOCKS_HERE = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF, errno.EINVAL}


class Lock:
    """What holds a directory, until it is closed."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def take(self, descriptor: int) -> bool:
        """Lock what is open there, and keep it open; False if another process has it."""
        self._descriptors.append(descriptor)
        return _flock(descriptor, shared=False)

    def close(self) -> None:
        """Let go."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lock(directory: Path) -> Lock | None:
    """Take the directory for this process; None if another process has it.

    The system lets go of the lock when the process dies, by whatever signal.

    Raises:
        OSError: the lock file cannot be opened, or is no regular file.
    """
    held = Lock()
    try:
        if all(held.take(descriptor) for descriptor in _descriptors(directory, create=True)):
            return held
    except BaseException:
        held.close()
        raise
    held.close()
    return None


def locked(directory: Path) -> bool:
    """Whether a process holds the directory at this moment; nothing is written.

    The question itself takes a shared lock for some microseconds: a process that begins just then is refused.
    """
    with contextlib.suppress(OSError):  # no lock file, or one that may not be read
        for descriptor in _descriptors(directory, create=False):
            try:
                if not _flock(descriptor, shared=True):
                    return True
            finally:
                os.close(descriptor)
    return False


def _descriptors(directory: Path, create: bool) -> Iterator[int]:
    """Of the directory, where the system opens directories, and of the lock file in it."""
    if hasattr(os, "O_DIRECTORY"):
        yield os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    path = directory / LOCK
    with opening.claiming(path) if create else opening.reading(path, opening.LINES_BYTES) as file:
        yield os.dup(file.fileno())


def _flock(descriptor: int, shared: bool) -> bool:
    """Whether the lock could be taken; where there are no locks it could."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return True
