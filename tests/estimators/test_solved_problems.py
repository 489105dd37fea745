"""Implicit and finite-difference estimators on an inner problem that is solved, against a dense implicit gradient."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, hessian

from cases import make_tasks, one
from metagrad import SGD, Exact, FiniteDifference, Implicit, MetaLearner, tree
from metagrad.estimators import ConjugateGradient, Neumann

STRENGTH, STEPS = 1.0, 150


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3).double()
    tasks = make_tasks((4,), tasks=1)
    start = torch.cat([p.detach().flatten() for p in model.parameters()])

    def parameters(vector):
        return {"weight": vector[:12].view(3, 4), "bias": vector[12:]}

    def loss(vector, batch):
        return F.cross_entropy(functional_call(model, parameters(vector), (batch.inputs,)), batch.targets)

    # Newton's method on the strongly convex inner problem, then the implicit function theorem, all dense.
    task, solution = one(tasks, 0), start.clone()
    identity = torch.eye(15, dtype=torch.float64)
    for _ in range(20):
        curvature = hessian(loss)(solution, task.support) + STRENGTH * identity
        slope = torch.func.grad(loss)(solution, task.support) + STRENGTH * (solution - start)
        solution = solution - torch.linalg.solve(curvature, slope)
    curvature = hessian(loss)(solution, task.support) + STRENGTH * identity
    gradient = STRENGTH * torch.linalg.solve(curvature, torch.func.grad(loss)(solution, task.query))
    return model, tasks, gradient


def error(problem, estimator, rule=None, steps=STEPS):
    model, tasks, expected = problem
    learner = MetaLearner(model, F.cross_entropy, rule or SGD(0.5), steps, estimator, proximal=STRENGTH)
    result = learner.meta_gradient(tasks)
    actual = torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])
    return ((actual - expected).norm() / expected.norm()).item(), result


def test_the_inner_loop_solves_its_problem(problem):
    assert error(problem, Exact())[0] < 1e-12


@pytest.mark.parametrize("rule", [SGD(0.5), SGD(0.3, 0.3), SGD(0.3, 0.3, nesterov=True)], ids=repr)
def test_conjugate_gradient_equals_the_dense_solve(problem, rule):
    found, result = error(problem, Implicit(ConjugateGradient(15)), rule)
    assert found <= 1e-8
    assert result.diagnostics["residual"].item() < 1e-10


@pytest.mark.parametrize("rule", [SGD(0.5), SGD(0.3, 0.3)], ids=repr)
def test_a_long_neumann_series_equals_the_dense_solve(problem, rule):
    assert error(problem, Implicit(Neumann(STEPS)), rule)[0] <= 1e-10


def test_a_short_solve_is_wrong_and_says_so(problem):
    found, result = error(problem, Implicit(ConjugateGradient(1)))
    assert found > 1e-3
    assert result.diagnostics["residual"].item() > 1e-3


@pytest.mark.parametrize(
    ("sides", "slope"), [("forward", 1), ("symmetric", 2), pytest.param("fourth", 4, marks=pytest.mark.slow)]
)
def test_finite_differences_converge_with_their_order(problem, sides, slope):
    nudges = (1e-1, 1e-2) if slope < 4 else (4e-1, 4e-2)
    coarse, fine = (error(problem, FiniteDifference(nudge, sides))[0] for nudge in nudges)
    assert math.log10(coarse / fine) == pytest.approx(slope, abs=0.1)
    assert fine < 1e-2


def test_finite_differences_need_a_solved_problem(problem):
    assert error(problem, FiniteDifference(1e-3), steps=1)[0] > 0.1
    assert error(problem, FiniteDifference(1e-3), steps=STEPS)[0] < 1e-6


@pytest.mark.parametrize(("sides", "solves"), [("forward", 1), ("symmetric", 2), ("fourth", 4)])
def test_solves_are_counted(sides, solves):
    class CountingEpisode:
        def __init__(self):
            self.asked = []

        def nudged(self, nudge):
            self.asked.append(nudge)
            return {"model": torch.ones(1)}

    episode = CountingEpisode()
    FiniteDifference(0.1, sides).estimate(episode)
    # The point 0 is where the episode ended anyway.
    assert sum(nudge != 0 for nudge in episode.asked) == solves == FiniteDifference(0.1, sides).cost(5).solves


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nudge": 0.0}, "nudge must be greater than 0"),
        ({"nudge": math.inf}, "nudge must be finite"),
        ({"sides": "both"}, "sides must be one of 'forward', 'symmetric', 'fourth', got 'both'"),
    ],
)
def test_hyperparameters_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        FiniteDifference(**options)
