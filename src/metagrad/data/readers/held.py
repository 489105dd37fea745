"""Labels, names and arrays that a file holds, if it does: anything may be in their place."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def integers(values: object, what: str) -> npt.NDArray[np.int64]:
    """A list or array [n] of integers; messages call it `what`.

    Raises:
        TypeError: it holds something else.
        ValueError: an integer has more than 64 bits.
    """
    try:
        if isinstance(values, list | tuple):
            if any(isinstance(value, bool) or not isinstance(value, int | np.integer) for value in values):
                raise TypeError(f"{what} are not lists of integers")
            return np.array([int(value) for value in values], np.int64)
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
            raise TypeError(f"{what} are not lists of integers")
        if values.dtype == np.uint64 and (values > 2**63 - 1).any():
            raise OverflowError
        return values.astype(np.int64)
    except OverflowError as error:
        raise ValueError(f"{what} have more than 64 bits") from error


def texts(values: object, what: str) -> Sequence[str]:
    """A list or array [n] of text, or of bytes in its place (Latin-1).

    Raises:
        TypeError: it holds something else.
    """
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "SU":
        values = values.tolist()
    if not isinstance(values, list | tuple) or not all(isinstance(value, str | bytes) for value in values):
        raise TypeError(f"{what} are not lists of text")
    return [value.decode("latin1") if isinstance(value, bytes) else value for value in values]


def array(values: object, what: str) -> npt.NDArray[Any]:
    """An array of any shape and dtype.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{what} are a {type(values).__name__}, not an array")
    return values


def mapping(values: object, what: str) -> Mapping[Any, Any]:
    """A dict.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{what} holds a {type(values).__name__}, not a dict")
    return values
