"""Files of a data set: regular ones, or links to such, of bounded size; what is wrong with one, in a sentence."""

import os
import stat
import sys
from pathlib import Path
from typing import IO

from metagrad import opening
from metagrad.foreign import reason


def present(path: Path) -> bool:
    """Whether something of that name is there, even if it is no file: `state` and `opened` say what it is then."""
    return os.path.lexists(path)


def state(*paths: Path) -> str:
    """Names, sizes and times of change of files: another text where a file was replaced or written to.

    Raises:
        ValueError: one of them is no regular file, or no link to one.
    """
    lines: list[str] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({reason(error)})") from error
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is no regular file; put the file itself there, or a link to it")
        lines.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(lines)


def opened(path: Path, largest: int = sys.maxsize) -> IO[bytes]:
    """A file, or what a link to it leads to, open to read.

    Raises:
        ValueError: it cannot be opened, is no regular file, or has more than `largest` bytes.
    """
    try:
        return opening.reading(Path(os.path.realpath(path)), largest)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({reason(error)})") from error


def contents(path: Path, largest: int) -> bytes:
    """All bytes of a file; as `opened`."""
    with opened(path, largest) as file:
        return file.read(largest)
