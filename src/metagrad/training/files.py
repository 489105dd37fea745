"""Files that are either the old one or the new one, whatever kills the writer."""

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path
from typing import IO

from metagrad import opening
from metagrad.training.leftovers import partial_name


@contextlib.contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """Open a temporary sibling for writing; on a clean exit flush it to the disk and rename it to `path`.

    A link at `path` is replaced, not followed.

    Raises:
        OSError: the directory cannot be written; `path` is then what it was.
    """
    partial = path.with_name(partial_name(path.name))
    file = opening.creating(partial)
    try:
        with file:
            yield file
            flush(file)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)


def require_writable(path: Path) -> None:
    """Refuse an output that cannot be written before anything is measured for it.

    A file is made beside it, or beside the first of its parents that is missing, and removed.

    Raises:
        ValueError: nothing can be made there; the sentence has the path and the system's reason.
    """
    place = path
    try:
        if path.is_dir() and not path.is_symlink():
            raise OSError(errno.EISDIR, "it is a directory")
        while not place.parent.exists():
            place = place.parent
        probe = place.with_name(partial_name(place.name))
        opening.creating(probe).close()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror or error}; choose another place") from error


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
