"""Time, memory and utilisation over the order: contenders agree where they must, findings follow the numbers."""

import time
from dataclasses import replace

import pytest
import torch

from metagrad import tree
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.fig4 import Consumption
from metagrad_studies.fig4.contenders import contenders, sampled, timed


@pytest.fixture(scope="module")
def tiny():
    settings = Consumption().settings(Request(scale="small"))
    return replace(settings, ways=2, shots=(1, 2), queries=1, size=16, filters=2, num_steps=3, turns=2, device="cpu")


def test_contenders_agree_at_both_ends(tiny):
    found = {(about["family"], about["order"]): compute() for about, compute in contenders(tiny, 1)}
    flat = {
        key: torch.cat([leaf.flatten() for leaf in tree.leaves(getattr(result, "gradient", result))])
        for key, result in found.items()
    }
    for family in ("Truncated", "Binomial"):
        torch.testing.assert_close(flat[family, 0], flat["FOMAML", None])
        torch.testing.assert_close(flat[family, 3], flat["MAML, recomputed", None], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(flat["MAML, graph kept", None], flat["MAML, recomputed", None], rtol=1e-4, atol=1e-6)
    for order in (1, 2):
        torch.testing.assert_close(
            flat["Binomial, one link at a time", order], flat["Binomial", order], rtol=1e-4, atol=1e-6
        )


@pytest.mark.slow
def test_the_study_from_end_to_end(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Consumption, "settings", lambda self, request: tiny)
    findings = carry_out(Consumption(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert len(findings) == 4
    assert (tmp_path / "study" / "figure.png").stat().st_size > 0


def test_the_clock_tells_work_from_waiting():
    wall, work = timed(lambda: time.sleep(0.2), torch.device("cpu"))
    assert wall >= 0.2
    assert work < 0.1


def test_samples_are_averaged_while_the_work_goes_on():
    calls, samples = [], iter([0.0] + [1.0] * 1000)
    mean = sampled(lambda: calls.append(time.sleep(0.01)), lambda: next(samples), seconds=0.2, every=0.01)
    assert len(calls) > 3
    assert 0.5 < mean < 1.0


def records(settings, *, peak=50.0, ratio=1.2, end=1.0, busy=0.8):
    """Made-up numbers: of Binomial, against 100 MB and 1 s of MAML, and 0.1 s a window of Truncated."""
    rows = []
    for about, _ in contenders(settings, 1):
        family, order = about["family"], about["order"]
        seconds, share, memory = 1.0, 1.0, 100.0
        if family == "Truncated":
            seconds = 0.1 * (order + 1)
        elif family.startswith("Binomial"):
            seconds, share, memory = ratio * 0.1 * ((order or 0) + 1), busy, peak
            seconds = end if order in (0, settings.num_steps) else seconds
        for shots in settings.shots:
            rows.append({"what": "memory", "shots": shots, **about, "peak_bytes": memory})
            timed = {"seconds": [seconds, 2 * seconds], "utilisation": share, "threads": 2}
            rows.append({"what": "time", "shots": shots, **about, **timed})
    return rows


@pytest.mark.parametrize(
    ("made_up", "held"),
    [
        ({}, [True, True, True, True]),
        ({"peak": 95.0}, [False, True, True, True]),
        ({"ratio": 1.6}, [True, False, True, True]),
        ({"ratio": 0.9}, [True, False, True, True]),
        ({"end": 1.2}, [True, True, False, True]),
        ({"busy": 0.95}, [True, True, True, False]),
    ],
)
def test_findings_follow_the_numbers(tiny, made_up, held):
    assert [finding.held for finding in Consumption().findings(tiny, Records(records(tiny, **made_up)))] == held


def test_an_unmeasured_utilisation_is_undecided(tiny):
    rows = [{**row, "utilisation": None} for row in records(tiny)]
    assert Consumption().findings(tiny, Records(rows))[-1].held is None


def test_a_claim_has_to_hold_in_every_setup(tiny):
    rows = [{**r, "peak_bytes": 200.0} if "peak_bytes" in r and r["shots"] == 1 else r for r in records(tiny)]
    rows = [{**r, "peak_bytes": 100.0} if "peak_bytes" in r and "MAML" in r["family"] else r for r in rows]
    assert Consumption().findings(tiny, Records(rows))[0].held is False


@pytest.mark.slow
@pytest.mark.study
def test_small_size(tmp_path):
    findings = carry_out(Consumption(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert all(finding.held is not None for finding in findings)
