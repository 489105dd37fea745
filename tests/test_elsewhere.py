"""The benchmark on an architecture and data that nothing was developed on: a small run, resumed, and what it tells."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import elsewhere  # noqa: E402 -- not a package that is installed

from metagrad import Batch, Task  # noqa: E402
from metagrad_studies.error_grid import ErrorGrid  # noqa: E402
from metagrad_studies.study import Asked  # noqa: E402


class Noise:
    """Five classes of small colour images that are nothing but noise."""

    def sample(self, count, generator):
        def batch():
            inputs = torch.randn(count, 5, 3, 16, 16, generator=generator)
            return Batch(inputs, torch.arange(5).repeat(count, 1))

        return Task(batch(), batch())


@pytest.fixture
def few(monkeypatch):
    for name, value in {"TASKS": 2, "PROBES": 1, "STAGES": (0, 1), "ALPHAS": (0.05,), "SEEDS": (50,)}.items():
        monkeypatch.setattr(elsewhere, name, value)


def test_a_stage_has_every_estimator_of_the_grid_and_what_auto_chose(few):
    stages = list(elsewhere.measure((Noise(), Noise()), 0.05, 2, 50))
    assert [found[0]["meta_steps"] for found in stages] == [0, 1]
    for found in stages:
        families = {row["family"] for row in found}
        assert families == {"FirstOrder", "Truncated", "Binomial", "Binomial-paper", "Binomial-auto"} | {
            "Grouped",
            "Parallel",
            "Auto",
        }
        assert all(len(row["errors"]) + row["left_out"] == 2 for row in found)
        first_order = next(row for row in found if row["family"] == "FirstOrder")
        assert first_order["error"] > 1e-3
    assert stages[0][0]["errors"] != stages[1][0]["errors"]  # trained in between, on the same tasks


@pytest.mark.slow
def test_records_are_kept_and_not_measured_again(few, monkeypatch, tmp_path, capsys):
    out = tmp_path / "of" / "records.jsonl"
    monkeypatch.setenv(elsewhere.DATA, "there")
    sources = type("Sources", (), {"train": Noise(), "validation": Noise()})
    problem = type("Problem", (), {"sources": lambda self, device: sources})
    monkeypatch.setattr(elsewhere, "with_data", lambda config, data: type("Config", (), {"problem": problem()}))
    monkeypatch.setattr(sys, "argv", ["elsewhere", "--steps", "2", "--seeds", "50", "--out", str(out)])
    elsewhere.main()
    first, told = out.read_text(), capsys.readouterr().out
    assert "K = 2, 1 meta-steps" in told
    settings = ErrorGrid().settings(Asked(scale="small"))
    findings = ErrorGrid().findings(settings, [json.loads(line) for line in first.splitlines()])
    assert all(finding.claim in told and finding.measured in told for finding in findings)
    elsewhere.main()
    assert out.read_text() == first
    again = capsys.readouterr().out
    assert "meta-steps\n" not in again
    assert told.endswith(again)


def test_without_data_it_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv(elsewhere.DATA, raising=False)
    monkeypatch.setattr(sys, "argv", ["elsewhere"])
    with pytest.raises(SystemExit, match=f"set {elsewhere.DATA}"):
        elsewhere.main()
    monkeypatch.setenv(elsewhere.DATA, str(tmp_path))
    with pytest.raises(SystemExit, match=f"{elsewhere.DATA}: .*FC100"):
        elsewhere.main()
