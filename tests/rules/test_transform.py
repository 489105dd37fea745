"""Optimizers as pairs of functions: those of TorchOpt and of one's own, against the same pair under plain autograd."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from jobs.by_hand import by_hand, check
from metagrad import Binomial, Exact, MetaLearner, Objective, Transform
from rules.by_hand import sgd
from rules.test_meta_gradients import error, task
from rules.test_values import STEPS


class Moving(NamedTuple):
    velocity: dict[str, Tensor]
    count: Tensor
    nothing: Any = None


def heavy_ball(lr, momentum):
    def init(params):
        return [Moving({n: torch.zeros_like(p) for n, p in params.items()}, torch.tensor(0))]

    def update(gradients, state, params):
        velocity = {n: momentum * state[0].velocity[n] + g for n, g in gradients.items()}
        return {n: -lr * v for n, v in velocity.items()}, [Moving(velocity, state[0].count + 1)]

    return init, update


def counting(lr, momentum):
    """A count for each parameter beside its velocity: integers between tensors that have derivatives."""

    def init(params):
        return {n: (torch.zeros_like(p), torch.tensor(0)) for n, p in params.items()}

    def update(gradients, state, params):
        after = {n: (momentum * state[n][0] + g, state[n][1] + 1) for n, g in gradients.items()}
        return {n: -lr * after[n][0] / after[n][1] for n in gradients}, after

    return init, update


def plain(lr):
    return lambda params: (), lambda gradients, state, params: ({n: -lr * g for n, g in gradients.items()}, state)


def of_pair(init, update):
    """The pair as a step by hand."""
    kept, options = {}, {"inplace": False} if "torchopt" in update.__module__ else {}

    def step(phi, slopes, k):
        state = init(phi) if k == 0 else kept["state"]
        moves, kept["state"] = update(slopes, state, params=phi, **options)
        return {n: p + moves[n] for n, p in phi.items()}

    return step


OF_TORCHOPT = {
    "sgd": lambda t: t.sgd(0.3, momentum=0.8, nesterov=True),
    "adam": lambda t: t.adam(0.05, eps_root=1e-6),
    "adamw": lambda t: t.adamw(0.05, eps_root=1e-6, weight_decay=0.3),
    "rmsprop": lambda t: t.rmsprop(0.02, momentum=0.5, centered=True),
    "chain": lambda t: t.chain(t.nan_to_num(0.0), t.sgd(t.schedule.linear_schedule(0.3, 0.1, 10, 0))),
}
ESTIMATORS = pytest.mark.parametrize("estimator", [Exact(), Binomial(STEPS)], ids=["exact", "binomial"])


def compare(pair, step, estimator, **options):
    net, given = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double(), task()
    learner = MetaLearner(net, Objective(error), Transform(*pair), STEPS, estimator, **options)
    expected = by_hand(net, error, error, given.support, given.query, STEPS, step)
    check(learner.meta_gradient([given, given]), [expected] * 2)


@pytest.mark.parametrize("name", OF_TORCHOPT)
@ESTIMATORS
def test_pairs_of_torchopt(name, estimator):
    torchopt = pytest.importorskip("torchopt", reason="torchopt is not installed: pip install 'metagrad[peers]'")
    pair = OF_TORCHOPT[name](torchopt)
    compare(pair, of_pair(*pair), estimator, task_chunk=1, link_chunk=1)


@pytest.mark.parametrize(("pair", "step"), [(heavy_ball(0.3, 0.8), sgd(0.3, 0.8)), (plain(0.3), sgd(0.3))])
@ESTIMATORS
def test_pairs_of_ones_own(pair, step, estimator):
    compare(pair, of_pair(*pair), estimator)
    compare(pair, step, estimator)


@ESTIMATORS
def test_integers_between_other_states(estimator):
    pair = counting(0.3, 0.8)
    compare(pair, of_pair(*pair), estimator)
