"""How a run tells people how it is going: a bar in a terminal, a line now and then elsewhere, or nothing."""

import time
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


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


class Lines:
    """One line for every validation, and one every `seconds` between them: for logs and pipes."""

    def __init__(self, console: Console, seconds: float):
        self._console = console
        self._seconds = seconds
        self._spoke = time.monotonic()
        self._meta_steps = 0

    def started(self, step: int, meta_steps: int) -> None:
        """Remember how far there is to go."""
        self._meta_steps = meta_steps
        self._spoke = time.monotonic()

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Say something if nothing was said for a while."""
        if time.monotonic() - self._spoke >= self._seconds:
            self._say(f"meta-step {step}/{self._meta_steps}  {sentence(values)}")

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        """Say what the validation gave."""
        mark = "  (best so far)" if best else ""
        self._say(f"meta-step {step}/{self._meta_steps}  validation {sentence(values)}{mark}")

    def noted(self, text: str) -> None:
        """Say it."""
        self._say(text)

    def warned(self, text: str) -> None:
        """Say it."""
        self._say(f"warning: {text}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._spoke = time.monotonic()


class Bar:
    """A progress bar with loss, metrics, tasks a second and the time left; use it as a context manager."""

    def __init__(self, console: Console):
        self._progress = Progress(
            TextColumn("meta-training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[latest]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[validation]}"),
            console=console,
        )
        self._row = self._progress.add_task("", total=None, latest="", validation="")

    def started(self, step: int, meta_steps: int) -> None:
        """Show the bar, from where the run stands."""
        self._progress.reset(self._row, total=meta_steps, completed=step)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Move the bar."""
        self._progress.update(self._row, completed=step, latest=sentence(values))

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        """Show the latest validation beside the bar."""
        mark = " (best)" if best else ""
        self._progress.update(self._row, validation=f"validation {sentence(values)}{mark}")

    def noted(self, text: str) -> None:
        """Show it where the latest step will be shown."""
        self._progress.update(self._row, latest=text)

    def warned(self, text: str) -> None:
        """Print it above the bar, where it stays."""
        self._progress.console.print(f"warning: {text}", highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_ERRORS = {"error_estimate": "error ≈", "error_probe": "probed"}


def sentence(values: Mapping[str, float]) -> str:
    """Values by name, in words: accuracies in per cent."""
    return "  ".join(_entry(name, value) for name, value in values.items())


def _entry(name: str, value: float) -> str:
    if name == "accuracy":
        return f"{name} {100 * value:.1f} %"
    if name in _ERRORS:
        return f"{_ERRORS[name]} {value:.2g}"
    return f"{value:.0f} {name}" if name == "tasks/s" else f"{name} {value:.4f}"
