"""Estimators on a real network, through the public interface, against the sum over subsets with dense Hessians."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian

from cases import make_tasks, one
from metagrad import SGD, Binomial, FirstOrder, Hybrid, MetaLearner, Truncated, tree
from metagrad.estimators import Estimator

RATE = 0.3


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Tanh(), torch.nn.Linear(2, 3)).double()
    return model, make_tasks((4,), tasks=1)


def dense(network, steps):
    """−α·H_k for k = 0 … K−1, and the outer gradient."""
    model, tasks = network
    sizes = [p.numel() for p in model.parameters()]
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)

    def loss(vector, batch):
        pieces = vector.split(sizes)
        parameters = {n: piece.view(s) for n, piece, s in zip(names, pieces, shapes, strict=True)}
        return F.cross_entropy(functional_call(model, parameters, (batch.inputs,)), batch.targets)

    task, factors = one(tasks, 0), []
    phi = torch.cat([p.detach().flatten() for p in model.parameters()])
    for _ in range(steps):
        factors.append(-RATE * hessian(loss)(phi, task.support))
        phi = phi - RATE * grad(loss)(phi, task.support)
    return factors, grad(loss)(phi, task.query)


def subsets(factors, vector, order, scale=1.0, center=0.0, window=None):
    first = 0 if window is None else max(len(factors) - window, 0)
    total = torch.zeros_like(vector)
    identity = torch.eye(len(vector), dtype=vector.dtype)
    for chosen in itertools.product([False, True], repeat=len(factors) - first):
        if sum(chosen) <= order:
            term = vector
            for k in reversed(range(first, len(factors))):
                expanded = scale * factors[k] + center * identity
                term = expanded @ term if chosen[k - first] else (1 - center) * term
            total = total + term
    return total


def measured(network, steps, estimator: Estimator):
    model, tasks = network
    result = MetaLearner(model, F.cross_entropy, SGD(RATE), steps, estimator).meta_gradient(tasks)
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


@pytest.mark.parametrize("steps", range(1, 7))
@pytest.mark.parametrize(("scale", "center"), [(1.0, 0.0), ("paper", 0.0), (1.0, 0.2), (0.7, -0.3)])
def test_binomial_equals_the_sum_over_subsets(network, steps, scale, center):
    factors, outer = dense(network, steps)
    for order in range(steps + 1):
        factor = order / steps if scale == "paper" else scale
        expected = subsets(factors, outer, order, factor, center)
        actual = measured(network, steps, Binomial(order, scale, center))
        assert (actual - expected).norm() <= 1e-10 * outer.norm(), f"order {order}"


@pytest.mark.parametrize("window", range(6))
def test_truncated_and_hybrid_equal_their_definitions(network, window):
    factors, outer = dense(network, 5)
    for estimator, order in ((Truncated(window), window), (Hybrid(window, 1), 1), (Hybrid(window, 3), 3)):
        expected = subsets(factors, outer, order, window=window)
        assert (measured(network, 5, estimator) - expected).norm() <= 1e-10 * outer.norm()


def test_first_order_is_the_outer_gradient(network):
    _, outer = dense(network, 5)
    assert (measured(network, 5, FirstOrder()) - outer).norm() <= 1e-12 * outer.norm()
