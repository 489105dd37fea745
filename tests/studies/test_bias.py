"""The bias of the finite-difference meta-gradient: its problem, its slopes, and what is said about them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad

from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.fobmaml_bias import Bias
from metagrad_studies.fobmaml_bias.solvers import Logistic

STRENGTH = 1.0


@pytest.fixture
def problem():
    return Logistic.draw(3, 4, 6, STRENGTH, torch.Generator().manual_seed(0))


def loss(at, batch, task):
    return F.binary_cross_entropy_with_logits(batch.inputs[task] @ at.unsqueeze(-1), batch.targets[task])


@pytest.mark.parametrize("nudge", [0.0, 0.3, -0.3])
def test_solutions_are_stationary(problem, nudge):
    for task, solution in enumerate(problem.solution(nudge)):

        def objective(at, task=task):
            anchor = 0.5 * STRENGTH * (at - problem.start).square().sum()
            support, query = (loss(at, batch, task) for batch in problem.tasks)
            return support + nudge * query + anchor

        assert grad(objective)(solution).norm() < 1e-12


def test_the_meta_gradient_is_the_slope_of_the_query_loss_over_the_start(problem):
    width = 1e-5
    for entry in range(4):
        away = width * torch.eye(4, dtype=torch.float64)[entry]
        ends = [replace(problem, start=problem.start + sign * away).solution(0.0) for sign in (1, -1)]
        for task in range(3):
            high, low = (loss(end[task], problem.tasks.query, task) for end in ends)
            expected = problem.meta_gradient()[task, entry]
            assert ((high - low) / (2 * width) - expected).abs() < 1e-9


def test_a_nudge_that_leaves_no_minimum_is_refused(problem):
    with pytest.raises(ValueError, match=r"nudged by -50 was not solved; take nudges nearer to 0"):
        problem.solution(-50.0)


@pytest.fixture(scope="module")
def tiny():
    settings = Bias().settings(Request(scale="small"))
    return replace(
        settings,
        tasks=4,
        dimension=3,
        draws=20,
        precisions=settings.precisions[4::4],
        nudges=settings.nudges[::3],
        steps=(8, 12, 16),
        nudges_alike=settings.nudges_alike[::2],
        tolerance=0.06,
    )


@pytest.mark.slow
def test_the_study_from_end_to_end(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Bias, "settings", lambda self, request: tiny)
    findings = carry_out(Bias(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert [finding.held for finding in findings] == [True] * 4
    assert "0.667" in (tmp_path / "study" / "summary.md").read_text()
    assert (tmp_path / "study" / "figure.png").stat().st_size > 0


def test_equal_settings_give_equal_records(tiny):
    cell = Bias().cells(tiny)[1]
    assert Bias().measure(tiny, cell, None) == Bias().measure(tiny, cell, None)


def test_solves_that_err_alike_are_those_of_a_plain_loop(tiny):
    settings = replace(tiny, tasks=2, steps=(5,), nudges_alike=(0.1,))
    cell = next(cell for cell in Bias().cells(settings) if cell.key == "symmetric-alike")
    (record,) = Bias().measure(settings, cell, None)
    problem = Logistic.draw(2, 3, settings.examples, STRENGTH, torch.Generator().manual_seed(settings.seed))
    for task in range(2):

        def end(nudge, task=task):
            at = problem.start
            for _ in range(5):
                slopes = [grad(loss)(at, batch, task) for batch in problem.tasks]
                at = at - settings.lr * (slopes[0] + nudge * slopes[1] + STRENGTH * (at - problem.start))
            return at

        exact = problem.meta_gradient()[task]
        estimate = STRENGTH * (end(-0.1) - end(0.1)) / 0.2
        assert record["best_errors"][task] == pytest.approx(((estimate - exact).norm() / exact.norm()).item(), rel=1e-9)
        assert record["precisions"][task] == pytest.approx((end(0.0) - problem.solution(0.0)[task]).norm().item())


def records(slopes):
    """Made-up errors δ^slope with a little spread over tasks, by scheme and solver."""
    return [
        {
            "sides": sides,
            "solver": solver,
            "precision": precision,
            "precisions": [precision] * 3,
            "best_errors": [precision ** (slope + off) for off in (-0.001, 0.0, 0.001)],
        }
        for (sides, solver), slope in slopes.items()
        for precision in (1e-8, 1e-6, 1e-4)
    ]


SLOPES = {
    **{("forward", "apart"): 0.5, ("symmetric", "apart"): 2 / 3, ("fourth", "apart"): 0.8},
    **{(sides, "alike"): 0.95 for sides in ("forward", "symmetric", "fourth")},
}


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({}, [True, True, True, True]),
        ({("symmetric", "apart"): 0.5}, [True, False, True, True]),
        ({("forward", "apart"): 0.53}, [False, True, True, True]),
        ({("fourth", "alike"): 0.7}, [True, True, True, False]),
    ],
)
def test_findings_follow_the_slopes(changed, held):
    settings = Bias().settings(Request(scale="small"))
    assert [finding.held for finding in Bias().findings(settings, Records(records(SLOPES | changed)))] == held


@pytest.mark.slow
@pytest.mark.study
def test_small_size(tmp_path):
    findings = carry_out(Bias(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert all(finding.held for finding in findings)
