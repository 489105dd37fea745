"""error-vs-order, tiny and made up; real Omniglot in the slow suite; its small size when studies are asked for."""

import copy
from dataclasses import replace

import pytest
import torch

from cases import inner_states
from metagrad.batching import meta_gradient
from metagrad.estimators import Binomial, Exact, FirstOrder, Truncated
from metagrad.experiments.config import Experiment, build
from metagrad.task import Batch, Task
from metagrad.training.evaluation import fixed_tasks
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.error_vs_order import NetworkErrors, flops
from metagrad_studies.error_vs_order.records import FAMILIES, by_order, places
from metagrad_studies.error_vs_order.results import overshooting
from studies.made import FULL, SMALL, With, measured
from studies.test_spectra import dense_hessian

STUDY = NetworkErrors()


def row(records, network, stage, family, order):
    return records.one(kind="error", network=network, meta_steps=stage, family=family, order=order)


def shrunk(network, **problem):
    """The same with a small network, three inner steps and next to no training."""
    experiment = dict(network.experiment)
    experiment["problem"] = {**experiment["problem"], **problem}
    experiment |= {"num_steps": 3, "meta_batch": 2, "rule": "SGD(lr=0.05)"}
    return replace(network, experiment=experiment, stages=(0, 2), tasks=3, tasks_at_once=2, lanczos_iterations=12)


@pytest.fixture(scope="module")
def settings():
    small = STUDY.settings(SMALL)
    return replace(small, networks=tuple(shrunk(n, hidden=[6]) for n in small.networks), least_tasks=1)


@pytest.fixture(scope="module")
def records(settings, tmp_path_factory):
    return measured(STUDY, settings, tmp_path_factory.mktemp("cells"))


def untrained(settings):
    """Learner and tasks of the first network's stage 0, built independently."""
    network = settings.networks[0]
    config = Experiment.from_json(network.experiment)
    learner, sources = build(replace(config, machine=replace(config.machine, dtype="float64", device="cpu")))
    tasks = Task.join(fixed_tasks(sources.train, network.tasks, settings.task_seed))
    return learner, tasks.to(torch.device("cpu"), torch.float64)


def single(tasks, t):
    return Task(*(Batch(*(leaf[t : t + 1] for leaf in batch)) for batch in tasks))


@pytest.mark.slow
def test_errors_are_those_of_each_tasks_meta_gradient(settings, records):
    # The weights are those of the untrained run, to which float32 rounds them.
    learner, tasks = untrained(settings)
    learner.load_state_dict({name: value.float() for name, value in learner.state_dict().items()})
    for family, order, estimator in (
        ("Truncated", 2, Truncated(2)),
        ("Binomial", 1, Binomial(1)),
        ("Binomial-auto", 2, Binomial(2, center="auto")),
    ):
        found = row(records, "sinusoid", 0, family, order)
        for t in range(3):
            parts = [
                torch.cat(
                    [
                        g.flatten()
                        for g in meta_gradient(learner.loop, e, learner.meta(), single(tasks, t))
                        .gradient["model"]
                        .values()
                    ]
                )
                for e in (estimator, Exact())
            ]
            assert found["errors"][t] == pytest.approx(
                ((parts[0] - parts[1]).norm() / parts[1].norm()).item(), rel=1e-3
            )
        assert found["error"] == pytest.approx(sorted(found["errors"])[1])
        cost = estimator.cost(3)
        assert (found["products"], found["rounds"]) == (cost.products, cost.rounds)


