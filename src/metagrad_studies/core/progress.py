"""How a study tells people how it is going: two bars in a terminal, lines elsewhere, or nothing."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from metagrad.terminal import say
from metagrad.training.progress import Lines, Reporter, Silent, sentence


class Watcher:
    """Receives what a study does, and changes nothing; this one says nothing either."""

    def __init__(self, training: Reporter | None = None) -> None:
        self.training = training or Silent()
        """Told about the training inside cells."""

    def planned(self, path: Path, done: int, cells: int) -> None:
        """The study in `path` starts, or goes on, with `done` of its cells measured; nothing refuses it any more."""

    def began(self, key: str) -> None:
        """A cell is being measured."""

    def ended(self, key: str, seconds: float) -> None:
        """A cell is measured."""


class CellLines(Watcher):
    """A line for every cell, and one every `seconds` of training: for logs and pipes."""

    def __init__(self, console: Console, seconds: float) -> None:
        super().__init__(Lines(console, seconds))
        self._console = console
        self._done = self._cells = 0

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Say where, and how much there is already."""
        self._done, self._cells = done, cells
        say(self._console, f"measuring in {path}")
        if done:
            say(self._console, f"{done} of {cells} cells are there already")

    def ended(self, key: str, seconds: float) -> None:
        """Say it."""
        self._done += 1
        say(self._console, f"cell {self._done}/{self._cells}  {key}  {seconds:.1f} s")


class CellBars(Watcher):
    """A bar of cells above a bar of the training in them, from the plan on; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[latest]}", markup=False),
            TimeRemainingColumn(),
            console=console,
        )
        self._cells = self._progress.add_task("cells", total=None, latest="")
        super().__init__(_TrainingRow(self._progress))

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Say where, and show the bar from where the study stands."""
        say(self._progress.console, f"measuring in {path}")
        self._progress.start()
        self._progress.reset(self._cells, total=cells, completed=done)

    def began(self, key: str) -> None:
        """Show its name."""
        self._progress.update(self._cells, latest=key)

    def ended(self, key: str, seconds: float) -> None:
        """Move the bar."""
        self._progress.advance(self._cells)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _TrainingRow:
    """The second bar, hidden until something trains."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._row = progress.add_task("meta-training", total=None, visible=False, latest="")

    def started(self, step: int, meta_steps: int) -> None:
        self._progress.reset(self._row, total=meta_steps, completed=step, visible=True)

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        self._progress.update(self._row, completed=step, latest=sentence(values))

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        self._progress.update(self._row, latest=f"validation {sentence(values)}")

    def noted(self, text: str) -> None:
        self._progress.update(self._row, latest=text)

    def warned(self, text: str) -> None:
        say(self._progress.console, f"warning: {text}")
