"""The paper's Figure 3a, tiny and made up; at its small size when studies are asked for."""

from dataclasses import replace

import pytest

from metagrad.estimators import Binomial
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.fig3a import BatchErrors
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.task_errors import estimates
from studies.made import SMALL, With, measured

STUDY = BatchErrors()


@pytest.fixture(scope="module")
def settings():
    small = STUDY.settings(SMALL)
    return replace(
        small,
        problem=replace(small.problem, hidden=(8,)),
        alphas=(0.001, 0.003),
        shown_alphas=(0.003,),
        weight_seeds=(0, 1),
        batches=4,
        tasks_per_batch=3,
        tasks_at_once=5,
    )


def test_a_record_is_the_error_of_one_mini_batch(settings, tmp_path):
    records = measured(STUDY, settings, tmp_path)
    assert [r["batch"] for r in records] == [0, 1, 2, 3] * 4
    loop, meta = sinusoid.start(settings.problem, "zero", 0.003, 5, seed=1)
    tasks = sinusoid.draw(settings.problem, 12, settings.task_seed)
    found = estimates(loop, [Binomial(4)], meta, tasks, 12)
    for b in range(4):
        mine = slice(3 * b, 3 * b + 3)
        exact = found.exact[mine].mean(0)
        error = (found.others[Binomial(4)][mine].mean(0) - exact).norm() / exact.norm()
        [row] = [r for r in records if (r["alpha"], r["weights"], r["batch"]) == (0.003, 1, b)]
        assert row["Binomial"] == pytest.approx(error.item(), rel=1e-6)


def test_a_tiny_study_runs_from_end_to_end(settings, tmp_path):
    findings = carry_out(With(STUDY, settings), SMALL, tmp_path / "s", "metagrad reproduce fig3a", Watcher())
    assert findings[0].held
    assert "4 of 4" in (tmp_path / "s" / "summary.md").read_text()


def made_up(settings, factor):
    return [
        {"alpha": a, "weights": s, "batch": b, "FirstOrder": 0.5, "Truncated": 0.1, "Binomial": 0.1 / factor(a, s, b)}
        for a in settings.alphas
        for s in settings.weight_seeds
        for b in range(settings.batches)
    ]


@pytest.mark.parametrize(
    ("factor", "verdicts"),
    [
        (lambda a, s, b: 3e3, [True, True]),
        (lambda a, s, b: 10.0, [True, False]),
        (lambda a, s, b: 1e6, [True, False]),
        (lambda a, s, b: 0.5 if b == 2 and s == 1 else 3e3, [False, True]),  # one mini-batch of one draw is enough
        (lambda a, s, b: 0.5 if a > 0.002 else 3e3, [True, True]),  # some step size, for the paper states none
        (lambda a, s, b: 0.1, [False, False]),
    ],
)
def test_findings_on_made_up_records(settings, factor, verdicts):
    assert [finding.held for finding in STUDY.findings(settings, Records(made_up(settings, factor)))] == verdicts


def test_the_size_is_the_papers():
    chosen = STUDY.settings(SMALL)
    assert (chosen.batches, chosen.num_steps, chosen.order, chosen.tasks_per_batch) == (200, 5, 4, 10)


@pytest.mark.slow
@pytest.mark.study
def test_the_small_size_holds_what_the_paper_claims(tmp_path):
    findings = carry_out(STUDY, SMALL, tmp_path / "fig3a", "metagrad reproduce fig3a", Watcher())
    assert all(finding.held for finding in findings), findings