@pytest.mark.slow
def test_curvature_is_that_of_dense_hessians(settings, records):
    learner, tasks = untrained(settings)
    learner.load_state_dict({name: value.float() for name, value in learner.state_dict().items()})
    task = tasks.take(1)
    for k, step in enumerate(inner_states(learner.loop, learner.meta(), task, 3)):
        values = 0.05 * torch.linalg.eigvalsh(dense_hessian(learner.loop, learner.meta(), task, step.state["adapted"]))
        found = records.where(kind="spectrum", network="sinusoid", meta_steps=0)[k]
        assert found["step"] == k
        assert found["highs"][1] == pytest.approx(values[-1].item(), rel=1e-3, abs=1e-5)
        assert found["lows"][1] == pytest.approx(values[0].item(), rel=1e-3, abs=1e-5)
        assert found["radius"] >= max(abs(found["low"]), abs(found["high"])) - 1e-12


@pytest.mark.slow
def test_exact_has_no_error_and_first_order_begins_every_line(settings, records):
    for place in places(settings, records):
        assert place.row("Exact", 3)["error"] == 0
        for family in ("Truncated", "Binomial", "Binomial-paper", "Binomial-auto"):
            columns = place.errors(family)
            assert len(columns) == 3
            assert columns[0] == place.row("FirstOrder", 0)["errors"]
        assert len(place.steepness()) == 3
    assert len(records) == 2 * 2 * (len(by_order(3, *FAMILIES)) + 1 + 3)


@pytest.mark.slow
def test_training_changes_the_weights_and_nothing_else(settings, records):
    before, after = (row(records, "sinusoid", stage, "Truncated", 1) for stage in (0, 2))
    assert before["errors"] != after["errors"]
    assert (before["flops"], before["products"]) == (after["flops"], after["products"])


def test_operations_grow_by_the_same_number_with_every_product(settings):
    learner, tasks = untrained(settings)
    counted = {
        e: flops(learner.loop, e, learner.meta(), single(tasks, 0))
        for e in (FirstOrder(), Truncated(1), Truncated(2), Binomial(1), Binomial(2), Exact())
    }
    product = counted[Truncated(1)] - counted[FirstOrder()]
    assert product > 0
    for estimator, number in counted.items():
        assert number == counted[FirstOrder()] + estimator.cost(3).products * product
    # Three inner gradients and the outer one of a network 1-6-1, forward and back: by hand.
    points = (10, 10, 10, 10)
    forward = [2 * n * (1 * 6 + 6 * 1) for n in points]
    back = [2 * n * (1 * 6 + 2 * 6 * 1) for n in points]  # on both weights, and on the hidden layer
    assert counted[FirstOrder()] == sum(forward) + sum(back)


@pytest.mark.slow
def test_a_tiny_study_runs_from_end_to_end(settings, tmp_path):
    findings = carry_out(With(STUDY, settings), SMALL, tmp_path / "s", "metagrad reproduce error-vs-order", Watcher())
    assert len(findings) == 5
    text = (tmp_path / "s" / "summary.md").read_text()
    assert "sinusoid: relative error by order" in text
    assert "operations (millions)" in text
    assert (tmp_path / "s" / "cells" / "sinusoid_meta-steps=2" / "run" / "last.safetensors").is_file()


def test_sizes(tmp_path):
    assert [n.name for n in STUDY.settings(SMALL).networks] == ["sinusoid", "mnist1d-5way-1shot"]
    with pytest.raises(ValueError, match="images_background"):
        STUDY.settings(replace(SMALL, data=str(tmp_path)))


@pytest.mark.slow
def test_with_real_omniglot_the_first_convolutional_cell_is_measured(shared_data, tmp_path):
    small = STUDY.settings(replace(SMALL, data=str(shared_data)))
    *_, network = small.networks
    assert network.name == "omniglot-5way-1shot"
    assert {n.name for n in STUDY.settings(replace(FULL, data=str(shared_data))).networks} >= {"omniglot-20way-1shot"}
    tiny = replace(shrunk(network, filters=4, queries=2), stages=(1,), tasks_at_once=1, lanczos_iterations=6)
    settings = replace(small, networks=(tiny,))
    records = measured(STUDY, settings, tmp_path, data=str(shared_data))
    assert all(r["error"] > 0 for r in records if r["kind"] == "error" and r["family"] != "Exact")
    product = row(records, tiny.name, 1, "Truncated", 1)["flops"] - row(records, tiny.name, 1, "FirstOrder", 0)["flops"]
    assert row(records, tiny.name, 1, "Binomial", 2)["flops"] == pytest.approx(
        row(records, tiny.name, 1, "FirstOrder", 0)["flops"] + 4 * product, rel=1e-6
    )


