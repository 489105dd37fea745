"""MNIST-1D with normalised and plain outer updates: what is run, and what is said about it."""

from dataclasses import replace

import pytest

from metagrad.estimators import Exact, FiniteDifference
from metagrad.training.progress import Silent
from metagrad.training.run import Run
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Bench, Request
from metagrad_studies.fobmaml_mnist1d import Signals
from metagrad_studies.fobmaml_mnist1d.runs import experiment

METHODS = ("MAML", "FO-B-MAML symmetric", "FO-B-MAML forward", "iMAML", "FOMAML", "Reptile")


@pytest.fixture(scope="module")
def tiny():
    settings = Signals().settings(Request(scale="small"))
    return replace(settings, meta_steps=2, meta_batch=2, seeds=(10, 11), validation_tasks=2, test_tasks=3)


def test_experiments_say_what_the_settings_say(tiny):
    plain, normalised = (experiment(tiny, "FO-B-MAML forward", outer, 11) for outer in ("plain", "normalised"))
    assert plain.estimator == normalised.estimator == FiniteDifference(tiny.nudge, "forward")
    assert (plain.optimizer.name, normalised.optimizer.name) == ("sgd", "normalized-sgd")
    assert (plain.optimizer.lr, normalised.optimizer.lr) == (
        tiny.finite_difference.plain,
        tiny.finite_difference.normalised,
    )
    assert plain.proximal == tiny.proximal
    assert plain.seed == 11
    maml = experiment(tiny, "MAML", "normalised", 10)
    assert (maml.estimator, maml.proximal, maml.num_steps) == (Exact(), None, tiny.num_steps)
    assert experiment(tiny, "Reptile", "plain", 10).optimizer.lr == tiny.reptile.plain
    assert maml.test.seed == plain.test.seed  # the same test tasks


@pytest.mark.slow
def test_the_study_from_end_to_end(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Signals, "settings", lambda self, request: tiny)
    findings = carry_out(Signals(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert len(findings) == 4
    assert (tmp_path / "study" / "figure.png").stat().st_size > 0
    assert Run(tmp_path / "study" / "cells" / "MAML,plain,seed=11" / "run").config()["seed"] == 11


def test_a_run_that_diverges_is_counted(tiny, tmp_path):
    settings = replace(tiny, through_steps=replace(tiny.through_steps, plain=1e30), meta_steps=20)
    cell = next(cell for cell in Signals().cells(settings) if cell.key == "MAML,plain,seed=10")
    (record,) = Signals().measure(settings, cell, Bench(tmp_path / "cell", None, Silent()))
    assert record["diverged"]
    assert 0 <= record["accuracy"] <= 1


def records(accuracies):
    """Made-up accuracies of 200 tasks, which differ, and of 3 seeds, which hardly do."""
    return [
        {
            "method": method,
            "outer": outer,
            "seed": seed,
            "accuracy_tasks": [accuracy + 0.1 * (task % 3 - 1) + 0.0002 * seed for task in range(200)],
        }
        for (method, outer), accuracy in accuracies.items()
        for seed in range(3)
    ]


LEVELS = {
    **{(method, "normalised"): 0.8 for method in METHODS},
    **{(method, "plain"): 0.7 for method in METHODS},
    **{(method, "normalised"): 0.75 for method in ("FOMAML", "Reptile")},
}


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({}, [True, True, True, True]),
        ({("MAML", "normalised"): 0.9}, [False, True, True, True]),
        ({("FOMAML", "normalised"): 0.9}, [True, False, True, True]),
        ({("FO-B-MAML forward", "plain"): 0.9}, [True, True, False, True]),
        ({("FO-B-MAML forward", "plain"): 0.8}, [True, True, None, True]),
        ({("iMAML", "normalised"): 0.7}, [True, True, True, False]),
    ],
)
def test_findings_follow_the_accuracies(tiny, changed, held):
    assert [finding.held for finding in Signals().findings(tiny, Records(records(LEVELS | changed)))] == held


@pytest.mark.slow
@pytest.mark.study
def test_small_size(tmp_path):
    findings = carry_out(Signals(), Request(scale="small"), tmp_path / "study", "command", Watcher())
    assert findings[1].held  # ahead of the first-order methods with a bias
