"""Checks of arguments that every layer shares: each error names the argument, the value and what is allowed."""

import math
from numbers import Integral, Real


def integer(name: str, value: object, least: int, most: int = 2**31 - 1) -> None:
    """Require an integer (not a bool) from `least` to `most`.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if int(value) < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if int(value) > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")


def number(
    name: str, value: object, above: float | None = None, least: float | None = None, below: float | None = None
) -> None:
    """Require a finite real number, greater than `above`, at least `least` and less than `below` where they are given.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is not finite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    size = float(value)
    if not math.isfinite(size):
        raise ValueError(f"{name} must be finite, got {value}")
    if above is not None and size <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {value}")
    if least is not None and size < least:
        raise ValueError(f"{name} must be at least {least:g}, got {value}")
    if below is not None and size >= below:
        raise ValueError(f"{name} must be less than {below:g}, got {value}")


def function(name: str, value: object) -> None:
    """Require something to call that is no class: `nn.MSELoss()`, not `nn.MSELoss`.

    Raises:
        TypeError: `value` is a class, or cannot be called.
    """
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a function or a module, got the class {value.__name__}: write {value.__name__}()"
        )
    if not callable(value):
        raise TypeError(f"{name} must be a function or a module, got {value!r}")


def raised_by_metagrad(error: BaseException) -> bool:
    """Whether the error is a sentence of this package's own, raised in one of its files."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").split(".")[0] == "metagrad"
