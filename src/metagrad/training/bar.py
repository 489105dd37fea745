"""Progress in a terminal: a row that always has its bar, step and time left, and of the rest what there is room for."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from metagrad.training.progress import Lines, Pace, duration, parts

_WIDE = 120  # columns from which the bar is as long as it may be
_LONG, _SHORT = 40, 16


def progress(console: Console) -> Progress:
    """Rows with the fields `left`, a text, and `parts`, texts in the order in which they are wanted.

    A sign turns while the row is there, whatever the program does.
    """
    return Progress(
        SpinnerColumn("line" if console.options.ascii_only else "dots", finished_text=" "),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_LONG if console.width >= _WIDE else _SHORT),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        _Parts(),
        console=console,
        expand=True,
    )


class TrainingRow:
    """The row of a run: a reporter, hidden until something trains."""

    def __init__(self, rows: Progress, visible: bool = False) -> None:
        self._rows = rows
        self._row = rows.add_task("training", total=None, visible=visible, left="", parts=())
        self._pace = Pace()
        self._validation: Sequence[str] = ()

    def started(self, step: int, meta_steps: int) -> None:
        """Show the bar, from where the run stands."""
        self._validation = ()
        self._pace.started(step, meta_steps)
        self._rows.reset(self._row, total=meta_steps, completed=step, visible=True, left="", parts=())

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Move the bar."""
        ordinary = {name: value for name, value in values.items() if not name.startswith("error")}
        shown = [*parts(ordinary), *self._validation, *parts({k: v for k, v in values.items() if k not in ordinary})]
        left = f"{duration(self._pace.stepped(step))} left"
        self._rows.update(self._row, completed=step, left=left, parts=shown)

    def validated(self, step: int, values: Mapping[str, float], best: bool) -> None:
        """Show the latest validation after the latest step."""
        first, *others = parts(values)
        self._validation = (f"validation {first}{' (best)' if best else ''}", *others)
        self._rows.update(self._row, parts=self._validation)

    def noted(self, text: str) -> None:
        """Show it where the latest step will be shown."""
        self._rows.update(self._row, parts=(text,))

    def warned(self, text: str) -> None:
        """Print it above the bar, where it stays."""
        self._rows.console.print(f"warning: {text}", highlight=False, markup=False, soft_wrap=True)


class Bar(TrainingRow):
    """A progress bar with loss, metrics, tasks a second and the time left; use it as a context manager."""

    def __init__(self, console: Console):
        super().__init__(progress(console), visible=True)

    def __enter__(self) -> Self:
        self._rows.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.stop()


def reporter(console: Console, seconds: float) -> Bar | Lines:
    """A bar in a terminal, a line at least every `seconds` elsewhere; a context manager."""
    return Bar(console) if console.is_terminal else Lines(console, seconds)


@contextmanager
def working(console: Console, doing: str, seconds: float) -> Generator[None]:
    """Something moves in here, or speaks every `seconds`, while nothing tells how far it is."""
    if console.is_terminal:
        with console.status(Text(doing)):
            yield
        return
    with Lines(console, seconds) as lines:
        lines.at(doing)
        yield


class _Parts(ProgressColumn):
    """What fits of a row's parts, each whole; the first is cut where even that is too long."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True, ratio=1))

    def render(self, task: Task) -> "_Fitting":
        return _Fitting(task.fields["parts"])


class _Fitting:
    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [Text(text) for text in texts]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = self._texts[0] if self._texts else Text()
        for text in self._texts[1:]:
            longer = Text("  ").join([line, text])
            if longer.cell_len > options.max_width:
                break
            line = longer
        line.truncate(options.max_width, overflow="ellipsis")
        yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)
