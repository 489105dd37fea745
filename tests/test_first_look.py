"""Paths that no gradient takes, and tensors of the user's that are written on, are refused by name."""

import random

import numpy
import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from cases import LOSS, WAYS, make_mlp, make_tasks
from metagrad import SGD, Exact, MetaLearner, Objective, tree

TASKS = make_tasks((4,))


def make(model=None, loss=LOSS, **options):
    return MetaLearner(make_mlp().double() if model is None else model.double(), loss, SGD(0.1), 2, Exact(), **options)


MODEL = make_mlp().double()
FREE = torch.ones(3, dtype=torch.float64, requires_grad=True)


def of_a_global(predictions, targets):
    return LOSS(predictions, targets) + 0.3 * sum(w.square().sum() for w in MODEL.parameters())


def of_a_closure(model):
    return lambda p, t: LOSS(p, t) + 0.3 * model.layers[0].weight.square().sum()


def of_what_was_kept(model):
    """An auxiliary loss that a forward pass of the user's own has left behind."""
    kept = model.layers[0](TASKS.query.inputs[0]).square().mean()
    return lambda p, t: LOSS(p, t) + kept


class Tempered(nn.Module):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, predictions, targets):
        return F.cross_entropy(predictions / self.temperature, targets)


class Elsewhere(nn.Module):
    """Has layers in a list, where nobody finds their parameters."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, WAYS)
        self.unregistered = [nn.Linear(4, 4).double()]

    def forward(self, inputs):
        return self.head(self.unregistered[0](inputs))


@pytest.mark.parametrize("capture", ["off", "whole"])
@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (MODEL, of_a_global, r"the loss reads parameter 'layers\.\d\.\w+' of the model .*Objective\(inner\)"),
        (MODEL, of_a_closure(MODEL), r"the loss reads parameter 'layers\.0\.weight' of the model .*\.detach\(\)"),
        (MODEL, of_what_was_kept(MODEL), r"the loss reads parameter 'layers\.0\.\w+' of the model"),
        (MODEL, Tempered(), r"the loss has a parameter of its own, 'temperature'.*hyper=.*requires_grad_\(False\)"),
        (MODEL, lambda p, t: LOSS(p * FREE, t), r"a tensor of shape \[3\] that requires a gradient .*register it"),
        (Elsewhere(), LOSS, r"a tensor of shape \[4(, 4)?\] that requires a gradient"),
    ],
)
def test_paths_without_a_gradient_are_refused(model, loss, message, capture):
    learner = make(model, loss, capture=capture)
    for act in (learner.backward, learner.evaluate):
        with pytest.raises(ValueError, match=message):
            act(TASKS)
    assert all(p.grad is None for p in model.parameters())


def test_ways_out_work():
    constant = lambda p, t: LOSS(p, t) + 0.3 * MODEL.layers[0].weight.detach().square().sum()  # noqa: E731
    make(MODEL, constant).meta_gradient(TASKS)
    make(MODEL, Tempered().requires_grad_(False)).meta_gradient(TASKS)
    make(MODEL, lambda p, t: LOSS(p * FREE.detach(), t)).meta_gradient(TASKS)


def test_an_objective_reads_the_adapted_parameters():
    """The way out for a penalty, and for a loss with parameters."""

    def penalised(model, batch):
        size = sum(w.square().sum() for w in model.parameters())
        return LOSS(model(batch.inputs), batch.targets) + 0.3 * size

    task, rate = TASKS.take(0), 0.1
    result = MetaLearner(MODEL, Objective(penalised), SGD(rate), 1, Exact()).meta_gradient([task])
    start = {name: p.detach().clone().requires_grad_() for name, p in MODEL.named_parameters()}

    def loss(at, batch):
        size = sum(w.square().sum() for w in at.values())
        return LOSS(functional_call(MODEL, at, (batch.inputs,)), batch.targets) + 0.3 * size

    slopes = torch.autograd.grad(loss(start, task.support), list(start.values()), create_graph=True)
    adapted = {name: value - rate * slope for (name, value), slope in zip(start.items(), slopes, strict=True)}
    expected = torch.autograd.grad(loss(adapted, task.query), list(start.values()))
    for name, leaf in zip(start, expected, strict=True):
        torch.testing.assert_close(result.gradient["model"][name], leaf, rtol=1e-10, atol=1e-14)

    tempered = Objective(lambda model, batch, hyper: hyper(model(batch.inputs), batch.targets))
    learner = MetaLearner(MODEL, tempered, SGD(rate), 1, Exact(), hyper=Tempered())
    assert learner.meta_gradient(TASKS).gradient["hyper"]["temperature"].abs() > 1e-6


class OwnGradient(nn.Module):
    """Follows the gradient of its own output by its input."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, WAYS)

    def forward(self, inputs):
        inputs = inputs.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.layer(inputs).square().sum(), inputs, create_graph=True)
        return self.layer(inputs.detach() + 0.1 * slope)


