"""How a run tells people how it is going: a bar in a terminal, a line now and then elsewhere, or nothing."""

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

_LATEST = 100  # meta-steps that the time left is judged by


class Reporter(Protocol):
    """Receives what a trainer does; it must not change anything."""

    def started(self, step: int, meta_steps: int) -> None:
        """Training starts, or goes on, after `step` meta-steps of `meta_steps`."""
        ...

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """A meta-step is done: its mean query loss and metrics over the meta-batch, and "tasks/s".

        Where there are any, "error_estimate" of this meta-step and "error_probe", the latest one.
        """
        ...

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        """A validation is done: means over its tasks after the inner steps of training."""
        ...

    def noted(self, text: str) -> None:
        """Something takes its time before the next step, or was decided: a sentence."""
        ...

    def warned(self, text: str) -> None:
        """Something is probably not as wanted: a sentence with the remedy, once in a run."""
        ...


class Silent:
    """Says nothing, and hands warnings to Python's."""

    def started(self, step: int, meta_steps: int) -> None:
        """Nothing."""

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        """Nothing."""

    def noted(self, text: str) -> None:
        """Nothing."""

    def warned(self, text: str) -> None:
        """A `RuntimeWarning`."""
        warnings.warn(text, RuntimeWarning, stacklevel=2)


class Pace:
    """How long meta-steps take at present, and so the rest of them.

    The mean of the latest, validations included; the first one, which compiles, counts only while it is alone.

    Args:
        clock: seconds, as `time.monotonic` gives them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.started(0, 0)

    def started(self, step: int, meta_steps: int) -> None:
        """The clock runs from here."""
        self._meta_steps, self._before, self._first = meta_steps, self._clock(), True
        self._latest: deque[float] = deque(maxlen=_LATEST)

    def stepped(self, step: int) -> float:
        """Seconds left after `step` meta-steps, of which one has just been done."""
        now = self._clock()
        if self._first and self._latest:
            self._latest.clear()
            self._first = False
        self._latest.append(now - self._before)
        self._before = now
        return (self._meta_steps - step) * sum(self._latest) / len(self._latest)


class Lines:
    """A line for the first meta-step, for every validation, and at least every `seconds`: for logs and pipes.

    As a context manager it also speaks while nothing is reported to it, because something compiles or is decoded.
    """

    def __init__(self, console: Console, seconds: float):
        self._console = console
        self._seconds = seconds
        self._spoke = self._since = time.monotonic()
        self._doing = "getting ready"
        self._meta_steps, self._first = 0, True
        self._pace = Pace()
        self._over = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread: threading.Thread | None = None

    def started(self, step: int, meta_steps: int) -> None:
        """Remember how far there is to go."""
        self._meta_steps, self._first = meta_steps, True
        self._pace.started(step, meta_steps)
        self.at(f"meta-step {step + 1}/{meta_steps}")

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Say something if it is the first, or if nothing was said for a while."""
        left = self._pace.stepped(step)
        if self._first or time.monotonic() - self._spoke >= self._seconds:
            self._say(f"meta-step {step}/{self._meta_steps}  {sentence(values)}  {duration(left)} left")
        self._first = False
        self.at(f"meta-step {step + 1}/{self._meta_steps}" if step < self._meta_steps else "the last validation")

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        """Say what the validation gave."""
        mark = "  (best so far)" if best else ""
        self._say(f"meta-step {step}/{self._meta_steps}  validation {sentence(values)}{mark}")

    def noted(self, text: str) -> None:
        """Say it."""
        self._say(text)
        self.at(text.rstrip(" …"))

    def warned(self, text: str) -> None:
        """Say it."""
        self._say(f"warning: {text}")

    def at(self, doing: str) -> None:
        """What takes its time from here on, for when nothing else is said."""
        self._doing, self._since = doing, time.monotonic()

    def __enter__(self) -> Self:
        self._spoke = time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="progress")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(max(0.01, self._spoke + self._seconds - time.monotonic())):
            if time.monotonic() - self._spoke >= self._seconds:
                self._say(f"{self._doing}: {duration(time.monotonic() - self._since)} so far")

    def _say(self, text: str) -> None:
        with self._one_at_a_time:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
            self._spoke = time.monotonic()


def duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_ERRORS = {"error_estimate": "error ≈", "error_probe": "probed"}


def parts(values: Mapping[str, float]) -> list[str]:
    """Values by name, in words, what people wait for first: accuracies in per cent, errors of estimates at the end."""
    ordered = sorted(values, key=lambda name: name in _ERRORS)
    return [_entry(name, values[name]) for name in ordered]


def sentence(values: Mapping[str, float]) -> str:
    """All parts in one line."""
    return "  ".join(parts(values))


def _entry(name: str, value: float) -> str:
    if name == "accuracy":
        return f"{name} {100 * value:.1f} %"
    if name in _ERRORS:
        return f"{_ERRORS[name]} {value:.2g}"
    return f"{value:.0f} {name}" if name == "tasks/s" else f"{name} {value:.4f}"
