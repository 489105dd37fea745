"""A study directory as an entry of the page: findings, figure, tables, settings, records."""

from collections.abc import Mapping
from os.path import lexists
from pathlib import Path
from typing import Any

from metagrad.reporting.entry import Command, Entry, Headline, State, Table, Verdict
from metagrad.reporting.pictures import Picture, picture
from metagrad.reporting.reading import (
    Note,
    Notes,
    damaged_lines,
    flat,
    many,
    nested,
    number,
    read_lines,
    read_object,
    shown,
    text,
)
from metagrad.reporting.runs import environment
from metagrad.studies import FORMAT, MANIFEST, RECORDS, catalogues
from metagrad.training.locking import locked
from metagrad.training.progress import duration

_RESULT, _FIGURE = "result.json", "figure.png"
_MOST_ROWS = 200  # of a table of results
_MOST_RECORDS, _MOST_COLUMNS = 40, 12
_BOOKKEEPING = ("cell", "last_of_cell")


def study(path: Path, name: str, id: str, notes: Notes) -> Entry:
    """Read the study directory `path`.

    Args:
        path: the directory.
        name: as the page calls it.
        id: unique in the page.
        notes: receives what cannot be read.

    Raises:
        ValueError, OSError: study.json is not that of a study.
    """
    manifest, before = read_object(path / MANIFEST), len(notes)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"has format {shown(manifest.get('format'))}, and this version of metagrad reads {FORMAT}")
    kind, title, source = (text(manifest, field) for field in ("study", "title", "source"))
    command = Command(f"{id}--reproduce", "measures this study", text(manifest, "command"))
    result: Mapping[str, Any] = {}
    verdicts: list[Verdict] = []
    tables: list[Table] = []
    if lexists(path / _RESULT):
        with notes.guarded(f"{name}/{_RESULT}"):
            result = read_object(path / _RESULT)
            verdicts = [_verdict(finding) for finding in many(result, "findings")]
            tables = [_table(listing, name, command.id) for listing in many(result, "tables")]
    pictures: list[Picture] = []
    if lexists(path / _FIGURE):
        with notes.guarded(f"{name}/{_FIGURE}"):
            where = ", ".join(table.title for table in tables)
            words = f"Plot of {title}." + (f" Its numbers are in these tables: {where}." if tables else "")
            pictures.append(picture(path / _FIGURE, f"{title}; {source}", words, command.id))
    records, cells, count = _records(path, name, command.id, notes)
    progress = _progress(cells, manifest.get("cells"))
    size = shown(manifest.get("scale")) + (", protocol as published" if manifest.get("as_published") is True else "")
    seconds = result.get("seconds")
    facts = [("Study", kind), ("Source", source), ("Size", size), ("Measured", f"{progress}, {count} records")]
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        facts.append(("Time of measuring", duration(seconds) if seconds >= 1 else "less than 1 s"))
    choices = _choices(kind)
    settings = list(flat(nested(manifest, "settings")))
    state = _state(path, bool(result), progress, command.text)
    return Entry(
        kind="study",
        id=id,
        name=name,
        title=title,
        state=state,
        facts=facts,
        headlines=[
            Headline(title),
            Headline(source),
            Headline(size),
            Headline(state.word),
            Headline(_counted(verdicts), command.id if verdicts else None),
        ],
        commands=[command],
        verdicts=verdicts,
        pictures=pictures,
        tables=tables,
        lists=[("What the source leaves open", choices)] if choices else [],
        folded=[
            *([records] if records is not None else []),
            Table(f"{name}: settings", ("setting", "value"), settings),
        ],
        environment=environment(manifest),
        notes=[f"{note.where}: {note.text}" for note in notes[before:]],
    )


def _choices(kind: str) -> tuple[str, ...]:
    """Of a study that is installed; the directory may be of one that is not."""
    catalogue = catalogues().get(kind)
    return () if catalogue is None else catalogue[kind].choices


def _progress(cells: int, planned: Any) -> str:
    """How many cells are measured, and of how many where the study says so."""
    if isinstance(planned, int) and not isinstance(planned, bool) and planned > cells:
        return f"{cells} of {planned} cells"
    return f"{cells} cells"


def _state(path: Path, finished: bool, progress: str, command: str) -> State:
    if locked(path):
        return State("measuring now", f"A process is measuring here at this moment: {progress} so far.", False)
    if not finished:
        return State("unfinished", f"Measuring stopped after {progress}. It goes on with", False, command)
    return State("complete", f"Measured, {progress}.", True)


def _counted(verdicts: list[Verdict]) -> str:
    """How many findings there are of each kind."""
    words = [verdict.word for verdict in verdicts]
    counted = [f"{words.count(word)} {word}" for word in ("held", "did not hold", "undecided") if word in words]
    return ", ".join(counted) or "–"


def _verdict(finding: Any) -> Verdict:
    if not isinstance(finding, dict):
        raise ValueError(f"is damaged or foreign: a finding is {shown(finding)}")
    held = finding.get("held")
    if held is not None and not isinstance(held, bool):
        raise ValueError(f"is damaged or foreign: 'held' should be true, false or null, and is {shown(held)}")
    return Verdict(text(finding, "claim"), text(finding, "measured"), held)


def _table(listing: Any, name: str, command: str) -> Table:
    if not isinstance(listing, dict):
        raise ValueError(f"is damaged or foreign: a table is {shown(listing)}")
    columns = [shown(column) for column in many(listing, "columns")]
    rows = [[shown(cell) for cell in row] if isinstance(row, list) else [] for row in many(listing, "rows")]
    if not columns or any(len(row) != len(columns) for row in rows):
        raise ValueError("is damaged: a table has rows that do not fit its columns")
    more = f" (the first {_MOST_ROWS} of {len(rows)} rows)" if len(rows) > _MOST_ROWS else ""
    return Table(f"{name}: {text(listing, 'title')}{more}", columns, rows[:_MOST_ROWS], command)


def _records(path: Path, name: str, command: str, notes: Notes) -> tuple[Table | None, int, int]:
    """The first records as a table; the number of complete cells, and of records."""
    rows: list[Mapping[str, Any]] = []
    cells: set[str] = set()
    damaged: list[int] = []
    count = last = 0
    with notes.guarded(f"{name}/{RECORDS}"):
        for last, record in read_lines(path / RECORDS) if lexists(path / RECORDS) else ():
            if record is None or not isinstance(record.get("cell"), str):
                damaged.append(last)
                continue
            count += 1
            if record.get("last_of_cell") is True:
                cells.add(record["cell"])
            if len(rows) < _MOST_RECORDS:
                plain = {key: value for key, value in record.items() if not isinstance(value, list | dict)}
                rows.append({key: value for key, value in plain.items() if key not in _BOOKKEEPING})
    if damaged:
        notes.append(Note(f"{name}/{RECORDS}", damaged_lines(damaged, last)))
    columns = list(dict.fromkeys(key for row in rows for key in row))[:_MOST_COLUMNS]
    if not columns:
        return None, len(cells), count
    more = f", the first {len(rows)} of {count}; all are in records.csv" if count > len(rows) else ""
    cut = [[_cell(row[column]) if column in row else "" for column in columns] for row in rows]
    return Table(f"{name}: records{more}", columns, cut, command), len(cells), count


def _cell(value: Any) -> str:
    return f"{number(value):.6g}" if isinstance(value, float) else shown(value)
