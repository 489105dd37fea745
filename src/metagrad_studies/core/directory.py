"""A study on disk: a directory that can be killed at any moment and continued where it stopped.

study.json      name, size, settings, number of cells, command, versions
records.jsonl   one JSON object a record; a cell whose last record is missing is measured again
records.csv     the same without nested lists
cells/KEY/      what a cell keeps, such as a training run
figure.png, result.json, summary.md    made from the records
lock            taken by the process that measures
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import Any

from metagrad import opening
from metagrad.experiments.config import Experiment
from metagrad.studies import FORMAT, MANIFEST, RECORDS
from metagrad.training.files import flush, flush_directory, replacing, require_writable
from metagrad.training.json_files import finite, read_json, write_json
from metagrad.training.leftovers import STUDY_FILES, new_partial_directory, remove_files
from metagrad.training.locking import Lock, lock
from metagrad.training.surroundings import surroundings
from metagrad_studies.core.records import Record
from metagrad_studies.core.study import Request, Study

_LAST = "last_of_cell"


class StudyDirectory:
    """The one process that measures a study: made or taken over by `open`; use it as a context manager."""

    def __init__(self, path: Path, held: Lock) -> None:
        self.path = path
        self._held = held

    @classmethod
    def open(cls, path: Path, study: Study[Any], request: Request, settings: Any, command: str) -> "StudyDirectory":
        """Make the directory, or take over the one that is there.

        Raises:
            ValueError: `path` holds something else, another study, other settings, or a process that measures.
        """
        manifest = {
            "format": FORMAT,
            "study": study.name,
            "title": study.title,
            "source": study.source,
            "scale": request.scale,
            "as_published": request.as_published,
            "settings": json.loads(json.dumps(asdict(settings))),
            "cells": len(study.cells(settings)),
            "command": command,
            **surroundings(),
        }
        if not os.path.lexists(path):
            _make(path, manifest)
        elif not opening.is_regular(path / MANIFEST):
            raise ValueError(f"{path} exists and is no study; choose another --out")
        was = read_json(path / MANIFEST)
        for field in ("format", "study", "scale", "as_published", "settings"):
            if _as_read_now(was.get(field)) != _as_read_now(manifest[field]):
                there, here = (shorten(json.dumps(each.get(field)), 200, placeholder="…") for each in (was, manifest))
                raise ValueError(
                    f"{path} has {field} {there} and this is {here}; choose another --out, or delete that directory"
                )
        held = lock(path)
        if held is None:
            raise ValueError(f"another process is measuring in {path}; wait for it, or choose another --out")
        try:
            for name in STUDY_FILES:
                require_writable(path / name)
            remove_files(path, STUDY_FILES)
        except BaseException:
            held.close()
            raise
        return cls(path, held)

    def records(self) -> dict[str, list[Record]]:
        """Records by cell, of complete cells only; whatever else is in the file is cut off.

        Raises:
            ValueError: a line before the end is damaged.
        """
        path = self.path / RECORDS
        complete: dict[str, list[Record]] = {}
        waiting: list[Record] = []
        good = position = 0
        lines = list(opening.lines(path)) if os.path.lexists(path) else []
        for number, line in enumerate(lines, start=1):
            position += len(line)
            try:
                record = json.loads(line)
                key, last = record.pop("cell"), record.pop(_LAST)
                if not line.endswith(b"\n"):
                    raise ValueError("the line has no end, and what comes next would be joined to it")
            except (ValueError, KeyError, TypeError, AttributeError) as error:  # no JSON, or not ours
                if number == len(lines):  # torn by a kill
                    break
                raise ValueError(f"line {number} of {path} is damaged; delete that line, or the directory") from error
            waiting.append(record)
            if last:
                complete[key], waiting, good = waiting, [], position
        if good < sum(map(len, lines)):
            with opening.appending(path) as file:
                file.truncate(good)
        return complete

    def add(self, key: str, records: Sequence[Record]) -> None:
        """Append the records of one cell, and take them to the disk."""
        if not records:
            raise ValueError(f"cell {key} gave no records")
        lines = [
            json.dumps({"cell": key, **finite(record), _LAST: number == len(records)}, allow_nan=False)
            for number, record in enumerate(records, start=1)
        ]
        with opening.appending(self.path / RECORDS) as file:
            file.write(("\n".join(lines) + "\n").encode())
            flush(file)

    def write_csv(self, records: Mapping[str, Sequence[Record]]) -> None:
        """All records as one table: a column for each name, empty where a record has none."""
        flat = [
            {"cell": key, **{name: value for name, value in record.items() if not isinstance(value, list | dict)}}
            for key, group in records.items()
            for record in group
        ]
        columns = list(dict.fromkeys(name for row in flat for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        with replacing(self.path / "records.csv") as file:
            file.write(text.getvalue().encode())

    def cell(self, key: str) -> Path:
        """The directory of a cell.

        Raises:
            ValueError: it, or the directory of all cells, is a link: what is measured would be written elsewhere.
        """
        cells = self.path / "cells"
        for place in (cells, cells / key):
            if place.is_symlink():
                raise ValueError(f"{place} is a symbolic link, which is not followed; choose another --out")
        return cells / key

    def __enter__(self) -> "StudyDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()


def _make(path: Path, manifest: Mapping[str, Any]) -> None:
    """A complete directory without records: filled under another name, then renamed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, held = new_partial_directory(path)
    except OSError as error:
        raise ValueError(f"cannot make a directory in {path.parent}: {error.strerror or error}") from error
    with held:
        try:
            write_json(partial / MANIFEST, manifest)
            os.rename(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    flush_directory(path.parent)


def _as_read_now(value: Any) -> Any:
    """With experiments inside as this version reads them: what an older one did not write has its default."""
    if isinstance(value, dict):
        if {"problem", "estimator"} <= value.keys():
            return json.loads(json.dumps(Experiment.from_json(value).to_json()))
        return {name: _as_read_now(part) for name, part in value.items()}
    return [_as_read_now(part) for part in value] if isinstance(value, list) else value
