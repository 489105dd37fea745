"""What a study is: settings, cells that are measured one by one, and what their records say about a claim."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from matplotlib.figure import Figure

from metagrad.training import Reporter
from metagrad_studies.core.records import Record, Records


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks for.

    Of the scales, "full" is the paper's size and "small" takes a laptop 10 minutes; "medium", where there is one, takes
    it an hour or two.
    """

    scale: str  # one of the study's
    data: str | None = None  # directory of data sets; None where the user has none
    as_published: bool = False  # keep the protocol as it was published, faults included


@dataclass(frozen=True)
class Cell:
    """One piece of work, done as a whole or not at all."""

    key: str  # unique within the study; also a name of a directory, so letters, digits and ``.=,_-`` only
    values: Mapping[str, Any]  # what `measure` needs to know, as JSON values


def crossed(key: str, **values: Iterable[Any]) -> list[Cell]:
    """A cell for every combination of values, the last name changing fastest.

    >>> [cell.key for cell in crossed("alpha={alpha:g}_seed={seed}", alpha=(0.1, 0.2), seed=(7,))]
    ['alpha=0.1_seed=7', 'alpha=0.2_seed=7']
    """
    combinations = [dict(zip(values, each, strict=True)) for each in product(*values.values())]
    return [Cell(key.format(**each), each) for each in combinations]


@dataclass(frozen=True)
class Finding:
    """What the source claims and what was measured here."""

    claim: str  # a sentence, as the source has it
    measured: str  # a sentence with numbers
    held: bool | None  # whether the claim held at this size; None where the records cannot tell (say why in `measured`)


@dataclass(frozen=True)
class Listing:
    """A table of results: texts, ready to be shown anywhere."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"the table {self.title!r} has {len(self.columns)} columns and the row {row}")


def listing(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Listing:
    """A table of anything that has a text."""
    return Listing(title, tuple(columns), tuple(tuple(map(str, row)) for row in rows))


@dataclass(frozen=True)
class Bench:
    """Where a cell is measured."""

    directory: Path  # of this cell alone, made when first used and kept; training runs go here
    data: str | None  # directory of data sets, or None
    reporter: Reporter  # told about training steps and notes


Settings = TypeVar("Settings")


class Study(ABC, Generic[Settings]):
    """A figure or table of a paper, or a measurement of our own kind.

    Settings are a frozen dataclass of JSON values that holds *every* number the records depend on, seeds included.
    `measure` is deterministic given settings and cell, up to times. `figure`, `listings` and `findings` read records
    only, so that they can be made again without measuring.
    """

    name: ClassVar[str]
    """As typed: `metagrad reproduce NAME`. The module has the same name, with underscores."""
    title: ClassVar[str]
    """One line."""
    source: ClassVar[str]
    """Paper and figure or table, or "ours"."""
    scales: ClassVar[tuple[str, ...]] = ("small", "full")
    """The sizes that it has."""
    side_by_side: ClassVar[bool] = False
    """Whether cells that are small enough for a CPU are best measured by a process for each core: they measure no
    times that matter, and keep no more than one core busy."""
    tiny: ClassVar[bool] = False
    """Whether its tensors are too small for threads to share, at every size."""
    corrected: ClassVar[bool] = False
    """Whether the published protocol has faults that ours corrects, so that --as-published has a meaning."""
    choices: ClassVar[tuple[str, ...]] = ()
    """Settings that the source leaves out and what was chosen; faults of its protocol and how they were corrected."""

    @abstractmethod
    def settings(self, request: Request) -> Settings:
        """Every number of the study at that size.

        Raises:
            ValueError: data are missing.
        """

    @abstractmethod
    def cells(self, settings: Settings) -> Sequence[Cell]:
        """The work, in order; keys are unique."""

    @abstractmethod
    def measure(self, settings: Settings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """The records of one cell, at least one."""

    @abstractmethod
    def figure(self, settings: Settings, records: Records) -> Figure:
        """The figure, with labelled axes and units."""

    @abstractmethod
    def listings(self, settings: Settings, records: Records) -> Sequence[Listing]:
        """The tables, at least one."""

    @abstractmethod
    def findings(self, settings: Settings, records: Records) -> Sequence[Finding]:
        """What the source claims beside what was measured."""
