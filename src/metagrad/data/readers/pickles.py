"""Pickles of arrays and plain containers, from Python 2 or 3, read without running anything that a file names."""

from pathlib import Path
from typing import IO, Any

from metagrad.data.readers.files import opened
from metagrad.data.readers.pickle_stream import read_values
from metagrad.foreign import reason


def load_pickle(file: IO[bytes], name: str | Path) -> Any:
    """What a pickle holds: numbers, text, bytes, lists, tuples, dicts, sets and numpy arrays of plain numbers or text.

    Strings of Python 2 shorter than 256 bytes, and keys of bytes that some Python 3 pickles hold in their place, become
    text (Latin-1); longer strings stay bytes. Keys and elements of sets are text or numbers. Arrays are of numpy before
    or after its modules were renamed in 2.0.

    The opcodes are followed as data: no class or function that a pickle names is imported or called, arrays are views
    of bytes that are in the file, and values take up 128 MiB and four times the file at most.

    Args:
        file: open for reading bytes, and for seeking.
        name: for messages.

    Raises:
        ValueError: the pickle asks for something else, is damaged, is none, or does not fit into memory.

    Cost: 2 µs for each opcode, of which an array takes some 25.
    """
    try:
        return read_values(file)
    except MemoryError as error:
        raise ValueError(f"{name} does not fit into memory; close other programs or take another machine") from error
    except (EOFError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as a pickle of arrays ({reason(error)}); get it again") from error


def open_pickle(path: Path) -> Any:
    """What a file holds, as `load_pickle`.

    Raises:
        ValueError: as `load_pickle` and `opened`.
    """
    with opened(path) as file:
        return load_pickle(file, path)
