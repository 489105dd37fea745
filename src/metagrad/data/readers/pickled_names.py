"""What the classes and functions that a pickle names stand for: arrays of plain numbers or text, and containers."""

import codecs
import math
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_PLAIN = re.compile(r"[biufSU][0-9]{1,9}")
_MOST_AXES = 32


@dataclass(frozen=True, eq=False)
class Named:
    """A class or function that a pickle names, and what a call of it gives: always one of the functions below."""

    call: Callable[..., Any]


class Unfilled:
    """An array that the pickle has announced and not described yet; `array` once it has."""

    array: Array | None = None

    def fill(self, state: Any) -> Array:
        """The array of a pickled state, checked against the bytes that come with it."""
        if self.array is not None:
            raise ValueError("it describes an array twice")
        version, shape, kind, fortran, raw = state
        if type(version) is not int or version != 1:
            raise ValueError("it holds an array in a form that numpy does not write")
        self.array = _array(raw, kind, shape, "F" if type(fortran) in (bool, int) and fortran else "C")
        return self.array


class PlainType:
    """A pickled dtype: one of plain numbers or text, in a byte order."""

    def __init__(self, text: object, align: object, copy: object) -> None:
        text = text.decode("ascii") if isinstance(text, bytes) else text
        if not isinstance(text, str) or not _PLAIN.fullmatch(text):
            raise ValueError(f"it holds an array of type {text[:20]!r}" if isinstance(text, str) else _no_type(text))
        if not all(isinstance(flag, int) and flag in (0, 1) for flag in (align, copy)):
            raise ValueError("it holds an array of a type that is not plain")
        self.dtype = np.dtype(text)
        self._written = list(self.dtype.__reduce__()[2][2:])  # no sub-arrays, no fields; sizes and flags

    def complete(self, state: Any) -> None:
        """Take the byte order of a pickled state, which must say nothing else."""
        version, order, *parts = state
        if not all(part is None or isinstance(part, int) for part in parts) or (version, parts) != (3, self._written):
            raise ValueError("it holds an array of a type that is not plain")
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if not isinstance(order, str) or order not in ("|", "<", ">", "="):
            raise ValueError("it holds an array of a type that is not plain")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


def key(value: Any) -> Hashable:
    """A key of a dict, or an element of a set: text, a number or nothing; bytes become text (Latin-1)."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str | int | float | np.generic | None):  # a tuple's hash has no bound on its depth
        raise TypeError(f"it has a key of type {type(value).__name__}")
    return value


def named(module: str, name: str) -> Named:
    """What stands for a class or function.

    Raises:
        ValueError: it is neither for arrays nor a container.
    """
    if (stand_in := _ADMITTED.get(("builtins" if module == "__builtin__" else module, name))) is None:
        raise ValueError(f"it asks for {module}.{name}, neither an array nor a container")
    return stand_in


def _no_type(value: object) -> str:
    return f"it holds an array of a type given by a {type(value).__name__}"


def _dtype(kind: Any) -> np.dtype[Any]:
    if not isinstance(kind, PlainType):
        raise ValueError(f"it holds an array of type {kind[:20]!r}" if isinstance(kind, str) else _no_type(kind))
    return kind.dtype


def _array(raw: Any, kind: Any, shape: Any, order: Any) -> Array:
    """A view of an array's bytes, which must be of the right number; Python 2 strings come as text."""
    dtype = _dtype(kind)
    if not isinstance(shape, tuple) or len(shape) > _MOST_AXES:
        raise ValueError("it holds an array whose shape is no tuple of sizes")
    if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise ValueError("it holds an array of shape with sizes that are none")
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    needed = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes | bytearray) or len(data) != needed:
        raise ValueError(f"it holds an array of {needed} bytes without them")
    if not needed:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if isinstance(order, str) and order == "F" else "C")


def _announced(subtype: Any, shape: Any, code: Any) -> Unfilled:
    if subtype is not _NDARRAY or not isinstance(shape, tuple) or shape not in ((0,), ()) or code not in ("b", b"b"):
        raise ValueError("it holds an array in a form that numpy does not write")
    return Unfilled()


def _scalar(kind: Any, raw: Any) -> Any:
    return _array(raw, kind, (1,), "C")[0]


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in ("latin1", "latin-1", "iso8859-1"):
        raise ValueError("it holds bytes in an encoding other than Latin-1")
    return codecs.latin_1_encode(text)[0]


def _mapping(pairs: Any = ()) -> dict[Any, Any]:
    """An OrderedDict, from Python 2 with its items."""
    return {key(one): value for one, value in pairs}


def _with_default(_factory: Any = None) -> dict[Any, Any]:
    return {}


def _set(items: Any = ()) -> set[Any]:
    return {key(one) for one in items}


def _no_bytes() -> bytes:
    return b""


def _no_list() -> list[Any]:
    return []


def _never(*_arguments: Any) -> Any:
    raise ValueError("it makes an array by its shape and address")


_NDARRAY = Named(_never)

_ADMITTED: Mapping[tuple[str, str], Named] = {
    **{
        (f"numpy.{core}.{module}", name): Named(function)
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _announced),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array),
        )
    },
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Named(PlainType),
    ("_codecs", "encode"): Named(_encoded),
    ("collections", "OrderedDict"): Named(_mapping),
    ("collections", "defaultdict"): Named(_with_default),
    ("builtins", "bytes"): Named(_no_bytes),
    ("builtins", "list"): Named(_no_list),
    ("builtins", "set"): Named(_set),
    ("builtins", "frozenset"): Named(_set),
}
