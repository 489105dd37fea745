"""An error of torch inside a model or loss gets the remedy for that error, and none where none is known."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import LOSS, WAYS, make_batch_norm, make_tasks, one
from metagrad import SGD, Binomial, Exact, Grouped, Hybrid, MetaLearner, Parallel, Truncated

TASKS = make_tasks((4,))


class Does(nn.Module):
    """Something with a linear layer."""

    def __init__(self, what):
        super().__init__()
        self.layer, self.what = nn.Linear(4, WAYS), what

    def forward(self, inputs):
        return self.what(self.layer, inputs)


def differentiate(layer, inputs):
    (slope,) = torch.autograd.grad(layer(inputs).sum(), inputs)
    return layer(slope)


def write(layer, inputs):
    layer.weight.mul_(0.9)
    return layer(inputs)


ROWS = {
    "second-derivative": (lambda layer, x: F.hardsigmoid(layer(x)), LOSS, "hardsigmoid: take curvature=.*FirstOrder"),
    "own-gradient": (differentiate, LOSS, r"requires no gradient: call requires_grad_\(\) on a copy first"),
    "in-place": (write, LOSS, "writes on a tensor that is not its own: write on a copy"),
    "shapes": (lambda layer, x: layer(x[:, :3]), LOSS, None),
    "dtypes": (lambda layer, x: layer(x.float()), LOSS, None),
    "range": (lambda layer, x: layer(x), lambda p, t: p.gather(1, t[:, None] + 9).sum(), None),
    "targets": (lambda layer, x: layer(x), lambda p, t: F.cross_entropy(p, t + 9), None),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_cause_has_its_own_cure(name):
    what, loss, cure = ROWS[name]
    with pytest.raises((RuntimeError, IndexError)) as caught:
        MetaLearner(Does(what).double(), loss, SGD(0.1), 2, Exact(), task_chunk=1, link_chunk=1).backward(TASKS)
    notes = getattr(caught.value, "__notes__", [])
    assert len(notes) == (0 if cure is None else 1)
    assert cure is None or re.search(cure, notes[0])


def test_batch_norm_on_one_example():
    learner = MetaLearner(make_batch_norm().double(), LOSS, SGD(0.1), 2, Exact())
    with pytest.raises(ValueError, match="Expected more than 1 value per channel") as caught:
        learner.backward(make_tasks((4,), support=1))
    assert caught.value.__notes__ == [
        "batch norm takes the statistics of each batch, and one example has none: give two or more, or take GroupNorm"
    ]
    adapted = learner.adapt(one(TASKS, 0).support)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel") as caught:
        adapted(TASKS.query.inputs[0][:1])
    assert caught.value.__notes__


class Mixed(nn.Module):
    """Parameters of two dtypes."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5).double(), nn.Linear(5, WAYS)

    def forward(self, inputs):
        return self.second(self.first(inputs).tanh().float()).double()


@pytest.mark.parametrize(
    "estimator",
    [Binomial(2), Binomial(2, center="auto"), Parallel(2), Grouped(2), Truncated(2), Hybrid(2, 2)],
    ids=repr,
)
def test_parameters_of_two_dtypes_give_the_exact_meta_gradient(estimator):
    model = Mixed()
    exact, other = (
        MetaLearner(model, LOSS, SGD(0.1), 2, each).meta_gradient(TASKS).gradient for each in (Exact(), estimator)
    )
    for name, leaf in exact["model"].items():
        assert other["model"][name].dtype == leaf.dtype
        assert (other["model"][name] - leaf).norm() <= 1e-5 * leaf.norm(), name
