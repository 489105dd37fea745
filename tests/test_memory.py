"""Memory: one curvature graph at a time for sequential estimators, one round at a time for the binomial one."""

import pytest
import torch
import torch.nn.functional as F

from cases import WAYS, make_conv, make_tasks
from metagrad import SGD, Binomial, Exact, FiniteDifference, Implicit, MetaLearner, Reptile, Truncated
from metagrad.memory import peak_bytes
from metagrad.networks import MLP


def peak(estimator, steps, make=make_conv, features=(1, 16, 16), **options):
    torch.manual_seed(0)
    learner = MetaLearner(make().double(), F.cross_entropy, SGD(0.01), steps, estimator, task_chunk=1, **options)
    tasks = make_tasks(features, tasks=1)
    learner.meta_gradient(tasks)
    return peak_bytes(lambda: learner.meta_gradient(tasks), torch.device("cpu"))


@pytest.mark.parametrize("estimator", [Exact(), Truncated(3)], ids=repr)
def test_more_inner_steps_cost_their_states_and_gradients_and_no_graph(estimator):
    parameters = sum(p.numel() for p in make_conv().parameters()) * 8
    growth = peak(estimator, 16) - peak(estimator, 4)
    # A state and a gradient for each step, and no more than as much again for what the rule's pullbacks hold.
    assert growth <= 12 * 4 * parameters
    # Activations of one step, which a graph through the loop would keep for each of the 12.
    assert growth < 3 * peak(estimator, 1)


@pytest.mark.parametrize("options", [{}, {"reuse": 3}], ids=repr)
@pytest.mark.parametrize("estimator", [FiniteDifference(0.01, "forward"), FiniteDifference(), Implicit(), Reptile()])
def test_who_does_not_walk_back_keeps_no_path(estimator, options):
    def perceptron():
        return MLP([4, 60, 60, WAYS])

    parameters = sum(p.numel() for p in perceptron().parameters()) * 8
    few, many = (peak(estimator, steps, perceptron, (4,), proximal=1.0, **options) for steps in (3, 20))
    assert many - few <= parameters  # the losses of the 17 steps, and not their states


def test_link_chunk_bounds_a_round():
    everything, few = (peak(Binomial(2), 12, link_chunk=links) for links in (12, 2))
    assert few < 0.5 * everything


def test_task_chunk_bounds_what_runs_side_by_side():
    torch.manual_seed(0)
    tasks = make_tasks((1, 16, 16), tasks=8)
    peaks = []
    for chunk in (8, 2):
        learner = MetaLearner(make_conv().double(), F.cross_entropy, SGD(0.01), 3, Exact(), task_chunk=chunk)
        peaks.append(peak_bytes(lambda learner=learner: learner.meta_gradient(tasks), torch.device("cpu")))
    assert peaks[1] < 0.5 * peaks[0]
