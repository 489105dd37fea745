"""Cells measured by several processes: the same records, whole cells only, and errors that come through."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


PROGRAM = """
import sys
from pathlib import Path
from metagrad.training.interrupt import terminated_as_interrupted
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.runner import carry_out
from studies.counting import SMALL, Counting, Slow

if __name__ == "__main__":
    with terminated_as_interrupted():
        carry_out(Counting(before=Slow(sys.argv[1])), SMALL, Path(sys.argv[1]) / "s", "command", Watcher(), jobs=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(number, tmp_path):
    """Whatever ends it, within seconds; where it can, each first does what an interrupted cell does."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    program = subprocess.Popen([sys.executable, tmp_path / "program.py", tmp_path], env=environment, stderr=-3)
    until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("began-*")]
    assert all(map(alive, workers))
    program.send_signal(number)
    program.wait(20)
    until(lambda: not any(map(alive, workers)))
    assert len(list(tmp_path.glob("interrupted-*"))) == (0 if number == signal.SIGKILL else 2)


def until(done):
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(number):
    """Whether a process is there and no zombie, which nobody may collect in a container."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
