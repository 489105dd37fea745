"""What a child process asks of a contender."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmarks.problems import Array, Problem


class UnavailableError(Exception):
    """This contender cannot do this problem here; the message says why in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A problem and how to run it."""

    problem: Problem
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 1
    options: dict[str, Any] = field(default_factory=dict[str, Any])


class Running(Protocol):
    """A contender with a problem set up; made by `prepare(setup)` of its file."""

    def run(self) -> object:
        """Compute one mean meta-gradient; may return before a device has finished."""
        ...

    def wait(self) -> None:
        """Return when the device has finished."""
        ...

    def gradient(self) -> dict[str, Array]:
        """Parameter name → meta-gradient of the last run."""
        ...


def flat(gradient: dict[str, Array]) -> Array:
    """One float64 vector, parameters by name, so that order is nobody's choice."""
    return np.concatenate([np.asarray(gradient[name], dtype=np.float64).ravel() for name in sorted(gradient)])
