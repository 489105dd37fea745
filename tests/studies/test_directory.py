"""A study's directory: what is kept, what is cut off, and what is refused."""

import csv
import json
from dataclasses import replace

import pytest

from metagrad_studies.core.directory import StudyDirectory
from studies.counting import FULL, SMALL, Counting, CountingSettings

SETTINGS = CountingSettings(cells=3, rows=2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study"


def opened(path, study=None, request=SMALL, settings=SETTINGS):
    return StudyDirectory.open(path, study or Counting(), request, settings, "metagrad reproduce counting")


def filled(path):
    """Two cells of two records each; the second cell's are the last two lines."""
    with opened(path) as directory:
        directory.add("a", [{"value": 1}, {"value": 2}])
        directory.add("b", [{"value": 3}, {"value": 4}])
    return path / "records.jsonl"


def records(path):
    with opened(path) as directory:
        return directory.records()


A, B = [{"value": 1}, {"value": 2}], [{"value": 3}, {"value": 4}]


def test_records_come_back_by_cell(path):
    filled(path)
    assert records(path) == {"a": A, "b": B}


def test_the_manifest_says_what_was_measured_and_with_what(path):
    opened(path).__exit__()
    manifest = json.loads((path / "study.json").read_text())
    assert manifest["study"] == "counting"
    assert manifest["scale"] == "small"
    assert manifest["as_published"] is False
    assert manifest["settings"] == {"cells": 3, "rows": 2, "offsets": [0.5]}
    assert manifest["cells"] == 3
    assert manifest["command"] == "metagrad reproduce counting"
    assert set(manifest["versions"]) == {"metagrad", "python", "torch", "numpy"}


@pytest.mark.parametrize("kept", range(1, 60))
def test_a_last_line_torn_anywhere_costs_its_cell_alone(path, kept):
    file = filled(path)
    whole = file.read_bytes()
    first = b"".join(whole.splitlines(keepends=True)[:2])
    file.write_bytes(whole[: len(first) + kept])
    assert records(path) == {"a": A}
    assert file.read_bytes() == first  # so that what comes next starts on a new line
    with opened(path) as directory:
        directory.add("b", B)
    assert records(path) == {"a": A, "b": B}


def test_a_last_line_that_lost_its_end_is_not_joined_to_what_comes_next(path):
    file = filled(path)
    file.write_bytes(file.read_bytes()[:-1])
    with opened(path) as directory:
        assert directory.records() == {"a": A}
        directory.add("c", B)
    assert records(path) == {"a": A, "c": B}


def test_a_cell_whose_last_record_is_missing_is_not_there(path):
    file = filled(path)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    assert records(path) == {"a": A}
    assert file.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("damage", [b"{not json\n", b"[1, 2]\n", b'{"value": 3}\n', b"\xff\xfe\n", b"\n"])
def test_a_damaged_line_before_the_end_is_named(path, damage):
    file = filled(path)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], damage, *lines[2:]]))
    with opened(path) as directory, pytest.raises(ValueError, match=r"line 2 of .*records\.jsonl is damaged; delete"):
        directory.records()
    assert file.read_bytes().count(b"\n") == 4  # nothing was cut off


def test_numbers_that_json_cannot_write_are_null(path):
    with opened(path) as directory:
        directory.add("a", [{"value": float("nan"), "list": [float("inf"), 1.0]}])
        assert directory.records() == {"a": [{"value": None, "list": [None, 1.0]}]}


def test_a_cell_without_records_is_refused(path):
    with opened(path) as directory, pytest.raises(ValueError, match="cell a gave no records"):
        directory.add("a", [])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"settings": replace(SETTINGS, offsets=(0.25,))}, "settings"),
        ({"request": FULL}, "scale"),
        ({"request": replace(SMALL, as_published=True)}, "as_published"),
    ],
)
def test_what_was_measured_otherwise_is_not_continued(path, change, named):
    filled(path)
    with pytest.raises(ValueError, match=f"has {named} .* and this is .*; choose another --out"):
        opened(path, **change)


def test_another_study_is_not_continued(path):
    filled(path)
    other = Counting()
    other.name = "measuring"
    with pytest.raises(ValueError, match='has study "counting" and this is "measuring"'):
        opened(path, other)


def test_another_format_is_not_continued(path):
    filled(path)
    manifest = json.loads((path / "study.json").read_text())
    (path / "study.json").write_text(json.dumps({**manifest, "format": 0}))
    with pytest.raises(ValueError, match="has format 0 and this is 1"):
        opened(path)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_manifest_is_named(path, content):
    filled(path)
    (path / "study.json").write_text(content)
    with pytest.raises(ValueError, match=r"study\.json is damaged"):
        opened(path)


def test_a_foreign_directory_is_left_alone(path):
    path.mkdir()
    (path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="exists and is no study; choose another --out"):
        opened(path)
    assert [p.name for p in path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_directory(path):
    path.write_text("precious")
    with pytest.raises(ValueError, match="exists and is no study"):
        opened(path)
    assert path.read_text() == "precious"


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot make a directory in"):
        opened(tmp_path / "file" / "study")


def test_one_process_at_a_time(path):
    with opened(path), pytest.raises(ValueError, match="another process is measuring in"):
        opened(path)
    opened(path).__exit__()  # the lock goes with whoever held it


def test_half_written_files_of_a_killed_process_go(path):
    filled(path)
    (path / "records.csv.0123abcd.partial").write_text("cell,x\n1")
    (path / "notes.partial").write_text("my notes")
    opened(path).__exit__()
    assert not (path / "records.csv.0123abcd.partial").exists()
    assert (path / "notes.partial").read_text() == "my notes"


def test_nothing_is_left_where_making_the_directory_failed(path, monkeypatch):
    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr("metagrad_studies.core.directory.write_json", full_disk)
    with pytest.raises(OSError, match="no space left"):
        opened(path)
    assert list(path.parent.iterdir()) == []


def test_the_csv_has_a_column_for_every_name_and_no_lists(path):
    with opened(path) as directory:
        directory.write_csv({"a": [{"x": 1, "text": 'say "so", twice'}, {"x": None, "y": 2.5}], "b": [{"z": [1, 2]}]})
    with (path / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["cell", "x", "text", "y"]
    assert [row["cell"] for row in rows] == ["a", "a", "b"]
    assert rows[0]["text"] == 'say "so", twice'
    assert rows[0]["y"] == ""
    assert rows[1]["x"] == ""
    assert float(rows[1]["y"]) == 2.5
