"""Linear solvers of the implicit gradient, against dense solves."""

import pytest
import torch

from matrix_chain import D, E, MatrixChain, cotangent, flatten
from metagrad import Implicit
from metagrad.estimators import ConjugateGradient, Neumann


def test_conjugate_gradient_equals_the_dense_solve():
    chain = MatrixChain.random(3)
    link, u = chain.last, cotangent()["adapted"]
    adjoint = Implicit(ConjugateGradient(D)).pull(chain, cotangent())
    expected = -link.M @ torch.linalg.solve(link.H, u)
    assert (adjoint.meta["rule"] - expected).norm() <= 1e-8 * expected.norm()
    assert adjoint.diagnostics["residual"] < 1e-8
    assert adjoint.start == {}


def test_too_few_iterations_report_their_true_residual():
    chain = MatrixChain.random(3)
    link, u = chain.last, cotangent()["adapted"]
    # One iteration is steepest descent with an exact line search.
    length = (u @ u) / (u @ link.H @ u)
    residual = (u - length * link.H @ u).norm() / u.norm()
    adjoint = Implicit(ConjugateGradient(1)).pull(chain, cotangent())
    assert adjoint.diagnostics["residual"] == pytest.approx(residual.item(), rel=1e-12)
    assert residual > 0.01


def test_more_iterations_than_dimensions_stay_at_the_solution():
    chain = MatrixChain.random(3)
    exact = Implicit(ConjugateGradient(D)).pull(chain, cotangent()).meta["rule"]
    longer = Implicit(ConjugateGradient(D + 20)).pull(chain, cotangent()).meta["rule"]
    assert longer.isfinite().all()
    assert (longer - exact).norm() <= 1e-8 * exact.norm()


def test_damping_solves_the_damped_system():
    chain = MatrixChain.random(3)
    link, u = chain.last, cotangent()["adapted"]
    damped = link.H + 0.7 * torch.eye(D, dtype=torch.float64)
    adjoint = Implicit(ConjugateGradient(D, damping=0.7)).pull(chain, cotangent())
    expected = -link.M @ torch.linalg.solve(damped, u)
    assert (adjoint.meta["rule"] - expected).norm() <= 1e-8 * expected.norm()


def test_negative_curvature_stops_the_iteration_and_shows_in_the_residual():
    chain = MatrixChain.random(3)
    chain.last.H = -chain.last.H
    adjoint = Implicit(ConjugateGradient(D)).pull(chain, cotangent())
    assert (adjoint.meta["rule"] == 0).all()
    assert adjoint.diagnostics["residual"] == 1.0


def test_a_zero_outer_gradient_gives_zero_and_no_nan():
    chain = MatrixChain.random(3)
    zero = {"adapted": torch.zeros(D, dtype=torch.float64)}
    for solver in (ConjugateGradient(3), Neumann(3)):
        adjoint = Implicit(solver).pull(chain, zero)
        assert (adjoint.meta["rule"] == 0).all()
        assert adjoint.diagnostics["residual"] == 0.0


def test_neumann_equals_the_dense_series_and_converges_to_the_dense_solve():
    chain = MatrixChain.random(3, step_size=0.2)
    link = chain.last
    link.S = 0.5 * link.S
    step = link.direct_matrix() + link.curvature_matrix()
    u, total = flatten(cotangent()), torch.zeros(D + E, dtype=torch.float64)
    for power in range(4):
        total = total + torch.linalg.matrix_power(step, power) @ u
    adjoint = Implicit(Neumann(3)).pull(chain, cotangent())
    assert torch.allclose(adjoint.meta["rule"], link.M @ link.G @ total, rtol=1e-12)
    residual = (u - total + step @ total).norm() / u.norm()
    assert adjoint.diagnostics["residual"] == pytest.approx(residual.item(), rel=1e-10)

    solved = torch.linalg.solve(torch.eye(D + E, dtype=torch.float64) - step, u)
    longer = Implicit(Neumann(200)).pull(chain, cotangent())
    assert torch.allclose(longer.meta["rule"], link.M @ link.G @ solved, rtol=1e-8)
