"""The benchmark late in training: its cells, a small run that is there the second time, and what it refuses."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import late  # noqa: E402 -- not a package that is installed

from metagrad_studies.study import Asked  # noqa: E402

NETWORK = ("--networks", "sinusoid", "--alpha", "0.01", "0.01", "--steps", "3")
FEW = (*NETWORK, "--meta-steps", "1", "--tasks", "2", "--jobs", "1")


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.delenv(late.DATA_VARIABLE, raising=False)

    def of(*arguments):
        monkeypatch.setattr(sys, "argv", ["late", *map(str, arguments)])
        return late.main(), capsys.readouterr().out

    return of


def test_cells_come_by_step_size():
    study = late.Late(("sinusoid", "mnist1d-5way-1shot"), (0.1, 0.01), 5, 30, 4, (1, 2))
    settings = study.settings(Asked(scale="medium"))
    assert {network.tasks for network in settings.networks} == {4}
    cells = [cell.values for cell in study.cells(settings)]
    assert [cell["alpha"] for cell in cells] == [0.1] * 4 + [0.01] * 4
    assert [cell["network"] for cell in cells[:4]] == ["sinusoid"] * 2 + ["mnist1d-5way-1shot"] * 2
    assert {(cell["num_steps"], cell["meta_steps"]) for cell in cells} == {(5, 30)}
    assert [cell["seed"] for cell in cells] == [1, 2] * 4


def test_what_is_measured_stays(run, tmp_path):
    status, said = run(*FEW, "--out", tmp_path / "late")
    assert status == 0
    assert "cell 1/1  sinusoid_alpha=0.01_K=3_meta-steps=1_seed=32" in said
    records = (tmp_path / "late" / "records.jsonl").read_bytes()
    errors = {(r["family"], r["order"]): r["errors"] for r in map(json.loads, records.decode().splitlines())}
    assert len(errors["Binomial-auto", 1]) == 2
    assert max(errors["Binomial-auto", 1]) < min(errors["FirstOrder", 0])
    assert "python -m benchmarks.late --networks sinusoid" in (tmp_path / "late" / "summary.md").read_text()
    status, again = run(*FEW, "--out", tmp_path / "late")
    assert status == 0
    assert "cell 1/1" not in again
    assert again.count("held here:") == said.count("held here:") == 7
    assert (tmp_path / "late" / "records.jsonl").read_bytes() == records


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--networks", "omniglot-5way-1shot"), r"no omniglot-5way-1shot here, only sinusoid, .*METAGRAD_DATA"),
        (("--networks", "sinusoid", "--tasks", 0), r"--tasks must be at least 1, got 0"),
        (("--networks", "sinusoid", "--steps", 2), r"--steps must be at least 3, got 2"),
    ],
)
def test_what_is_not_there_is_refused(run, tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        run(*options, "--out", tmp_path / "late")
    assert not (tmp_path / "late").exists()
