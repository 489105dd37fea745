"""What the page shows of one run, comparison or study: texts and numbers already formatted, nothing to compute."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from metagrad.reporting.curves import Panel
from metagrad.reporting.pictures import Picture

Kind = Literal["study", "comparison", "run"]
_ONE = r"[-+−<≤]?\s?(\d[\d,]*\.?\d*(e[-+]?\d+)?|nan|inf|–)"
_NUMERIC = re.compile(rf"{_ONE}( ?(±|to|\.\.|–) ?{_ONE})?\s?(%|s|×)?\*?", re.IGNORECASE)


@dataclass(frozen=True)
class Command:
    """A command that makes numbers; numbers link to it by its id.

    Args:
        id: unique in the page.
        does: what it makes, in a few words.
        text: as typed.
    """

    id: str
    does: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the rows.

    Args:
        title: its caption.
        columns: heads.
        rows: cells, as many as there are heads.
        command: id of the command that makes it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    command: str | None = None

    @property
    def numeric(self) -> Sequence[bool]:
        """Whether each column holds numbers, which are set flush right."""
        return [
            bool(self.rows) and all(not row[i] or _NUMERIC.fullmatch(row[i]) for row in self.rows)
            for i in range(len(self.columns))
        ]


@dataclass(frozen=True)
class Verdict:
    """A finding: what the source claims, what was measured, and whether it held here."""

    claim: str
    measured: str
    held: bool | None

    @property
    def word(self) -> str:
        """As the page says it."""
        return "undecided" if self.held is None else "held" if self.held else "did not hold"


@dataclass(frozen=True)
class Headline:
    """The cells of an entry in the table of its kind; a number links to the command that makes it."""

    text: str
    command: str | None = None


@dataclass(frozen=True)
class State:
    """How far it is: a word for tables, a sentence, whether that is all there will be, and the command that goes on."""

    word: str
    sentence: str
    complete: bool
    command: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run, comparison or study.

    Args:
        kind: which of them.
        id: unique in the page.
        name: its path below the directory of the report.
        title: one line.
        state: how far it is.
        facts: label and text.
        headlines: its row in the table of its kind, after the name.
        commands: what makes its numbers.
        verdicts: of a study.
        curves: learning curves.
        pictures: images that lay beside it.
        tables: results.
        remarks: sentences that one has to know to read the tables.
        lists: title and sentences, folded.
        folded: further tables, folded.
        notes: what could not be read.
        environment: versions and platform; empty where they were not recorded.
    """

    kind: Kind
    id: str
    name: str
    title: str
    state: State
    facts: Sequence[tuple[str, str]] = ()
    headlines: Sequence[Headline] = ()
    commands: Sequence[Command] = ()
    verdicts: Sequence[Verdict] = ()
    curves: Sequence[Panel] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()
    lists: Sequence[tuple[str, Sequence[str]]] = ()
    folded: Sequence[Table] = ()
    notes: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
