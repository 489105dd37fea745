"""Lanczos iteration on chains, against dense eigenvalues."""

import pytest
import torch

from cases import inner_states, one
from metagrad import tree
from metagrad.estimators import Pulled
from metagrad.experiments.problems import SinusoidRegression
from metagrad_studies.instruments import sinusoid
from metagrad_studies.instruments.spectra import Extremes, direction, extremes, ranges
from metagrad_studies.instruments.task_errors import curvatures

PROBLEM = SinusoidRegression(
    support=6, query=5, amplitude=(0.1, 5.0), phase=(0.0, 3.0), inputs=(-5.0, 5.0), hidden=(7,)
)
LENGTH = 6


class DenseChain:
    """Links I − E_k of SGD with a rate of 0.5, from explicit symmetric matrices; the state is one tensor."""

    def __init__(self, factors):
        self.factors = factors

    def __len__(self):
        return len(self.factors)

    def direct(self, k, cotangent):
        return Pulled(cotangent, {"w": -0.5 * cotangent["adapted"]["w"]}, {})

    def curvature_everywhere(self, directions):
        curved = torch.stack([2.0 * e @ d for e, d in zip(self.factors, directions["w"], strict=True)])
        return {"adapted": {"w": curved}}, {}


def symmetric(seed, rank=LENGTH):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(LENGTH, rank, generator=generator, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, 1.0], dtype=torch.float64)[:rank]
    return root * signs @ root.T


def first():
    return direction({"w": torch.zeros(LENGTH, dtype=torch.float64)}, seed=1)


def test_as_many_iterations_as_dimensions_give_the_extreme_eigenvalues():
    factors = [symmetric(seed) for seed in range(3)]
    found = extremes(DenseChain(factors), first(), LENGTH)
    values = torch.stack([torch.linalg.eigvalsh(e) for e in factors])
    torch.testing.assert_close(found.low, values[:, 0])
    torch.testing.assert_close(found.high, values[:, -1])
    assert (found.residual < 1e-9).all()


def test_fewer_iterations_stay_inside_and_say_how_far_they_may_be_off():
    factors = [symmetric(seed) for seed in range(8)]
    values = torch.stack([torch.linalg.eigvalsh(e) for e in factors])
    for iterations in range(1, LENGTH):
        found = extremes(DenseChain(factors), first(), iterations)
        for ritz in (found.low, found.high):
            assert (ritz >= values[:, 0] - 1e-12).all()
            assert (ritz <= values[:, -1] + 1e-12).all()
            nearest = (ritz[:, None] - values).abs().min(dim=1).values
            assert (nearest <= found.residual + 1e-9).all()


def test_a_krylov_space_that_is_exhausted_is_no_accident():
    factors = [symmetric(1, rank=2), torch.zeros(LENGTH, LENGTH, dtype=torch.float64), torch.eye(LENGTH).double()]
    found = extremes(DenseChain(factors), first(), LENGTH + 3)
    values = torch.stack([torch.linalg.eigvalsh(e) for e in factors])
    torch.testing.assert_close(found.high, values[:, -1], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.low[:2], values[:2, 0], atol=1e-10, rtol=1e-10)
    assert 0 <= found.low[2] <= 1  # all eigenvalues are 1; the exhausted space counts a 0, which only widens


def test_curvature_along_real_inner_loops_equals_dense_hessians():
    loop, meta = sinusoid.start(PROBLEM, "random", 0.05, 3, seed=0)
    tasks = sinusoid.draw(PROBLEM, 4, seed=1)
    spreads = ranges(curvatures(loop, meta, tasks, iterations=22, seed=2, chunk=3))
    assert [len(spread) for spread in spreads] == [3] * 4
    for t, spread in enumerate(spreads):
        task = one(tasks, t)
        for k, step in enumerate(inner_states(loop, meta, task, 3)):
            values = 0.05 * torch.linalg.eigvalsh(dense_hessian(loop, meta, task, step.state["adapted"]))
            assert spread.low[k] == pytest.approx(values[0].item(), abs=1e-8)
            assert spread.high[k] == pytest.approx(values[-1].item(), abs=1e-8)


def test_a_range_is_widened_by_what_is_left_open():
    low, high, residual = torch.tensor([[[-1.0, -2.0]], [[3.0, 4.0]], [[0.5, 0.25]]], dtype=torch.float64)
    [spread] = ranges(Extremes(low, high, residual))
    assert spread.low == (-1.5, -2.25)
    assert spread.high == (3.5, 4.25)


def test_no_iteration_is_refused():
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        extremes(DenseChain([symmetric(0)]), first(), 0)


def dense_hessian(loop, meta, task, adapted):
    leaves = tree.leaves(adapted)
    names, sizes = [name for name, _ in tree.items(adapted)], [leaf.numel() for leaf in leaves]

    def loss(flat):
        parts = zip(names, flat.split(sizes), leaves, strict=True)
        return loop.learner.support_loss({n: p.reshape(leaf.shape) for n, p, leaf in parts}, meta, task.support)

    return torch.func.hessian(loss)(torch.cat([leaf.flatten() for leaf in leaves]))
