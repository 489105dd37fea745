"""Cells measured by several processes: the same records, whole cells only, and errors that come through."""

import json

import pytest

from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from studies.counting import SMALL, Counting, fail_at_the_second


def records(path):
    found = [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
    return sorted(
        ({k: v for k, v in r.items() if k != "cell_seconds"} for r in found), key=lambda r: (r["cell"], r["row"])
    )


@pytest.mark.slow
def test_processes_leave_the_records_of_one(tmp_path):
    carry_out(Counting(), SMALL, tmp_path / "one", "command", Watcher())
    study = Counting()
    carry_out(study, SMALL, tmp_path / "two", "command", Watcher(), jobs=2)
    assert study.measured == []  # elsewhere
    assert records(tmp_path / "two") == records(tmp_path / "one")
    assert (tmp_path / "two" / "records.csv").is_file()


@pytest.mark.slow
def test_a_cell_that_fails_ends_the_study_and_leaves_whole_cells(tmp_path):
    with pytest.raises(ValueError, match="at cell=1"):
        carry_out(Counting(before=fail_at_the_second), SMALL, tmp_path / "s", "command", Watcher(), jobs=2)
    kept = {record["cell"] for record in records(tmp_path / "s")}
    assert "cell=0" in kept  # begun beside the one that failed
    assert "cell=1" not in kept
    study = Counting()
    carry_out(study, SMALL, tmp_path / "s", "command", Watcher())
    assert "cell=1" in study.measured
    assert not kept & set(study.measured)
    assert len(records(tmp_path / "s")) == 6


def test_a_size_that_a_study_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="counting has the sizes small, full, not medium"):
        carry_out(Counting(), Request(scale="medium"), tmp_path / "s", "command", Watcher())
    assert not (tmp_path / "s").exists()
