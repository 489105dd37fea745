"""The meta-objective's Hessian against dense ones, and what is said of how it goes with the gradient."""

from dataclasses import replace

import pytest
import torch

from cases import one
from metagrad import tree
from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.verdicts import rank_correlation
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.spectra import direction
from metagrad_studies.smoothness import Smoothness
from metagrad_studies.smoothness.meta_objective import objective, of_each, of_mean
from metagrad_studies.smoothness.results import fitted
from oracle import exact_meta_gradient
from studies.made import SMALL, With

STUDY = Smoothness()
PROBLEM = SinusoidRegression(
    support=6, query=5, amplitude=(0.1, 5.0), phase=(0.0, 3.0), inputs=(-5.0, 5.0), hidden=(7,)
)
PARAMETERS = 22


@pytest.fixture(scope="module")
def case():
    loop, meta = sinusoid.start(PROBLEM, "random", 0.05, 3, seed=0)
    return replace(loop, reuse=0), meta, sinusoid.draw(PROBLEM, 4, seed=1)


def dense(loop, meta, task):
    """Gradient and Hessian of one task's meta-objective by plain autograd."""
    theta = tree.flat(meta).clone().requires_grad_()
    value = objective(loop, meta, theta, task)
    [slope] = torch.autograd.grad(value, theta, create_graph=True)
    hessian = torch.stack([torch.autograd.grad(part, theta, retain_graph=True)[0] for part in slope])
    return value.detach(), slope.detach(), hessian


def test_the_objective_and_its_gradient_are_those_of_maml(case):
    loop, meta, tasks = case
    value, slope, _ = dense(loop, meta, one(tasks, 0))
    loss, gradients, _ = exact_meta_gradient(loop.learner.model, PROBLEM.loss(), one(tasks, 0), lr=0.05, steps=3)
    torch.testing.assert_close(value, loss)
    torch.testing.assert_close(slope, torch.cat([g.flatten() for g in gradients.values()]))


