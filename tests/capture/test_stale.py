"""After any change a captured meta-gradient equals the eager one at the new value; and what must not trace again."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import Counting, captured, make_tasks
from metagrad import SGD, Batch, Binomial, Exact, FirstOrder, Learned, MetaLearner, Task, tree
from metagrad.capture import Capture
from metagrad.inner.curvature import forward_over_reverse

TASKS, OTHERS = make_tasks((4,), tasks=1), make_tasks((4,), tasks=1, seed=7)
SHIFT = 0.5
BASE = torch.tensor(0.5, dtype=torch.float64)


class Model(nn.Module):
    """Reads a number, a buffer, a frozen parameter, its mode, an attribute of its class, and a global in a helper."""

    gain = 1.5

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.register_buffer("scale", torch.full((3,), 0.7))
        self.frozen = nn.Parameter(torch.full((5,), 0.9), requires_grad=False)
        self.temperature, self.options = 2.0, {"bias": [0.1, 0.2]}

    def forward(self, inputs):
        hidden = torch.tanh(self.body(inputs) * self.frozen) * (1.0 if self.training else 0.5)
        return self.head(self.shifted(hidden)) * self.scale / self.temperature * self.gain

    def shifted(self, hidden):
        return hidden + SHIFT + self.options["bias"][0]


def loss(predictions, targets):
    def moved(values):
        return values * (1 + SHIFT * torch.arange(3))

    return F.cross_entropy(moved(predictions) + BASE * predictions.square(), targets)


def other_loss(predictions, targets):
    return F.cross_entropy(3.0 * predictions, targets)


def weighted(weight):
    return lambda predictions, targets: F.cross_entropy(predictions * weight, targets)


def make(mode, **options):
    counting = Counting()
    arguments = {"loss": loss, "rule": SGD(0.3), "num_steps": 1, "estimator": FirstOrder()} | options
    learner = captured(mode, compiler=counting)(Model().double(), **arguments)
    return learner, counting


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


def eager(learner, tasks):
    now, learner.capture = learner.capture, Capture("off")
    result = learner.meta_gradient(tasks)
    learner.capture = now
    return result


def agrees(learner, tasks):
    actual, expected = learner.meta_gradient(tasks), eager(learner, tasks)
    within = 1e-10 if actual.loss.dtype == torch.float64 else 1e-5
    assert (flat(actual) - flat(expected)).norm() <= within * flat(expected).norm()
    torch.testing.assert_close(actual.loss, expected.loss, rtol=within, atol=0)
    return flat(expected)


@dataclass
class Change:
    """What happens between two meta-gradients; `same` where the value of the meta-gradient must not depend on it."""

    apply: Callable[..., Any]
    options: dict[str, Any]
    tasks: Task
    same: bool = False


def change(apply, tasks=TASKS, same=False, **options):
    return Change(apply, options, tasks, same)


def loop(**fields):
    return lambda learner, patch: setattr(learner, "loop", replace(learner.loop, **fields))


def learner_field(**fields):
    return lambda learner, patch: setattr(
        learner, "loop", replace(learner.loop, learner=replace(learner.loop.learner, **fields))
    )


def on_model(act):
    def apply(learner, patch):
        with torch.no_grad():
            act(learner.model)

    return apply


def replace_frozen(model):
    model.frozen = nn.Parameter(model.frozen * 3, requires_grad=False)


def replace_buffer(model):
    model.scale = model.scale * 3


def step(learner, patch):
    learner.backward(OTHERS)
    torch.optim.SGD(learner.parameters(), lr=1.0).step()


def to_float(learner, patch):
    learner.float()


def edit_keyword(learner, patch):
    learner.loop.learner.loss.keywords["label_smoothing"] = 0.4


def edit_cell(learner, patch):
    learner.loop.learner.loss.__closure__[0].cell_contents *= 5.0


def edit_weight(learner, patch):
    learner.loop.learner.loss.weight = torch.tensor([5.0, 1.0, 0.1], dtype=torch.float64)


def in_this_module(name, value):
    return lambda learner, patch: patch.setitem(loss.__globals__, name, value)


def hook(module, inputs, output):
    return 2 * output


def other_forward(self, inputs):
    return self.head(self.body(inputs))


class Scaled:
    """A loss that is an object, and its method."""

    def __init__(self):
        self.factor, self.options = 1.5, {"bias": 0.1}

    def __call__(self, predictions, targets):
        return F.cross_entropy(self.factor * predictions + self.options["bias"] * predictions.square(), targets)

    def method(self, predictions, targets):
        return self(predictions, targets)


def edit_object(learner, patch):
    made = getattr(learner.loop.learner.loss, "__self__", learner.loop.learner.loss)
    made.factor, made.options["bias"] = 3.0, 2.0


RATE = SimpleNamespace(now=0.3)
FLOATS = Task(*(Batch(b.inputs.float(), b.targets) for b in TASKS))

CHANGES = {
    "rule-lr": change(loop(rule=SGD(0.7))),
    "rule": change(loop(rule=SGD(0.3, 0.9)), num_steps=2),
    "rule-field": change(loop(rule=SGD(0.3, 0.9, nesterov=True)), rule=SGD(0.3, 0.9), num_steps=2),
    "num-steps": change(loop(num_steps=3)),
    "estimator": change(lambda learner, patch: setattr(learner, "estimator", Exact())),
    "estimator-field": change(
        lambda learner, patch: setattr(learner, "estimator", Binomial(1, center=0.4)),
        estimator=Binomial(1),
        num_steps=2,
    ),
    "shapes": change(lambda learner, patch: None, tasks=make_tasks((4,), tasks=2, support=5, query=4)),
    "dtype": change(to_float, tasks=FLOATS),
    "eval": change(on_model(lambda m: m.eval())),
    "part-eval": change(on_model(lambda m: m.body.eval()), same=True),
    "frozen-in-place": change(on_model(lambda m: m.frozen.mul_(3))),
    "frozen-data": change(on_model(lambda m: setattr(m.frozen, "data", m.frozen.data * 3))),
    "frozen-replaced": change(on_model(replace_frozen)),
    "buffer-in-place": change(on_model(lambda m: m.scale.mul_(3))),
    "buffer-replaced": change(on_model(replace_buffer)),
    "number": change(on_model(lambda m: setattr(m, "temperature", 3.0))),
    "number-in-containers": change(on_model(lambda m: m.options["bias"].__setitem__(0, 3.0))),
    "class-attribute": change(lambda learner, patch: patch.setattr(Model, "gain", 3.0)),
    "method-of-class": change(lambda learner, patch: patch.setattr(Model, "shifted", lambda self, hidden: 2 * hidden)),
    "forward-of-class": change(lambda learner, patch: patch.setattr(Model, "forward", other_forward)),
    "hook": change(on_model(lambda m: m.body.register_forward_hook(hook))),
    "loss": change(learner_field(loss=other_loss)),
    "loss-keyword": change(edit_keyword, loss=partial(F.cross_entropy, label_smoothing=0.1)),
    "loss-cell": change(edit_cell, loss=weighted(0.5)),
    "loss-module": change(edit_weight, loss=nn.CrossEntropyLoss(weight=torch.ones(3, dtype=torch.float64))),
    "loss-object": change(edit_object, loss=Scaled()),
    "loss-method": change(edit_object, loss=Scaled().method),
    "schedule": change(lambda learner, patch: patch.setattr(RATE, "now", 0.7), rule=SGD(lambda k: RATE.now)),
    "global-number": change(in_this_module("SHIFT", 3.0)),
    "global-tensor": change(in_this_module("BASE", torch.tensor(4.0, dtype=torch.float64))),
    "freeze": change(on_model(lambda m: m.body.requires_grad_(False))),
    "thaw": change(on_model(lambda m: m.frozen.requires_grad_(True))),
    "optimizer-step": change(step),
    "part-and-rates": change(step, adapts="head", rule=SGD(lr=Learned(0.3, "tensor"))),
    "part-proximal": change(step, adapts="head", proximal=0.5),
    "part-body-replaced": change(on_model(lambda m: setattr(m, "body", nn.Linear(4, 5).double())), adapts="head"),
    "curvature": change(loop(curvature=forward_over_reverse), same=True, estimator=Exact()),
}


# The same survey serves both modes: the fast tests take one change of each kind, of "whole" what only it depends on.
FAST = {
    "whole": {"rule-lr", "num-steps", "estimator", "schedule"},
    "pieces": {
        "shapes",
        "frozen-replaced",
        "buffer-in-place",
        "number",
        "loss",
        "loss-object",
        "loss-method",
        "global-tensor",
        "thaw",
    },
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(name, mode, marks=[] if name in FAST[mode] else pytest.mark.slow)
        for name in CHANGES
        for mode in ("whole", "pieces")
    ],
)
def test_never_stale(name, mode, monkeypatch):
    case = CHANGES[name]
    learner, _ = make(mode, **copy.deepcopy(case.options))
    before = agrees(learner, TASKS)
    case.apply(learner, monkeypatch)
    after = agrees(learner, case.tasks)
    moved = (before.shape, before.dtype) != (after.shape, after.dtype) or (before - after).norm() > 1e-3 * before.norm()
    assert moved != case.same, "the case must change the meta-gradient, or it tests nothing"
    agrees(learner, case.tasks)
    assert learner.capture.mode == mode


@pytest.mark.parametrize("mode", ["whole", "pieces"])
def test_going_back_replays_the_first_graphs(mode):
    learner, counting = make(mode)
    agrees(learner, TASKS)
    first = len(counting.graphs)
    learner.model.temperature = 3.0
    agrees(learner, TASKS)
    second = len(counting.graphs)
    assert second > first
    learner.model.temperature = 2.0
    agrees(learner, TASKS)
    assert len(counting.graphs) == second


@pytest.mark.parametrize("mode", ["whole", "pieces"])
def test_values_do_not_trace_again(mode):
    learner, counting = make(mode, adapts="head", rule=SGD(lr=Learned(0.3, "element")))
    learner.meta_gradient(TASKS)
    traced = len(counting.graphs)
    assert traced
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.1)
    for seed in range(3):
        learner.backward(make_tasks((4,), tasks=1, seed=seed))
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            learner.model.scale.add_(0.1)
            learner.model.frozen.add_(0.1)
        replace_buffer(learner.model)
        agrees(learner, OTHERS)
    assert len(counting.graphs) == traced


def test_pieces_do_not_trace_again_for_more_steps_or_another_rule():
    learner, counting = make("pieces", estimator=Exact(), task_chunk=1, link_chunk=1)
    learner.meta_gradient(TASKS)
    traced = len(counting.graphs)
    assert traced == 3
    learner.loop = replace(learner.loop, num_steps=4, rule=SGD(0.1, 0.5))
    learner.estimator = Binomial(4)
    agrees(learner, TASKS)
    assert len(counting.graphs) == traced


@pytest.mark.parametrize("mode", [pytest.param("whole", marks=pytest.mark.slow), "pieces"])
@pytest.mark.parametrize(
    "options", [{"adapts": "head"}, {"proximal": 0.8}, {"adapts": "head", "proximal": 0.8}], ids=str
)
def test_two_inputs_that_were_one_tensor_when_traced_are_told_apart(mode, options):
    """At the first inner step the adapted parameters are the meta-parameters; at the later ones, which replay, not."""
    learner, counting = make(mode, num_steps=3, estimator=Exact(), task_chunk=1, link_chunk=1, **options)
    agrees(learner, TASKS)
    assert len(counting.graphs) == (1 if mode == "whole" else 3)


@pytest.mark.slow
def test_a_context_that_holds_for_one_call_is_not_kept():
    learner = MetaLearner(Model(), loss_in_float, SGD(0.3), 2, Exact())
    learner.capture = Capture("whole", compiler=Counting())
    with torch.autocast("cpu", torch.bfloat16):
        low = agrees(learner, FLOATS)
    assert not torch.equal(low, agrees(learner, FLOATS))


def loss_in_float(predictions, targets):
    return F.cross_entropy(predictions.float(), targets)


def test_a_loss_may_read_parameters_itself():
    model = Model().double()

    def penalised(predictions, targets):
        return F.cross_entropy(predictions, targets) * (1 + model.head.weight.square().sum().detach())

    learner = captured("whole")(model, penalised, SGD(0.3), 2, Exact())
    before = agrees(learner, TASKS)
    with torch.no_grad():
        model.head.weight.mul_(2)
    assert not torch.equal(before, agrees(learner, TASKS))