def test_what_a_model_differentiates_by_itself_is_its_own_affair():
    with pytest.warns(RuntimeWarning, match="run one at a time|torch.autograd"):
        make(OwnGradient()).meta_gradient(TASKS)


class Writes(nn.Module):
    """Writes on something of its own in `forward`."""

    def __init__(self, write):
        super().__init__()
        self.layer, self.write = nn.Linear(4, WAYS), write
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.plain = torch.ones(4, dtype=torch.float64)

    def forward(self, inputs):
        with torch.no_grad():
            self.write(self)
        return self.layer(inputs * self.frozen * self.plain)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda m: m.layer.weight.clamp_(-1, 1), r"writes on model\.layer\.weight in place"),
        (lambda m: F.normalize(m.layer.weight, out=m.layer.weight), r"writes on model\.layer\.weight in place"),
        (lambda m: m.frozen.mul_(0.99), "writes on frozen in place .* buffer"),
        (lambda m: m.plain.mul_(0.99), "writes on plain in place .* buffer"),
    ],
)
def test_writing_on_parameters_and_tensors_is_refused(write, message):
    model = Writes(write)
    model.double()
    before = model.layer.weight.detach().clone()
    with pytest.raises(ValueError, match=message):
        make(model).backward(TASKS)
    assert torch.equal(model.layer.weight, before)


def test_a_look_changes_nothing():
    learner, other = make(MODEL), make(MODEL)
    state, mode = torch.random.get_rng_state(), MODEL.training
    first = learner.meta_gradient(TASKS)
    assert torch.equal(state, torch.random.get_rng_state())
    assert MODEL.training == mode
    learner.meta_gradient(TASKS)
    second = other.meta_gradient(TASKS)
    for a, b in zip(tree.leaves(first.gradient), tree.leaves(second.gradient), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_distributed_data_parallel_around_the_learner_is_refused(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match=r"average \.grad across processes after learner\.backward"):
            nn.parallel.DistributedDataParallel(make())
        wrapped = nn.parallel.DistributedDataParallel(make_mlp().double())
        with pytest.raises(ValueError, match=r"DistributedDataParallel exchanges .*model\.module"):
            make(wrapped)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("draw", [random.random, lambda: float(numpy.random.rand())], ids=["python", "numpy"])
def test_other_random_numbers_are_refused(draw):
    with pytest.raises(ValueError, match="draws from Python's or NumPy's random numbers"):
        make(loss=lambda p, t: LOSS(p, t) * draw()).meta_gradient(TASKS)

    def discarding(predictions, targets):
        draw()
        return LOSS(predictions, targets)

    make(loss=discarding).meta_gradient(TASKS)


def test_data_of_a_parameter_is_refused():
    def loss(model, batch):
        return LOSS(model(batch.inputs), batch.targets) * model.layers[0].weight.data.square().sum()

    with pytest.raises(ValueError, match=r"reads \.data of a tensor that requires a gradient"):
        make(loss=Objective(loss)).meta_gradient(TASKS)
