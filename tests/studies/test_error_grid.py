"""error-grid, tiny and made up; its small size when studies are asked for."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from metagrad import tree
from metagrad.choosing import Auto, candidates
from metagrad.estimators import Binomial, Exact, Truncated
from metagrad.experiments.config import Experiment, build
from metagrad.experiments.expression import short
from metagrad.probing import TaskProbe
from metagrad.rules import SGD
from metagrad.task import Batch, Task
from metagrad.training.evaluation import fixed_tasks
from metagrad.training.progress import Silent
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Bench
from metagrad_studies.error_grid import ErrorGrid, elsewhere
from metagrad_studies.error_grid.records import Grid, Place
from metagrad_studies.error_vs_order.records import FAMILIES, LEARNED
from metagrad_studies.instruments.task_errors import task_errors
from studies.made import FULL, SMALL, With, measured

STUDY = ErrorGrid()


def shrunk(network):
    """The same with a small network, three inner steps and next to no training."""
    experiment = dict(network.experiment)
    experiment["problem"] = {**experiment["problem"], "hidden": [6]}
    experiment["meta_batch"] = 2
    return replace(
        network,
        experiment=experiment,
        alphas=(0.02,),
        num_steps=(3,),
        stages=(0, 2),
        tasks=3,
        probes=2,
        tasks_at_once=2,
    )


@pytest.fixture(scope="module")
def settings():
    small = STUDY.settings(SMALL)
    return replace(small, networks=tuple(shrunk(n) for n in small.networks), seeds=(30, 31))


@pytest.fixture(scope="module")
def records(settings, tmp_path_factory):
    return measured(STUDY, settings, tmp_path_factory.mktemp("cells"))


def test_errors_and_estimates_are_those_that_a_probe_measures(settings, records):
    network = settings.networks[0]
    config = replace(Experiment.from_json(network.experiment), rule=SGD(0.02), num_steps=3, seed=31)
    learner, sources = build(replace(config, machine=replace(config.machine, dtype="float64", device="cpu")))
    learner.load_state_dict({name: value.float() for name, value in learner.state_dict().items()})
    tasks = Task.join(fixed_tasks(sources.validation, 3, settings.task_seed + 31))
    tasks = tasks.to(torch.device("cpu"), torch.float64)
    for family, order, estimator in (
        ("Truncated", 1, Truncated(1)),
        ("Binomial-paper", 2, Binomial(2, scale="paper")),
        ("Binomial-auto", 2, Binomial(2, center="auto")),
    ):
        found = next(
            r
            for r in records
            if (r["network"], r["seed"], r["meta_steps"], r["family"], r["order"]) == ("sinusoid", 31, 0, family, order)
        )
        for t in range(3):
            probe = TaskProbe(learner.loop, learner.meta(), tasks.take(t))
            expected = probe.measure(estimator)
            assert found["errors"][t] == pytest.approx(expected.error, rel=1e-6)
            if expected.error_estimate is None:
                assert found["own"] is None
            else:
                assert found["own"][t] == pytest.approx(expected.error_estimate, rel=1e-6)
        cost = estimator.cost(3)
        assert (found["products"], found["rounds"]) == (cost.products, cost.rounds)


def test_every_candidate_of_auto_is_measured_and_its_choice_is_one_of_them(records):
    allowed = {e for e in candidates(3) if Auto(tolerance=0.1).allows(e, 3)} - {Exact()}
    measured_ones = {r["estimator"] for r in records if r["kind"] == "error"}
    assert {short(e) for e in allowed} <= measured_ones
    for r in records:
        if r["kind"] == "auto":
            assert r["estimator"] in {*map(short, allowed), "Exact()"}
            assert r["products"] <= 3


def test_what_is_not_finite_is_told_apart(settings, records):
    class Overflowing(Binomial):
        def pull(self, chain, cotangent):
            adjoint = super().pull(chain, cotangent)
            return replace(
                adjoint, start={n: {k: v * torch.inf for k, v in b.items()} for n, b in adjoint.start.items()}
            )

    network = settings.networks[0]
    config = replace(Experiment.from_json(network.experiment), rule=SGD(0.02), num_steps=3)
    learner, sources = build(replace(config, machine=replace(config.machine, dtype="float64", device="cpu")))
    tasks = Task.join(fixed_tasks(sources.train, 2, 0)).to(torch.device("cpu"), torch.float64)
    good, bad = task_errors(learner.loop, [Binomial(1), Overflowing(1)], learner.meta(), tasks, 2)
    assert good.measured.isfinite().all()
    assert bad.measured.isinf().all()
    steep = replace(learner.loop, rule=SGD(1e200))
    assert task_errors(steep, [Binomial(1)], learner.meta(), tasks, 2)[0].measured.isnan().all()


@pytest.mark.slow
def test_a_tiny_study_runs_from_end_to_end(settings, tmp_path):
    findings = carry_out(With(STUDY, settings), SMALL, tmp_path / "s", "metagrad reproduce error-grid", Watcher())
    assert len(findings) == 7
    text = (tmp_path / "s" / "summary.md").read_text()
    assert "sinusoid, K = 3: median relative error of single tasks" in text
    assert "fewest possible" in text


def test_sizes(tmp_path):
    small, full = STUDY.settings(SMALL), STUDY.settings(FULL)
    assert [n.name for n in small.networks] == ["sinusoid", "mnist1d-5way-1shot"]
    assert len(full.seeds) >= 3
    assert min(n.tasks for n in full.networks) >= 20
    assert set(full.networks[1].alphas) == {0.01, 0.1, 0.4}
    assert set(full.networks[1].num_steps) == {5, 10}
    with pytest.raises(ValueError, match="images_background"):
        STUDY.settings(replace(SMALL, data=str(tmp_path)))


def test_medium_size_has_ten_inner_steps_on_images_too_three_seeds_and_twenty_tasks(shared_data):
    small, medium = (
        STUDY.settings(replace(SMALL, scale=scale, data=str(shared_data))) for scale in ("small", "medium")
    )
    images = {"omniglot-5way-1shot", "cifar-fs-5way-1shot"}
    assert images < {network.name for network in medium.networks}
    for few, more in zip(small.networks, medium.networks, strict=True):
        assert more == replace(few, num_steps=(5, 10), tasks=more.tasks)
        assert few.num_steps == ((5,) if few.name in images else (5, 10))
        assert more.tasks * len(medium.seeds) >= 20
    assert len(set(medium.seeds)) == 3
    assert replace(medium, networks=small.networks, seeds=small.seeds) == small


def test_late_and_elsewhere_are_sizes_of_the_same_questions(shared_data):
    late, elsewhere = (
        STUDY.settings(replace(SMALL, scale=scale, data=str(shared_data))) for scale in ("late", "elsewhere")
    )
    assert {network.name for network in late.networks} == {"omniglot-5way-1shot", "cifar-fs-5way-1shot"}
    assert all((n.stages, n.num_steps, n.tasks) == ((1000,), (5,), 20) for n in late.networks)
    assert late.seeds == (32,)
    [residual] = elsewhere.networks
    assert (residual.alphas, residual.stages, residual.tasks) == ((0.05, 0.2), (0, 30, 100), 7)
    assert len(elsewhere.seeds) == 3
    assert late.bars == elsewhere.bars == STUDY.settings(SMALL).bars


@pytest.mark.parametrize("scale", ["late", "elsewhere"])
def test_sizes_of_images_alone_need_data(scale, tmp_path):
    with pytest.raises(ValueError, match="needs a directory of data; name it with --data DIR"):
        STUDY.settings(replace(SMALL, scale=scale))
    with pytest.raises(ValueError, match=r"images_background|FC100"):
        STUDY.settings(replace(SMALL, scale=scale, data=str(tmp_path)))


class Noise:
    """Five classes of small colour images that are nothing but noise."""

    ways = 5

    def sources(self, device):
        return SimpleNamespace(train=self)

    def sample(self, count, generator):
        def batch():
            inputs = torch.randn(count, 5, 3, 16, 16, generator=generator)
            return Batch(inputs, torch.arange(5).repeat(count, 1))

        return Task(batch(), batch())


def test_the_residual_network_trains_from_its_seed(tmp_path):
    network, bench = elsewhere.network(), Bench(tmp_path, None, Silent())

    def weights(meta_steps, seed=50):
        config = replace(Experiment.from_json(network.experiment), problem=Noise(), num_steps=2, rule=SGD(0.05))
        loop, meta = elsewhere.trained(replace(config, meta_steps=meta_steps, seed=seed), bench)
        assert loop.num_steps == 2
        return torch.cat([leaf.flatten() for leaf in tree.leaves(meta)])

    before, after = weights(0), weights(1)
    assert before.dtype == torch.float64
    assert torch.equal(after, weights(1))
    # Adam's first step is the rate in the sign of the gradient, where that is not zero.
    assert (after - before).abs().max().item() == pytest.approx(1e-3, rel=1e-3)
    assert not torch.equal(before, weights(0, seed=51))


@pytest.mark.slow
def test_elsewhere_a_cell_has_every_estimator_and_what_auto_chose(tmp_path, shared_data):
    settings = STUDY.settings(replace(SMALL, scale="elsewhere", data=str(shared_data)))
    tiny = replace(settings.networks[0], alphas=(0.05,), num_steps=(2,), stages=(0, 1), tasks=2, probes=1)
    records = measured(STUDY, replace(settings, networks=(tiny,), seeds=(50,)), tmp_path, data=str(shared_data))
    for stage in (0, 1):
        here = records.where(meta_steps=stage)
        assert len(here.where(kind="auto")) == 1
        assert {r["family"] for r in here.where(kind="error")} == {"FirstOrder", *FAMILIES, *LEARNED}
        assert here.one(family="FirstOrder")["error"] > 1e-3
        assert all(len(r["errors"]) + r["left_out"] == 2 for r in here)
    assert records[0]["errors"] != records.where(meta_steps=1)[0]["errors"]  # trained in between, on the same tasks


# What is said of records


def row(place, kind, family, order, errors, *, own=None, products=3, rounds=None, seed=30):
    return {
        **dict(zip(Place._fields, place, strict=True)),
        **{"seed": seed, "kind": kind, "family": family, "order": order, "estimator": f"{family}({order})"},
        **{"errors": errors, "own": own, "products": products, "rounds": order if rounds is None else rounds},
    }


def made_up(auto=0.04, plain=0.1, truncated=0.1, paper=0.1, own=0.05, delivered=0.05, rounds=2):
    rows = []
    for network in ("sinusoid", "mnist1d-5way-1shot"):
        place = Place(network, 0.02, 3, 0)
        rows.append(row(place, "error", "FirstOrder", 0, [0.9, 0.9]))
        for order in (1, 2):
            rows.append(row(place, "error", "Truncated", order, [truncated] * 2))
            rows.append(row(place, "error", "Binomial", order, [plain] * 2, own=[plain] * 2))
            rows.append(row(place, "error", "Binomial-paper", order, [paper] * 2, own=[paper] * 2))
            rows.append(row(place, "error", "Binomial-auto", order, [auto] * 2, own=[own] * 2))
        rows.append(row(place, "auto", "Auto", 0, [delivered] * 2, rounds=rounds))
    return rows


@pytest.mark.parametrize(
    ("changed", "verdicts"),
    [
        ({}, [True] * 7),
        ({"plain": 0.07}, [False, True, True, True, True, True, True]),
        ({"plain": 0.01, "auto": 0.0105, "own": 0.01}, [None, True, True, True, True, True, True]),
        ({"plain": 0.03}, [False, True, True, False, True, True, True]),
        ({"truncated": 0.05}, [True, False, True, True, True, True, True]),
        ({"paper": 0.05}, [True, True, False, True, True, True, True]),
        ({"own": 0.4}, [True, True, True, True, False, True, True]),
        ({"delivered": 0.2}, [True, True, True, True, True, False, True]),
        ({"rounds": 3}, [True, True, True, True, True, True, False]),
        ({"auto": None, "own": 0.05}, [False, False, False, False, False, True, True]),
    ],
)
def test_findings(settings, changed, verdicts):
    assert [finding.held for finding in STUDY.findings(settings, Records(made_up(**changed)))] == verdicts


def test_tasks_of_all_seeds_are_pooled(settings):
    place = Place("sinusoid", 0.02, 3, 0)
    grid = Grid.of(
        [
            row(place, "error", "Binomial", 2, [1.0, 2.0], own=[2.0, 2.0]),
            row(place, "error", "Binomial", 2, [9.0], own=[9.0]),
        ]
    )
    entry = grid.entries[place]["Binomial", 2]
    assert entry.error == 2.0
    assert entry.own_over_measured == 1.0


def test_fewest_rounds_count_no_estimator_with_more_products_than_exact():
    place = Place("sinusoid", 0.02, 3, 0)
    records = [
        row(place, "error", "Binomial", 1, [0.01], products=4),
        row(place, "error", "Grouped", 2, [0.05], products=3, rounds=2),
    ]
    assert Grid.of(records).fewest_rounds(place, 0.1) == 2
    assert Grid.of(records).fewest_rounds(place, 0.04) == 3


@pytest.mark.slow
@pytest.mark.study
def test_the_small_size_comes_to_its_end(tmp_path):
    findings = carry_out(STUDY, SMALL, tmp_path / "s", "metagrad reproduce error-grid", Watcher())
    assert len(findings) == 7
