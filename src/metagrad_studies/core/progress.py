"""How a study tells people how it is going: two bars in a terminal, lines elsewhere, or nothing."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from metagrad.terminal import say
from metagrad.training.bar import TrainingRow, progress
from metagrad.training.progress import Lines, Pace, Reporter, Silent, duration


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
    """A line for every cell, and one at least every `seconds`: for logs and pipes; use it as a context manager."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._lines = Lines(console, seconds)
        super().__init__(self._lines)
        self._console = console
        self._done = self._cells = 0
        self._open = ExitStack()

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Say where, and how much there is already."""
        self._done, self._cells = done, cells
        say(self._console, f"measuring in {path}")
        if done:
            say(self._console, f"{done} of {cells} cells are there already")
        self._open.enter_context(self._lines)

    def began(self, key: str) -> None:
        """Its name, for when nothing else is said."""
        self._lines.at(f"cell {self._done + 1}/{self._cells}  {key}")

    def ended(self, key: str, seconds: float) -> None:
        """Say it."""
        self._done += 1
        self._lines.noted(f"cell {self._done}/{self._cells}  {key}  {seconds:.1f} s")
        self._lines.at(f"{self._done} of {self._cells} cells measured, the next")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


class CellBars(Watcher):
    """A bar of cells above a bar of the training in them, from the plan on; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = progress(console)
        self._cells = self._progress.add_task("cells", total=None, left="", parts=())
        self._pace = Pace()
        super().__init__(TrainingRow(self._progress))

    def planned(self, path: Path, done: int, cells: int) -> None:
        """Say where, and show the bar from where the study stands."""
        say(self._progress.console, f"measuring in {path}")
        self._progress.start()
        self._done = done
        self._pace.started(done, cells)
        self._progress.reset(self._cells, total=cells, completed=done, left="", parts=())

    def began(self, key: str) -> None:
        """Show its name."""
        self._progress.update(self._cells, parts=(key,))

    def ended(self, key: str, seconds: float) -> None:
        """Move the bar."""
        self._done += 1
        left = f"{duration(self._pace.stepped(self._done))} left"
        self._progress.update(self._cells, completed=self._done, left=left)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
