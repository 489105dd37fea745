"""The paper's Figure 3b, tiny and made up; at its small size in the slow suite, together with Figure 2."""

import copy
import time
from dataclasses import replace

import pytest

from metagrad.estimators import Binomial, Truncated
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.fig2 import Bounds
from metagrad_studies.fig3b import OrderErrors
from metagrad_studies.fig3b.results import crossing, draws
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.task_errors import estimates
from studies.made import FULL, SMALL, With, measured

STUDY = OrderErrors()


@pytest.fixture(scope="module")
def settings():
    small = STUDY.settings(SMALL)
    return replace(
        small,
        problem=replace(small.problem, hidden=(8,)),
        num_steps=3,
        alphas=(0.001, 0.01),
        shown_alphas=(0.001,),
        weight_seeds=(0, 1),
        tasks_per_batch=3,
        batches={"zero": 4, "random": 2},
        tasks_at_once=5,
    )


@pytest.fixture(scope="module")
def records(settings, tmp_path_factory):
    return measured(STUDY, settings, tmp_path_factory.mktemp("fig3b"))


def test_errors_are_those_of_mean_meta_gradients_against_exact(settings, records):
    loop, meta = sinusoid.start(settings.problem, "random", 0.01, 3, seed=1)
    tasks = sinusoid.draw(settings.problem, 6, settings.task_seed + 1)
    found = estimates(loop, [Truncated(2), Binomial(2)], meta, tasks, 6)
    exact = found.exact.view(2, 3, -1).mean(1)
    for estimator, values in found.others.items():
        error = (values.view(2, 3, -1).mean(1) - exact).norm(dim=1) / exact.norm(dim=1)
        [row] = [
            r
            for r in records
            if (r["head"], r["alpha"], r["weights"]) == ("random", 0.01, 1)
            and (r["estimator"], r["order"]) == (type(estimator).__name__, 2)
        ]
        assert row["errors"] == pytest.approx(error.tolist(), rel=1e-9)
        assert row["error"] == pytest.approx(error.mean().item(), rel=1e-9)
        alone = (values - found.exact).norm(dim=1) / found.exact.norm(dim=1)
        assert row["task_error"] == pytest.approx(alone.mean().item(), rel=1e-9)


def test_every_error_is_under_its_bounds_and_batches_are_under_theirs(records):
    assert len(records) == 2 * 2 * 2 * 5
    for record in records:
        assert 0 < record["of_error_bound"] <= 1
        assert 0 < record["of_theorem_3_6"] <= 1
        assert record["error_of_bounded"] <= record["bound"]
        assert record["disagreement"] <= 1e-10
        assert record["bounded_tasks"] == 3


@pytest.mark.slow
def test_a_tiny_study_runs_from_end_to_end(settings, tmp_path):
    findings = carry_out(With(STUDY, settings), SMALL, tmp_path / "s", "metagrad reproduce fig3b", Watcher())
    assert len(findings) == 6
    assert findings[0].held
    assert findings[4].held
    assert findings[5].held
    text = (tmp_path / "s" / "summary.md").read_text()
    assert "| 0.001 | 2 |" in text
    assert "head drawn" in text


def test_sizes_are_the_papers():
    for request in (SMALL, FULL):
        chosen = STUDY.settings(request)
        assert chosen.num_steps == 5
        assert chosen.tasks_per_batch == 10
        assert chosen.batches["zero"] * len(chosen.weight_seeds) == 1000
        assert {0.001, 0.003, 0.01, 0.03} <= set(chosen.alphas)
        assert set(chosen.shown_alphas) <= set(chosen.alphas)
    assert STUDY.settings(FULL).batches["random"] == 100


def held(settings, records):
    return [finding.held for finding in STUDY.findings(settings, Records(records))]


def made_up(settings, factor):
    """Errors as c^(L+1) for Binomial, `factor(α)` times that for Truncated at L = K − 1."""
    last = settings.num_steps - 1
    rows = []
    for head in settings.batches:
        for alpha in settings.alphas:
            for seed in settings.weight_seeds:
                for order in range(settings.num_steps):
                    for family in ("Truncated", "Binomial") if order else ("FirstOrder",):
                        binomial = (alpha * 10) ** (order + 1)
                        error = binomial * factor(alpha) ** (order / last) if family == "Truncated" else binomial
                        rows.append(
                            {
                                "head": head,
                                "alpha": alpha,
                                "weights": seed,
                                "estimator": family,
                                "order": order,
                                "error": error,
                                "of_theorem_3_6": 0.9,
                                "of_error_bound": 0.99,
                                "bounded_tasks": 10,
                                "disagreement": 1e-13,
                            }
                        )
    return rows


def test_findings_on_records_that_are_as_claimed(settings):
    records = made_up(settings, lambda alpha: 1e5 if alpha < 0.005 else 1e2)
    verdicts = held(settings, records)
    assert verdicts[:3] == [True, True, True]
    assert verdicts[4:] == [True, True]


def test_findings_on_records_that_are_not(settings):
    assert held(settings, made_up(settings, lambda alpha: 500.0))[:3] == [True, False, False]
    assert held(settings, made_up(settings, lambda alpha: 0.5))[:3] == [False, False, False]
    # Where the expansion overshoots at large steps is told, and is not what is judged.
    overshooting = made_up(settings, lambda alpha: 1e5 if alpha < 0.005 else 0.1)
    finding = STUDY.findings(settings, Records(overshooting))[0]
    assert finding.held
    assert "not at α = 0.01" in finding.measured
    good = made_up(settings, lambda alpha: 1e5)
    for field, place in (("of_theorem_3_6", 4), ("of_error_bound", 4)):
        broken = copy.deepcopy(good)
        broken[3][field] = 1.001
        assert held(settings, broken)[place] is False
    broken = copy.deepcopy(good)
    broken[3]["disagreement"] = 1e-6
    assert held(settings, broken)[5] is False


def test_order_0_is_first_order_in_both_families(settings):
    here = Records(made_up(settings, lambda alpha: 10.0)).where(head="zero", alpha=0.01)
    assert draws(here, "Binomial", 0) == draws(here, "Truncated", 0)
    assert len(draws(here, "Binomial", 0)) == len(settings.weight_seeds)


def test_a_level_is_found_between_points_in_the_logarithms():
    assert crossing([0.001, 0.1], [1e6, 1e2], 1e4) == pytest.approx(0.01)
    assert crossing([0.001, 0.01, 0.1], [1e6, 1e4, 1e2], 1e4) == pytest.approx(0.01)
    assert crossing([0.001, 0.1], [1e3, 1e2], 1e4) is None
    assert crossing([0.001, 0.1], [1e6, 1e5], 1e4) is None


@pytest.mark.slow
@pytest.mark.study
def test_figures_2_and_3b_at_their_small_size_hold_what_the_paper_claims(tmp_path):
    began = time.process_time()
    for study in (Bounds(), STUDY):
        findings = carry_out(study, SMALL, tmp_path / study.name, f"metagrad reproduce {study.name}", Watcher())
        assert all(finding.held for finding in findings), [f for f in findings if not f.held]
    assert time.process_time() - began < 360  # three minutes of two cores
