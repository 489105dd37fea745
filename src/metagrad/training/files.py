"""Files that are either the old one or the new one, whatever kills the writer."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no flock: there two writers of one run are not told apart
    fcntl = None

PARTIAL = ".partial"
"""Ending of a file or directory that is still being written; whoever finds one unlocked may delete it."""

_NO_LOCKS_HERE = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Open a temporary sibling for writing; on a clean exit flush it to the disk and rename it to `path`.

    Raises:
        OSError: the directory cannot be written; `path` is then what it was.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            flush(file)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)


def flush(file: IO[bytes]) -> None:
    """Hand the file's bytes to the disk, past the buffers of Python and of the system."""
    file.flush()
    os.fsync(file.fileno())


def flush_directory(directory: Path) -> None:
    """Make the names in `directory` (new files, renames) as durable as the files' bytes."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open directories, and needs no such call
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(directory: Path) -> IO[bytes] | None:
    """Take the directory for this process until the returned file is closed; None if another process has it.

    The system lets go of the lock when the process dies, by whatever signal.
    """
    file = (directory / "lock").open("wb")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
    return file


def locked(directory: Path) -> bool:
    """Whether a process holds the directory at this moment; nothing is written.

    The question itself takes a shared lock for some microseconds: a process that begins just then is refused.
    """
    try:
        with (directory / "lock").open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, one that may not be read, or a file system without locks
        return False
    return False


def new_partial_directory(target: Path) -> tuple[Path, IO[bytes]]:
    """A locked directory beside `target`, to be filled and renamed to it; leftovers of dead writers go."""
    prefix = f".{target.name}."
    for leftover in target.parent.glob(f"{prefix}*{PARTIAL}"):
        held = lock(leftover)
        if held is not None:
            held.close()
            shutil.rmtree(leftover)
    partial = target.parent / f"{prefix}{secrets.token_hex(4)}{PARTIAL}"
    partial.mkdir()
    held = lock(partial)
    if held is None:
        raise OSError(f"{partial} was taken by another process while it was being made; try again")
    return partial, held
