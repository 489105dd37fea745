"""Studies carried out: complete cells stay, missing ones are measured, whatever came in between."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metagrad import cli
from metagrad_studies.catalogue import STUDIES
from metagrad_studies.core.progress import CellBars, CellLines, Watcher
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Listing
from studies.counting import FULL, SMALL, Counting

COMMAND = "metagrad reproduce counting"
ROOT = Path(__file__).parents[2]


def carried_out(study, path, request=SMALL, watcher=None):
    return carry_out(study, request, path, COMMAND, watcher or Watcher())


def lines(path):
    return [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]


def test_a_study_leaves_records_table_figure_and_text(tmp_path):
    study = Counting()
    findings = carried_out(study, tmp_path / "s")
    assert [finding.held for finding in findings] == [True, False, None]
    assert study.measured == ["cell=0", "cell=1", "cell=2"]
    found = lines(tmp_path / "s")
    assert [(r["cell"], r["number"], r["row"]) for r in found] == [
        (f"cell={i}", i, j) for i in range(3) for j in (0, 1)
    ]
    assert all(r["cell_seconds"] >= 0 for r in found)
    assert found[1]["list"] == [1.0, 2.0]
    assert found[1]["missing"] is None
    assert (tmp_path / "s" / "figure.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "s" / "records.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["cell", "number", "row", "value", "cell_seconds", "missing"]
    result = json.loads((tmp_path / "s" / "result.json").read_text())
    assert [f["held"] for f in result["findings"]] == [True, False, None]
    assert result["tables"][0]["rows"][0] == ["0", "0.5"]
    assert result["seconds"] == pytest.approx(sum(r["cell_seconds"] for r in found[::2]))


def test_the_text_says_claim_measurement_verdict_choices_and_settings(tmp_path):
    carried_out(Counting(), tmp_path / "s")
    text = (tmp_path / "s" / "summary.md").read_text()
    for part in ("**Claim.** They grow.", "**Measured.** 6 records.", "**Held here:** yes.", "**Held here:** no."):
        assert part in text
    for part in ("**Held here:** undecided.", "| number | a\\|b |", "ours start at zero", "- offsets: (0.5,)", COMMAND):
        assert part in text


def test_continuation_measures_missing_cells_only(tmp_path):
    carried_out(Counting(), tmp_path / "s")
    file = tmp_path / "s" / "records.jsonl"
    kept = b"".join(file.read_bytes().splitlines(keepends=True)[:3])  # the second cell lacks its last record
    file.write_bytes(kept)
    study, watcher = Counting(), Watching()
    carried_out(study, tmp_path / "s", watcher=watcher)
    assert study.measured == ["cell=1", "cell=2"]
    assert watcher.seen == [("planned", 1, 3), "cell=1", "cell=2"]
    assert [(r["number"], r["row"]) for r in lines(tmp_path / "s")] == [(i, j) for i in range(3) for j in (0, 1)]


def test_a_complete_study_is_written_out_again_and_not_measured(tmp_path):
    carried_out(Counting(), tmp_path / "s")
    before = (tmp_path / "s" / "records.jsonl").read_bytes()
    for name in ("figure.png", "summary.md", "result.json", "records.csv"):
        (tmp_path / "s" / name).unlink()
    study = Counting()
    carried_out(study, tmp_path / "s")
    assert study.measured == []
    assert (tmp_path / "s" / "records.jsonl").read_bytes() == before
    assert {p.name for p in (tmp_path / "s").iterdir()} >= {"figure.png", "summary.md", "result.json", "records.csv"}


def test_records_come_in_the_order_of_cells_whatever_the_order_on_the_disk(tmp_path):
    carried_out(Counting(), tmp_path / "s")
    file = tmp_path / "s" / "records.jsonl"
    parts = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(parts[4:] + parts[:4]))
    carried_out(Counting(), tmp_path / "s")
    with (tmp_path / "s" / "records.csv").open(newline="") as table:
        assert [row["number"] for row in csv.DictReader(table)] == ["0", "0", "1", "1", "2", "2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_what_ends_a_cell_leaves_those_before_it(tmp_path, error):
    def failing(key):
        if key == "cell=1":
            raise error("at cell=1")

    with pytest.raises(error):
        carried_out(Counting(before=failing), tmp_path / "s")
    assert [r["cell"] for r in lines(tmp_path / "s")] == ["cell=0", "cell=0"]
    study = Counting()
    carried_out(study, tmp_path / "s")  # the lock went with the error
    assert study.measured == ["cell=1", "cell=2"]


def test_a_larger_size_is_another_study(tmp_path):
    carried_out(Counting(), tmp_path / "s")
    with pytest.raises(ValueError, match='has scale "small" and this is "full"'):
        carried_out(Counting(), tmp_path / "s", FULL)
    assert len(lines(tmp_path / "s")) == 6


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if not study.corrected])
def test_a_protocol_without_faults_has_no_other_that_was_published(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is measured as it was published anyway; leave out --as-published"):
        carried_out(STUDIES[name], tmp_path / "s", replace(SMALL, as_published=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keys", [[], ["a", "a"], ["a/b"], [".."], [""], ["a b"]])
def test_keys_must_be_unique_names_of_directories(tmp_path, keys, monkeypatch):
    study = Counting()
    cells = [type(study.cells(study.settings(SMALL))[0])(key, {"number": 0}) for key in keys]
    monkeypatch.setattr(study, "cells", lambda settings: cells)
    with pytest.raises(AssertionError):
        carried_out(study, tmp_path / "s")


def test_a_row_of_another_length_is_a_mistake():
    with pytest.raises(ValueError, match="has 2 columns and the row"):
        Listing("Values", ("a", "b"), (("1",),))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is of Unix")
def test_kill_9_costs_the_cell_that_was_being_measured(tmp_path):
    program = f"""
