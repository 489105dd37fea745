"""A study carried out: every cell that has no records yet is measured, then figure, tables and text are made."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metagrad.experiments.figures import save
from metagrad.studies.directory import StudyDirectory
from metagrad.studies.progress import Watcher
from metagrad.studies.study import Asked, Bench, Cell, Finding, Record, Study
from metagrad.studies.summary import result, text
from metagrad.training.files import replacing
from metagrad.training.run import write_json


def carry_out(study: Study[Any], asked: Asked, path: Path, command: str, watcher: Watcher) -> Sequence[Finding]:
    """Measure what is missing in the study directory `path`, then write its figure, tables and text.

    Interrupted or killed at any moment, it goes on from the last complete cell when called again with the same
    arguments; a cell that trains goes on from its run's checkpoint. A complete study is only written out again.

    Args:
        study: what to measure.
        asked: at which size, on which data.
        path: made if it is not there.
        command: what reproduces this, for the text.
        watcher: told about cells, and about the training in them.

    Raises:
        ValueError: missing data, a foreign or damaged directory, another process in it, or a cell that failed.
    """
    settings = study.settings(asked)
    cells = study.cells(settings)
    _check(cells)
    with StudyDirectory.open(path, study, asked, settings, command) as directory:
        records = directory.records()
        todo = [cell for cell in cells if cell.key not in records]
        watcher.planned(len(cells) - len(todo), len(cells))
        for cell in todo:
            watcher.began(cell.key)
            began = time.perf_counter()
            bench = Bench(directory.cell(cell.key), asked.data, watcher.training)
            measured = study.measure(settings, cell, bench)
            seconds = time.perf_counter() - began
            directory.add(cell.key, [{**cell.values, **record, "cell_seconds": seconds} for record in measured])
            watcher.ended(cell.key, seconds)
        records = directory.records()  # as they are on the disk: what a later call would see
        ordered = {cell.key: records[cell.key] for cell in cells}
        flat: list[Record] = [record for group in ordered.values() for record in group]
        findings = study.findings(settings, flat)
        listings = study.listings(settings, flat)
        seconds = sum(group[0]["cell_seconds"] for group in ordered.values())
        directory.write_csv(ordered)
        save(study.figure(settings, flat), path / "figure.png")
        write_json(path / "result.json", result(findings, listings, seconds))
        with replacing(path / "summary.md") as file:
            file.write(text(study, asked, settings, command, findings, listings, seconds).encode())
    return findings


def _check(cells: Sequence[Cell]) -> None:
    keys = [cell.key for cell in cells]
    if not cells or len(set(keys)) < len(keys):
        raise AssertionError(f"a study needs cells with unique keys, got {keys}")
    for key in keys:
        if not key or not all(letter.isalnum() or letter in ".=,_-" for letter in key) or key.startswith("."):
            raise AssertionError(f"the key {key!r} is no name of a directory")
