"""Checks of arguments that every layer shares: each error names the argument, the value and what is allowed."""

import math


def integer(name: str, value: object, least: int) -> None:
    """Require an `int` (not a bool) of at least `least`.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def number(name: str, value: object, above: float | None = None, least: float | None = None) -> None:
    """Require a finite real number, greater than `above` and not less than `least` where they are given.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is not finite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {value}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least:g}, got {value}")
