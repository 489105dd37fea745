"""Studies measured by version 0.1.0, as it left them on the disk: they open, and say the same numbers.

Each directory of `stored` is a study at tiny settings; its floats were rounded to four digits, and what is said of them
was written by that version.
"""

import json
import re
import shutil
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import pytest

from metagrad_studies.catalogue import STUDIES
from metagrad_studies.core.directory import StudyDirectory
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.runner import carry_out
from studies.made import SMALL, With

STORED = Path(__file__).parent / "stored"


def of_json(kind, value):
    """A dataclass from the JSON that `asdict` became."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: of_json(hints[field.name], value[field.name]) for field in fields(kind)})
    if origin is tuple:
        each = inside[:1] * len(value) if inside[1:] == (...,) else inside
        return tuple(of_json(*pair) for pair in zip(each, value, strict=True))
    if origin in (typing.Union, types.UnionType):
        [other] = [one for one in inside if one is not type(None)]
        return None if value is None else of_json(other, value)
    if origin is Mapping:
        return {key: of_json(inside[1], entry) for key, entry in value.items()}
    return value


def settings(study, directory):
    kind = typing.get_type_hints(type(study).settings)["return"]
    return of_json(kind, json.loads((directory / "study.json").read_text())["settings"])


def numbers(text):
    return re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?", text.replace("−", "-"))


def typeset(tables):
    """Rows with one kind of minus sign."""
    return [[[cell.replace("−", "-") for cell in row] for row in table["rows"]] for table in tables]


def test_every_study_has_one():
    assert {path.name for path in STORED.iterdir()} == set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_a_stored_study_opens_and_says_the_same(name, tmp_path):
    study = STUDIES[name]
    directory = Path(shutil.copytree(STORED / name, tmp_path / name))
    before = json.loads((directory / "result.json").read_text())
    records = (directory / "records.jsonl").read_bytes()

    def refuse(*_):
        raise AssertionError("every cell has its records")

    complete = With(study, settings(study, directory))
    complete.measure = refuse
    findings = carry_out(complete, SMALL, directory, "", Watcher())
    assert (directory / "records.jsonl").read_bytes() == records
    assert [finding.held for finding in findings] == [finding["held"] for finding in before["findings"]]
    for now, then in zip(findings, before["findings"], strict=True):
        assert numbers(now.measured) == numbers(then["measured"])
    now = json.loads((directory / "result.json").read_text())
    assert typeset(now["tables"]) == typeset(before["tables"])
    assert now["seconds"] == before["seconds"]
    assert (directory / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", STUDIES)
def test_a_small_study_of_that_version_is_taken_over(name, tmp_path):
    """Its settings are those of today, so that nothing in it is measured again."""
    study, command = STUDIES[name], f"metagrad reproduce {name} --scale small"
    now = study.settings(SMALL)
    StudyDirectory.open(tmp_path / name, study, SMALL, now, command).__exit__()
    manifest = json.loads((tmp_path / name / "study.json").read_text())
    then = json.loads(STORED.with_name("stored_settings.json").read_text())[name]
    (tmp_path / name / "study.json").write_text(json.dumps({**manifest, "settings": then}))
    StudyDirectory.open(tmp_path / name, study, SMALL, now, command).__exit__()


def test_settings_are_read_as_they_were_written():
    study = STUDIES["error-grid"]
    written = json.loads(json.dumps(asdict(study.settings(SMALL))))
    assert json.loads(json.dumps(asdict(of_json(type(study.settings(SMALL)), written)))) == written
