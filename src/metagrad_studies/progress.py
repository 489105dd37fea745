"""How a study tells people how it is going: two bars in a terminal, lines elsewhere, or nothing."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from metagrad.training.progress import Lines, Reporter, Silent, sentence


class Watcher(Protocol):
    """Receives what a study does; it must not change anything."""

    training: Reporter
    """Told about the training inside cells."""

    def planned(self, path: Path, done: int, cells: int) -> None:
        """The study in `path` starts, or goes on, with `done` of its cells measured; nothing refuses it any more."""
        ...

    def began(self, key: str) -> None:
        """A cell is being measured."""
        ...

    def ended(self, key: str, seconds: float) -> None:
        """A cell is measured."""
        ...


class Quiet:
    """Says nothing."""

    def __init__(self) -> None:
        self.training: Reporter = Silent()

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Nothing."""

    def began(self, key: str) -> None:
        """Nothing."""

    def ended(self, key: str, seconds: float) -> None:
        """Nothing."""


class CellLines:
    """A line for every cell, and one every `seconds` of training: for logs and pipes."""

    def __init__(self, console: Console, seconds: float) -> None:
        self.training: Reporter = Lines(console, seconds)
        self._console = console
        self._done = self._cells = 0

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Say where, and how much there is already."""
        self._done, self._cells = done, cells
        self._say(f"measuring in {path}")
        if done:
            self._say(f"{done} of {cells} cells are there already")

    def began(self, key: str) -> None:
        """Nothing: the line comes when the cell is done."""

    def ended(self, key: str, seconds: float) -> None:
        """Say it."""
        self._done += 1
        self._say(f"cell {self._done}/{self._cells}  {key}  {seconds:.1f} s")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class CellBars:
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
        self.training: Reporter = _TrainingRow(self._progress)

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Say where, and show the bar from where the study stands."""
        self._progress.console.print(f"measuring in {path}", highlight=False, markup=False, soft_wrap=True)
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
        self._progress.console.print(f"warning: {text}", highlight=False, markup=False, soft_wrap=True)
