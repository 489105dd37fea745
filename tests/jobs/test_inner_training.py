"""Inner loops as people train: PINNs, Adam, decay, clipping, fresh minibatches: jobs 12 to 15, against autograd."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jobs.by_hand import by_hand, check, one_warning
from metagrad import SGD, Adam, AdamW, Binomial, Clipped, Exact, Logarithmic, MetaLearner, Objective, Steps, Task
from rules.by_hand import adam, adamw, clipped, sgd


def net(*sizes, activation=nn.Tanh):
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1]).double()


def residual(model, batch):
    """Of u'' = f on the inner points, and of u = 0 at the boundary."""
    x = batch["x"].detach().requires_grad_()
    with torch.enable_grad():
        u = model(x)
        slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        curved = torch.autograd.grad(slope.sum(), x, create_graph=True)[0]
    return (curved - batch["f"]).square().mean() + model(batch["edge"]).square().mean()


def with_torch_func(model, batch):
    """The same, differentiated by `torch.func`."""
    u = lambda x: model(x[None]).squeeze()  # noqa: E731
    curved = torch.func.vmap(torch.func.hessian(u))(batch["x"]).flatten(1)
    return (curved - batch["f"]).square().mean() + model(batch["edge"]).square().mean()


def poisson(amplitude):
    x = torch.rand(6, 1).double()
    return {"x": x, "f": amplitude * torch.sin(3 * x), "edge": torch.tensor([[0.0], [1.0]]).double()}


@pytest.mark.parametrize("estimator", [Exact(), Binomial(3)], ids=repr)
def test_pinn(estimator):
    model, tasks = net(1, 6, 1), [Task(poisson(a), poisson(a)) for a in (1.0, 2.0)]
    expected = [by_hand(model, residual, residual, t.support, t.query, 3, sgd(0.01)) for t in tasks]
    check(MetaLearner(model, Objective(with_torch_func), SGD(0.01), 3, estimator).meta_gradient(tasks), expected)
    with one_warning("derivatives='autograd' silences this"):
        check(MetaLearner(model, Objective(residual), SGD(0.01), 3, estimator).meta_gradient(tasks), expected)
    quiet = MetaLearner(model, Objective(residual), SGD(0.01), 3, estimator, derivatives="autograd")
    check(quiet.meta_gradient(tasks), expected)


def error(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"])


def points(*lead, examples=5):
    return {"x": torch.randn(*lead, examples, 2).double(), "y": torch.randn(*lead, examples, 1).double()}


OPTIMIZERS = {
    "adam": (Adam(0.05), adam(0.05)),
    "adamw": (AdamW(0.05, weight_decay=0.2), adamw(0.05, decay=0.2)),
    "decay": (SGD(0.1, weight_decay=0.3), sgd(0.1, decay=0.3)),
    "clipped": (Clipped(SGD(0.3), 0.2), clipped(0.2, sgd(0.3))),
    "clipped-adamw": (Clipped(AdamW(0.05), 0.2), clipped(0.2, adamw(0.05, decay=0.01))),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU], ids=["smooth", "relu"])
def test_inner_optimizers(name, activation):
    rule, step = OPTIMIZERS[name]
    model, tasks = net(2, 8, 1, activation=activation), [Task(points(), points()) for _ in range(2)]
    result = MetaLearner(model, Objective(error), rule, 5, Exact()).meta_gradient(tasks)
    check(result, [by_hand(model, error, error, t.support, t.query, 5, step) for t in tasks])


@pytest.mark.parametrize("options", [{}, {"trajectory": Logarithmic()}, {"link_chunk": 7}, {"task_chunk": 1}], ids=str)
def test_another_minibatch_at_each_of_100_steps(options):
    model, tasks = net(2, 4, 1), [Task(Steps(points(100)), points()) for _ in range(2)]
    result = MetaLearner(model, Objective(error), SGD(0.02), 100, Exact(), **options).meta_gradient(tasks)
    check(result, [by_hand(model, error, error, t.support.at, t.query, 100, sgd(0.02)) for t in tasks])