import time
from dataclasses import replace
from pathlib import Path
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.runner import carry_out
from studies.counting import SMALL, Counting

study = Counting(cells=200, before=lambda key: time.sleep(0.02))
carry_out(study, SMALL, Path({str(tmp_path / "s")!r}), {COMMAND!r}, Watcher())
"""
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": paths}
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment)
        records = tmp_path / "s" / "records.jsonl"
        before = records.stat().st_size if records.exists() else 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not records.exists() or records.stat().st_size <= before + 300):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert records.stat().st_size > before
    complete = {r["cell"] for r in lines_of_complete_cells(records)}
    assert 0 < len(complete) < 200
    study = Counting(cells=200)
    carried_out(study, tmp_path / "s")
    assert set(study.measured) == {f"cell={i}" for i in range(200)} - complete
    assert [(r["number"], r["row"]) for r in sorted(lines(tmp_path / "s"), key=lambda r: (r["number"], r["row"]))] == [
        (i, j) for i in range(200) for j in (0, 1)
    ]


def lines_of_complete_cells(path):
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["last_of_cell"]:
            yield record


class Watching(Watcher):
    def __init__(self):
        super().__init__()
        self.seen = []

    def planned(self, path, done, cells):
        self.seen.append(("planned", done, cells))

    def began(self, key):
        self.seen.append(key)


@pytest.mark.parametrize("watcher", [CellBars, lambda console: CellLines(console, 30.0)])
def test_nothing_is_shown_before_the_plan(watcher):
    shown = io.StringIO()
    with watcher(Console(file=shown, force_terminal=True)) as watching:
        assert shown.getvalue() == ""
        watching.planned(Path("runs/[some]"), 1, 3)
        assert shown.getvalue().splitlines()[0].endswith("measuring in runs/[some]")
        watching.ended("cell=1", 0.1)
    assert "2/3" in shown.getvalue()


# The command line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "NAME"),
        (["fig9"], "unknown study 'fig9'"),
        (["fig2", "--scale", "tiny"], "fig2 has the sizes small, full, not tiny"),
        (["fig2", "--as-published"], "anyway; leave out --as-published"),
        (["fig2", "--threads", "0"], "--threads must be at least 1"),
        (["fig2", "--threads", "some"], "invalid int value: 'some'"),
        (["fig2", "--colour", "red"], "unknown option --colour"),
        (["fig2", "fig2"], "unexpected argument 'fig2'"),
        (["fig2", "--out"], "expected one argument"),
        (["fig2", "--out", ""], "--out"),
    ],
)
def test_bad_arguments_give_one_sentence_and_status_2(capsys, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    status = cli.main(["reproduce", *arguments])
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.startswith("metagrad reproduce: error: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_directory_gives_one_sentence_too(capsys, tmp_path):
    (tmp_path / "thesis").mkdir()
    assert cli.main(["reproduce", "fig2", "--out", str(tmp_path / "thesis")]) == 2
    captured = capsys.readouterr()
    assert "exists and is no study" in captured.err
    assert captured.out == ""  # "measuring in" comes when nothing refuses any more


def test_the_command_writes_where_it_says_and_tells_what_held(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "fig2"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "measuring in runs/fig2-small"
    assert out.count("claim: ") == 2
    assert out.count("held here: yes") == 2
    assert (tmp_path / "runs" / "fig2-small" / "summary.md").is_file()
    assert "metagrad reproduce fig2 --scale small" in (tmp_path / "runs" / "fig2-small" / "summary.md").read_text()
    assert cli.main(["reproduce", "fig2"]) == 0  # complete: written out again