# What is said of records


def made_up(settings, error, steep):
    """Errors `error(family, order)` for every task; K·αλ_max as given for each network."""
    rows = []
    for number, network in enumerate(settings.networks):
        for stage in network.stages:
            base = {"network": network.name, "meta_steps": stage}
            for family, order in [*by_order(3, *FAMILIES), ("Exact", 3)]:
                value = error(family, order)
                cost = {"flops": 100.0 if family == "Exact" else 20.0 * order, "peak_bytes": 10, "products": 1}
                rows.append(
                    {**base, **cost, "kind": "error", "family": family, "order": order, "error": value}
                    | {"errors": [value] * network.tasks, "error_25": value, "error_75": value}
                )
            for k in range(3):
                highs = [steep[number] / 3 if k == 1 else 0.0] * network.tasks
                rows.append({**base, "kind": "spectrum", "step": k, "highs": highs})
    return rows


def falling(family, order):
    scale = {"FirstOrder": 1.0, "Truncated": 0.5, "Binomial": 0.1, "Binomial-paper": 0.4, "Binomial-auto": 0.05}
    return 0.0 if family == "Exact" else scale[family] ** order


def held(settings, records):
    return [finding.held for finding in STUDY.findings(settings, Records(records))]


def test_findings_on_records_that_are_as_claimed(settings):
    # Steep tasks would have to overshoot for the third claim; here none does.
    assert held(settings, made_up(settings, falling, (0.5, 4.0))) == [True, True, False, True, True]


def test_whether_it_overshoots_is_asked_of_steep_and_of_gentle_tasks(settings):
    gentle, steep = settings.networks
    records = made_up(settings, falling, (0.5, 4.0))
    for r in records:
        if r["kind"] == "error" and (r["network"], r["family"], r["order"]) == (steep.name, "Binomial", 1):
            r["errors"], r["error"] = [2.0] * steep.tasks, 2.0
    assert held(settings, records)[:3] == [False, False, True]
    assert sum(over for _, over in overshooting(places(settings, Records(records)))) == steep.tasks * len(steep.stages)
    assert held(replace(settings, least_tasks=1000), records)[2] is None
    for r in records:
        if r["kind"] == "spectrum" and r["network"] == gentle.name:
            r["highs"] = [4.0] * gentle.tasks
    assert held(settings, records)[2] is None  # no gentle task is left


def test_findings_on_records_that_are_not_as_claimed(settings):
    records = made_up(settings, falling, (0.5, 4.0))
    for r in records:
        if r["kind"] == "error" and (r["family"], r["order"]) == ("Binomial", 2):
            r["error"], r["flops"] = 0.6, 150.0
            r["errors"] = [0.6] * len(r["errors"])
    verdicts = held(settings, copy.deepcopy(records))
    assert verdicts[0] is False
    assert verdicts[1] is False
    assert verdicts[4] is False
    records = made_up(settings, lambda f, o: 0.9**o if f == "Binomial-auto" else falling(f, o), (0.5, 4.0))
    assert held(settings, records)[3] is False


@pytest.mark.slow
@pytest.mark.study
def test_the_small_size_holds_the_rule_and_refutes_what_it_limits(tmp_path):
    findings = carry_out(STUDY, SMALL, tmp_path / "s", "metagrad reproduce error-vs-order", Watcher())
    # Training steepens these networks until plain orders overshoot, and no order has fewer operations than Exact.
    assert [finding.held for finding in findings] == [False, False, True, True, False]
