"""The published code's iMAML: against a dense solve, its limits, and a conjugate gradient by hand."""

import pytest
import torch

from metagrad import SGD, Batch, MetaLearner, Task, tree
from metagrad.estimators import FirstOrder
from metagrad_studies.table1.unanchored import UnanchoredImplicit

STEPS, RATE, STRENGTH = 3, 0.1, 2.0


def squared(predictions, targets):
    return (predictions - targets).square().mean()


@pytest.fixture
def case():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1, bias=False).double()
    batch = [Batch(torch.randn(1, 6, 4).double(), torch.randn(1, 6, 1).double()) for _ in range(2)]
    return model, Task(*batch)


def gradient(model, task, estimator):
    learner = MetaLearner(model, squared, SGD(lr=RATE), STEPS, estimator)
    return tree.leaves(learner.meta_gradient(task).gradient)[0].flatten()


def by_hand(task):
    hessian = 2 / 6 * task.support.inputs[0].T @ task.support.inputs[0]
    return torch.eye(4).double() + hessian / STRENGTH


def test_as_many_iterations_as_dimensions_solve_the_system(case):
    model, task = case
    outer = gradient(model, task, FirstOrder())
    solution = gradient(model, task, UnanchoredImplicit(iterations=4, strength=STRENGTH))
    torch.testing.assert_close(solution, torch.linalg.solve(by_hand(task), outer), rtol=1e-9, atol=1e-12)


def test_one_iteration_begins_at_the_outer_gradient(case):
    model, task = case
    outer, matrix = gradient(model, task, FirstOrder()), by_hand(task)
    residual = outer - matrix @ outer
    expected = outer + residual * (residual @ residual) / (residual @ matrix @ residual)
    solution = gradient(model, task, UnanchoredImplicit(iterations=1, strength=STRENGTH))
    torch.testing.assert_close(solution, expected, rtol=1e-12, atol=1e-14)


def test_a_large_strength_is_first_order(case):
    model, task = case
    solution = gradient(model, task, UnanchoredImplicit(iterations=2, strength=1e9))
    torch.testing.assert_close(solution, gradient(model, task, FirstOrder()), rtol=1e-8, atol=1e-12)


def test_a_batch_is_the_mean_of_its_tasks(case):
    model, _ = case
    batches = [Batch(torch.randn(3, 6, 4).double(), torch.randn(3, 6, 1).double()) for _ in range(2)]
    estimator = UnanchoredImplicit(iterations=3, strength=STRENGTH)
    alone = [Task(*(Batch(*(leaf[t : t + 1] for leaf in part)) for part in batches)) for t in range(3)]
    expected = sum(gradient(model, task, estimator) for task in alone) / 3
    torch.testing.assert_close(gradient(model, Task(*batches), estimator), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"strength": 0.0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        UnanchoredImplicit(**arguments)
