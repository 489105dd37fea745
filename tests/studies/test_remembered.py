"""Products that are remembered: the same bits, taken once, and none mistaken for another."""

from dataclasses import replace

import pytest
import torch

from cases import LOSS, make_conv, make_tasks, one
from matrix_chain import MatrixChain, cotangent
from metagrad import (
    SGD,
    Binomial,
    Exact,
    FirstOrder,
    Grouped,
    Implicit,
    MetaLearner,
    Parallel,
    Reptile,
    Truncated,
    tree,
)
from metagrad.inner.episode import LinearisedLoop, TaskEpisode
from metagrad_studies.instruments.remembered import Remembered, RememberedChain
from metagrad_studies.instruments.task_errors import estimates, task_errors

STEPS = 4
ESTIMATORS = [
    Exact(),
    FirstOrder(),
    *(make(order) for make in (Truncated, Binomial, Grouped, Parallel) for order in (1, STEPS - 1, STEPS)),
    *(Binomial(order, scale="paper") for order in (1, 2)),
    *(Binomial(order, center="auto") for order in (1, 2, STEPS)),
    Implicit(),
    Reptile(),
]


def network(tasks=3):
    torch.manual_seed(0)
    learner = MetaLearner(make_conv().double(), LOSS, SGD(0.3), STEPS, Exact(), proximal=0.5)
    return replace(learner.loop, reuse=STEPS), learner.meta(), make_tasks((1, 16, 16), tasks=tasks)


def same(first, second):
    pairs = zip(tree.leaves(first), tree.leaves(second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_every_estimator_has_the_same_bits_as_alone():
    loop, meta, tasks = network()
    remembered = Remembered(TaskEpisode(loop, meta, one(tasks, 0)))
    for estimator in ESTIMATORS * 2:
        alone = estimator.estimate(TaskEpisode(loop, meta, one(tasks, 0)))
        found = estimator.estimate(remembered)
        assert same(found.gradient, alone.gradient), estimator
        assert same(found.diagnostics, alone.diagnostics), estimator


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_orders_of_one_expansion_share_their_products(steps):
    chain = MatrixChain.random(steps)
    remembered = RememberedChain(chain)
    for order in range(1, steps + 1):
        Binomial(order).pull(remembered, cotangent())
    assert chain.counter["products"] == steps * (steps + 1) // 2
    for window in range(steps + 1):
        Truncated(window).pull(remembered, cotangent())
    once = chain.counter["products"]
    assert once <= steps * (steps + 1) // 2 + steps
    Exact().pull(remembered, cotangent())
    assert chain.counter["products"] == once


def test_a_window_knows_what_the_whole_was_asked():
    chain = MatrixChain.random(3)
    remembered = RememberedChain(chain)
    direction = torch.ones(4, dtype=torch.float64)
    whole = remembered.curvature(2, direction)
    inside = remembered.window(1, 3).curvature(1, direction.clone())
    assert chain.counter["products"] == 1
    assert same(whole[0], inside[0])
    remembered.window(1, 3).curvature(0, direction)
    remembered.curvature(2, torch.nextafter(direction, torch.zeros(4, dtype=torch.float64)))
    assert chain.counter["products"] == 3


class Echo:
    """A chain of one link that gives back what it is asked."""

    def __len__(self):
        return 1

    def curvature(self, k, direction):
        return direction, {}


def test_other_names_shapes_and_types_are_other_directions():
    chain = RememberedChain(Echo())
    zeros = torch.zeros(4)
    asked = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.reshape(2, 2)},
        {"a": torch.zeros(2, dtype=torch.float64)},
        {"a": zeros[:1], "b": zeros[:3]},
        {"a": zeros[:3], "b": zeros[:1]},
        {"a": torch.tensor(0.0)},
        {},
    ]
    for direction in asked:
        found, _ = chain.curvature(0, direction)
        assert found is direction
    for direction in asked:
        assert chain.curvature(0, tree.map(torch.clone, direction))[0] is direction


@pytest.mark.slow
def test_tasks_one_by_one_and_side_by_side_agree():
    """Side by side nothing can be remembered."""
    loop, meta, tasks = network()
    alone, together = (estimates(loop, ESTIMATORS[1:], meta, tasks, chunk) for chunk in (1, 3))
    for estimator in ESTIMATORS[1:]:
        torch.testing.assert_close(alone.others[estimator], together.others[estimator], rtol=1e-9, atol=1e-12)
    errors = [task_errors(loop, ESTIMATORS[1:], meta, tasks, chunk) for chunk in (1, 3)]
    for estimator, first, second in zip(ESTIMATORS[1:], *errors, strict=True):
        torch.testing.assert_close(first.measured, second.measured, rtol=1e-6, atol=1e-9, msg=str(estimator))


@pytest.mark.parametrize("measure", [estimates, task_errors])
def test_one_by_one_what_several_ask_for_is_taken_once(measure, monkeypatch):
    """Every window of `Truncated` asks for some of the products of `Exact`."""
    taken = []
    product = LinearisedLoop._product

    def counted(self, k, direction):
        taken.append(k)
        return product(self, k, direction)

    monkeypatch.setattr(LinearisedLoop, "_product", counted)
    loop, meta, tasks = network(tasks=2)
    measure(loop, [Truncated(window) for window in range(STEPS + 2)], meta, tasks, chunk=1)
    assert sorted(taken) == sorted(2 * list(range(STEPS)))
