"""Pickles of arrays and plain containers, from Python 2 or 3, read without running anything that a file names."""

import codecs
import math
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# What reading a damaged or foreign pickle raises.
_UNREADABLE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, ImportError),
    *(ArithmeticError, MemoryError, RecursionError, AssertionError),
)


def load_pickle(file: IO[bytes], name: str | Path) -> Any:
    """What a pickle holds: numbers, text, bytes, lists, tuples, dicts, sets and numpy arrays of plain numbers or text.

    Strings of Python 2, and the bytes in their place that some Python 3 pickles hold as keys, become text (Latin-1).
    Every other class or function that a pickle asks for is refused before it is even imported, so that a file can do no
    more than fill memory. Arrays are of numpy before or after its modules were renamed in 2.0.

    Args:
        file: open for reading bytes.
        name: for messages.

    Raises:
        ValueError: the pickle asks for something else, is damaged, or is none.
    """
    try:
        return _text_keys(_Unpickler(file, encoding="latin1").load())
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} cannot be read as a pickle of arrays ({reason}); get it again") from error


def open_pickle(path: Path) -> Any:
    """What a file holds, as `load_pickle`.

    Raises:
        ValueError: as `load_pickle`; or the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return load_pickle(file, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); get it again") from error


class _DType:
    """Stands in for a pickled dtype: a plain one of numbers or text, in a byte order."""

    def __init__(self, text: object, *_flags: object) -> None:
        text = text.decode("ascii") if isinstance(text, bytes) else text
        if not isinstance(text, str) or text[:1] not in set("biufSU") or not text[1:].isdecimal():
            raise ValueError(f"it holds an array of type {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("|", "<", ">", "="):
            raise ValueError("it holds an array of a type that is not plain")
        if any(part is not None for part in state[2:5]):  # of a sub-array or of fields
            raise ValueError("it holds an array of a type that is not plain")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array whose pickled state is checked before numpy sees it."""

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, fortran, raw = state
        checked: Any = (1, *_checked(shape, kind), bool(fortran), _sized(raw, shape, kind))
        super().__setstate__(checked)


def _checked(shape: Any, kind: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if not isinstance(kind, _DType):
        raise ValueError(f"it holds an array of type {kind!r}")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"it holds an array of shape {shape!r}")
    return shape, kind.dtype


def _sized(raw: Any, shape: Any, kind: Any) -> bytes:
    """The bytes of an array, of the right number; Python 2 strings come as text."""
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    needed = math.prod(shape) * kind.dtype.itemsize
    if not isinstance(data, bytes | bytearray) or len(data) != needed:
        raise ValueError(f"it holds an array of {needed} bytes without them")
    return bytes(data)


def _empty(subtype: Any, _shape: Any, _code: Any) -> Array:
    if subtype is not _Array:
        raise ValueError(f"it holds an array of class {subtype!r}")
    return np.empty(0, np.uint8).view(_Array)


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> Array:
    shape, dtype = _checked(shape, kind)
    flat = np.frombuffer(_sized(raw, shape, kind), dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C").view(_Array)


def _scalar(kind: Any, raw: Any) -> Any:
    _, dtype = _checked((), kind)
    return np.frombuffer(_sized(raw, (), kind), dtype)[0]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or codecs.lookup(str(encoding)).name != "iso8859-1":
        raise ValueError("it holds bytes in an encoding other than Latin-1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_ADMITTED: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _empty),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("builtins", "bytes"): _no_bytes,
    ("builtins", "list"): list,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = ("builtins" if module_name == "__builtin__" else module_name, global_name)
        if known not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, neither an array nor a container")
        admitted = _ADMITTED[known]
        # A pickle may set attributes of a function that it has: let them be those of one that nobody else has.
        return admitted if isinstance(admitted, type) else lambda *arguments: admitted(*arguments)


def _text_keys(value: Any) -> Any:
    """The value, a dict's keys of bytes as text, and so in dicts that it holds."""
    if not isinstance(value, dict):
        return value
    return {key.decode("latin1") if isinstance(key, bytes) else key: _text_keys(held) for key, held in value.items()}