def test_the_dense_hessian_is_the_derivative_of_the_gradient(case):
    loop, meta, tasks = case
    task = one(tasks, 1)
    _, _, hessian = dense(loop, meta, task)
    torch.testing.assert_close(hessian, hessian.T)
    step = 1e-6 * torch.randn(PARAMETERS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def slope(theta):
        return torch.func.grad(lambda at: objective(loop, meta, at, task))(theta)

    risen = slope(tree.flat(meta) + step) - slope(tree.flat(meta) - step)
    torch.testing.assert_close(risen, 2 * hessian @ step, rtol=1e-4, atol=1e-11)


def test_lanczos_on_each_task_and_on_the_mean_finds_the_ends_of_dense_spectra(case):
    loop, meta, tasks = case
    first = tree.flat(direction(meta, seed=3))
    each = of_each(loop, meta, tasks, first=first, iterations=PARAMETERS)
    joint = of_mean(loop, meta, tasks, first=first, iterations=PARAMETERS)
    parts = [dense(loop, meta, one(tasks, t)) for t in range(4)]
    for t, (value, slope, hessian) in enumerate(parts):
        values = torch.linalg.eigvalsh(hessian)
        torch.testing.assert_close(each.extremes.low[t], values[0], rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(each.extremes.high[t], values[-1], rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(each.smoothness[t], torch.linalg.matrix_norm(hessian, 2), rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(each.gradient_norm[t], slope.norm())
        torch.testing.assert_close(each.loss[t], value)
    mean = torch.stack([hessian for _, _, hessian in parts]).mean(0)
    torch.testing.assert_close(joint.smoothness[0], torch.linalg.matrix_norm(mean, 2), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(joint.gradient_norm[0], torch.stack([slope for _, slope, _ in parts]).mean(0).norm())


def test_a_line_through_points_on_a_line():
    line = fitted([1.0, 2.0, 4.0], [5.0, 7.0, 11.0])
    assert line == pytest.approx((3.0, 2.0, 1.0))
    assert fitted([1.0, 2.0, 3.0, 4.0], [1.0, -1.0, -1.0, 1.0]).explained == pytest.approx(0.0, abs=1e-12)


def test_rank_correlation_by_hand():
    assert rank_correlation([1, 2, 3], [10, 100, 1000]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # 1 − 6·2/(4·15)
    assert rank_correlation([1, 1, 2, 3], [1, 1, 2, 3]) == pytest.approx(1.0)  # equal values share a rank


@pytest.fixture(scope="module")
def settings():
    small = STUDY.settings(SMALL)
    problems = []
    for problem in small.problems:
        experiment = dict(problem.experiment)
        experiment["problem"] = {**experiment["problem"], "hidden": [6]}
        experiment |= {"num_steps": 2, "meta_steps": 3, "meta_batch": 2}
        problems.append(replace(problem, experiment=experiment, points=(0, 1, 3), tasks=4))
    return replace(small, problems=tuple(problems), seeds=(10, 11), lanczos_iterations=8)


@pytest.mark.slow
def test_a_tiny_study_runs_from_end_to_end(settings, tmp_path):
    findings = carry_out(With(STUDY, settings), SMALL, tmp_path / "s", "metagrad reproduce smoothness", Watcher())
    assert len(findings) == 2
    text = (tmp_path / "s" / "summary.md").read_text()
    assert "over 2 seeds" in text
    assert (tmp_path / "s" / "records.jsonl").read_text().count("\n") == 2 * 2 * 3


@pytest.mark.slow
def test_a_seed_gives_the_same_records_again(settings, tmp_path):
    study = With(STUDY, replace(settings, seeds=(10,), problems=settings.problems[:1]))
    for name in ("a", "b"):
        carry_out(study, SMALL, tmp_path / name, "metagrad reproduce smoothness", Watcher())
    cut = [(tmp_path / name / "records.jsonl").read_text().split('"cell_seconds"')[0] for name in ("a", "b")]
    assert cut[0] == cut[1]


def made_up(settings, sign, wobble=0.0):
    """Smoothness that rises (or falls) with the gradient; `wobble` turns it around for every other seed."""
    rows = []
    for problem in settings.problems:
        for number, seed in enumerate(settings.seeds):
            turned = -sign if wobble and number % 2 else sign
            for i, point in enumerate(problem.points):
                norms = [0.5 + i, 1.0 + i, 1.5 + i]
                row = {"problem": problem.name, "seed": seed, "meta_step": point, "loss": 1.0, "low": 0.0}
                row |= {"gradient_norm": 1.0 + i, "smoothness": 10.0 + turned * i, "task_gradient_norms": norms}
                rows.append(row | {"task_smoothness": [10 + turned * x for x in norms]})
    return rows


@pytest.mark.parametrize(("sign", "wobble", "verdict"), [(1, 0, True), (-1, 0, False), (1, 1, None)])
def test_findings_on_made_up_records(settings, sign, wobble, verdict):
    findings = STUDY.findings(settings, Records(made_up(settings, sign, wobble)))
    assert [finding.held for finding in findings] == [verdict, verdict]


def test_one_problem_that_shrinks_is_enough_against_the_claim(settings):
    first, second = (p.name for p in settings.problems)
    mixed = [r for r in made_up(settings, 1) if r["problem"] == first]
    mixed += [r for r in made_up(settings, -1) if r["problem"] == second]
    assert [finding.held for finding in STUDY.findings(settings, Records(mixed))] == [False, False]


@pytest.mark.slow
@pytest.mark.study
def test_the_small_size_decides_over_tasks_and_not_along_training(tmp_path):
    findings = carry_out(STUDY, SMALL, tmp_path / "smoothness", "metagrad reproduce smoothness", Watcher())
    assert [finding.held for finding in findings] == [None, True]  # a mean gradient hardly changes its length
