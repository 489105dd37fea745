"""Linear solvers of the implicit gradient, against dense solves."""

import pytest
import torch

from matrix_chain import D, E, MatrixChain, MatrixEpisode, cotangent, flatten
from metagrad import Implicit
from metagrad.estimators import ConjugateGradient, Neumann


def solve(solver, chain, u):
    return Implicit(solver).estimate(MatrixEpisode(chain, u))


@pytest.mark.parametrize("solver", [ConjugateGradient(3), Neumann(0), Neumann(4)], ids=repr)
def test_counted_products_equal_its_cost(solver):
    chain = MatrixChain.random(5)
    solve(solver, chain, cotangent())
    cost = Implicit(solver).cost(5)
    assert (chain.counter["products"], chain.counter["rounds"]) == (cost.products, cost.rounds)


def test_conjugate_gradient_equals_the_dense_solve():
    chain = MatrixChain.random(3)
    link, u = chain.last, cotangent()["adapted"]
    estimate = solve(ConjugateGradient(D), chain, cotangent())
    expected = -link.M @ torch.linalg.solve(link.H, u)
    assert (estimate.gradient["rule"] - expected).norm() <= 1e-8 * expected.norm()
    assert estimate.diagnostics["residual"] < 1e-8


def test_too_few_iterations_report_their_true_residual():
    chain = MatrixChain.random(3)
    link, u = chain.last, cotangent()["adapted"]
    # One iteration is steepest descent with an exact line search.
    length = (u @ u) / (u @ link.H @ u)
    residual = (u - length * link.H @ u).norm() / u.norm()
    estimate = solve(ConjugateGradient(1), chain, cotangent())
    assert estimate.diagnostics["residual"] == pytest.approx(residual.item(), rel=1e-12)
    assert residual > 0.01


def test_more_iterations_than_dimensions_stay_at_the_solution():
    chain = MatrixChain.random(3)
    exact = solve(ConjugateGradient(D), chain, cotangent()).gradient["rule"]
    longer = solve(ConjugateGradient(D + 20), chain, cotangent()).gradient["rule"]
    assert longer.isfinite().all()
    assert (longer - exact).norm() <= 1e-8 * exact.norm()


def test_damping_solves_the_damped_system():
    chain = MatrixChain.random(3)
    link, u = chain.last, cotangent()["adapted"]
    damped = link.H + 0.7 * torch.eye(D, dtype=torch.float64)
    estimate = solve(ConjugateGradient(D, damping=0.7), chain, cotangent())
    expected = -link.M @ torch.linalg.solve(damped, u)
    assert (estimate.gradient["rule"] - expected).norm() <= 1e-8 * expected.norm()


def test_negative_curvature_stops_the_iteration_and_shows_in_the_residual():
    chain = MatrixChain.random(3)
    chain.last.H = -chain.last.H
    estimate = solve(ConjugateGradient(D), chain, cotangent())
    assert (estimate.gradient["rule"] == 0).all()
    assert estimate.diagnostics["residual"] == 1.0


def test_a_zero_outer_gradient_gives_zero_and_no_nan():
    chain = MatrixChain.random(3)
    zero = {"adapted": torch.zeros(D, dtype=torch.float64)}
    for solver in (ConjugateGradient(3), Neumann(3)):
        estimate = solve(solver, chain, zero)
        assert (estimate.gradient["rule"] == 0).all()
        assert estimate.diagnostics["residual"] == 0.0


def test_neumann_equals_the_dense_series_and_converges_to_the_dense_solve():
    chain = MatrixChain.random(3, step_size=0.2)
    link = chain.last
    link.S = 0.5 * link.S
    step = link.direct_matrix() + link.curvature_matrix()
    u, total = flatten(cotangent()), torch.zeros(D + E, dtype=torch.float64)
    for power in range(4):
        total = total + torch.linalg.matrix_power(step, power) @ u
    estimate = solve(Neumann(3), chain, cotangent())
    assert torch.allclose(estimate.gradient["rule"], link.M @ link.G @ total, rtol=1e-12)
    residual = (u - total + step @ total).norm() / u.norm()
    assert estimate.diagnostics["residual"] == pytest.approx(residual.item(), rel=1e-10)

    solved = torch.linalg.solve(torch.eye(D + E, dtype=torch.float64) - step, u)
    longer = solve(Neumann(200), chain, cotangent())
    assert torch.allclose(longer.gradient["rule"], link.M @ link.G @ solved, rtol=1e-8)
