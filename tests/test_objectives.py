# ruff: noqa: E501 -- a table of one-line calls
"""Objectives, hyper modules, given starts and learners of one's own, against plain autograd through the loop."""

import copy
import math
from collections import UserDict
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from cases import LOSS, WAYS, captured, make_mlp, make_tasks, one
from metagrad import (
    SGD,
    Auto,
    Batch,
    Binomial,
    Exact,
    FiniteDifference,
    FirstOrder,
    Learned,
    MetaLearner,
    Objective,
    Reptile,
    Steps,
    Task,
    Truncated,
    WholeModel,
)

K, N = 3, 5


def tensor(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Weights(nn.Module):
    """Log weights of examples."""

    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(0.1 * tensor(N, seed=9))


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def weighted(model, batch, hyper):
    return (hyper.log.exp() * (model(batch["x"]) - batch["y"]).square().flatten()).mean()


def measured(model, batch, hyper):
    gap = model(batch["x"]) - batch["y"]
    return gap.square().mean(), {"gap": gap.abs().mean()}


def data(seed, *lead):
    return {"x": tensor(*lead, N, 2, seed=seed), "y": tensor(*lead, N, 1, seed=seed + 1), "kind": "regression"}


def oracle(net, hyper, support, query, inner, outer, lr=0.1, steps=K):
    """Gradients of the query loss on (parameters, hyper parameters) by plain autograd; support is a list by step."""
    theta = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    own = {name: p.detach().clone().requires_grad_() for name, p in hyper.named_parameters()} if hyper else {}

    def evaluate(function, phi, batch):
        class Both(nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.hyper = copy.deepcopy(net), copy.deepcopy(hyper)

            def forward(self):
                return function(self.net, batch, *([self.hyper] if hyper else []))

        named = {f"net.{n}": p for n, p in phi.items()} | {f"hyper.{n}": p for n, p in own.items()}
        result = functional_call(Both(), named, ())
        return result[0] if isinstance(result, tuple) else result

    phi = theta
    for k in range(steps):
        slopes = torch.autograd.grad(evaluate(inner, phi, support[k]), list(phi.values()), create_graph=True)
        phi = {name: p - lr * slope for (name, p), slope in zip(phi.items(), slopes, strict=True)}
    loss = evaluate(outer, phi, query)
    wanted = [*theta.values(), *own.values()]
    slopes = torch.autograd.grad(loss, wanted, allow_unused=True)
    slopes = [torch.zeros_like(w) if s is None else s for w, s in zip(wanted, slopes, strict=True)]
    return loss.detach(), slopes[: len(theta)], slopes[len(theta) :]


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "make", [MetaLearner, captured("whole"), captured("pieces")], ids=["as-written", "whole", "pieces"]
)
@pytest.mark.parametrize("learn_start", [True, False])
def test_data_weights_of_a_dict_batch(make, learn_start):
    net, hyper = make_net(), Weights()
    learner = make(net, Objective(weighted, measured), SGD(0.1), K, Exact(), hyper=hyper, learn_start=learn_start)
    support, query = data(1, 2), data(5, 2)
    result = learner.backward(Task(support, query))
    each = [
        oracle(
            net,
            hyper,
            [one(Task(support, query), t).support] * K,
            one(Task(support, query), t).query,
            weighted,
            measured,
        )
        for t in range(2)
    ]
    close(result.loss, torch.stack([loss for loss, _, _ in each]))
    assert result.metrics["gap"].shape == (2,)
    close(hyper.log.grad, sum(own[0] for _, _, own in each) / 2)
    if learn_start:
        for index, parameter in enumerate(net.parameters()):
            close(parameter.grad, sum(start[index] for _, start, _ in each) / 2)
    else:
        assert all(p.grad is None for p in net.parameters())
    listed = {name for name, _ in learner.named_parameters()}
    assert ("model.0.weight" in listed) is learn_start
    assert "hyper.log" in listed


class Named(NamedTuple):
    x: Tensor
    y: Tensor
    kind: str


@dataclass
class Record:
    x: Tensor
    y: Tensor
    kind: str = "regression"


class Wrapped(MutableMapping):
    """A mapping around a dict that a shallow copy would share."""

    def __init__(self, items):
        self.items_of_ones_own = items

    def __getitem__(self, key):
        return self.items_of_ones_own[key]

    def __setitem__(self, key, value):
        self.items_of_ones_own[key] = value

    def __delitem__(self, key):
        del self.items_of_ones_own[key]

    def __iter__(self):
        return iter(self.items_of_ones_own)

    def __len__(self):
        return len(self.items_of_ones_own)


@dataclass
class Derived:
    """A record with a tensor made from its fields, another computed when first read, and a field of no argument."""

    x: Tensor
    y: Tensor
    kind: str
    label: str = field(init=False, default="none")

    def __post_init__(self):
        self.double = 2 * self.y
        assert self.mean.ndim == 0

    @cached_property
    def mean(self):
        return self.x.mean()


class Centred(Batch):
    """A batch with something of its own."""

    @property
    def shifted(self):
        return self.targets - 1


CONTAINERS = {
    "dict": (lambda b: b, lambda b: (b["x"], b["y"])),
    "mapping": (lambda b: UserDict(b), lambda b: (b["x"], b["y"])),
    "list": (lambda b: [b["x"], [b["y"]], b["kind"]], lambda b: (b[0], b[1][0])),
    "tuple": (lambda b: (b["x"], b["y"]), lambda b: b),
    "named-tuple": (lambda b: Named(**b), lambda b: (b.x, b.y)),
    "dataclass": (lambda b: Record(**b), lambda b: (b.x, b.y)),
    "own-mapping": (lambda b: Wrapped(dict(b)), lambda b: (b["x"], b["y"])),
    "derived": (lambda b: Derived(**b), lambda b: (b.x + b.mean - b.x.mean(), b.double - b.y)),
    "batch-subclass": (lambda b: Centred(b["x"], b["y"]), lambda b: (b.inputs, b.shifted + 1)),
    "nested": (lambda b: {"in": {"x": b["x"]}, "out": (b["y"], None)}, lambda b: (b["in"]["x"], b["out"][0])),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("listed", [False, True], ids=["batch", "list"])
def test_any_tree_of_tensors(container, listed):
    pack, unpack = CONTAINERS[container]

    def objective(model, batch):
        x, y = unpack(batch)
        return F.mse_loss(model(x), y)

    net, (support, query) = make_net(), (data(1, 2), data(5, 2))
    tasks = Task(pack(support), pack(query))
    wanted = MetaLearner(net, F.mse_loss, SGD(0.1), K, Exact()).meta_gradient(
        Task(Batch(support["x"], support["y"]), Batch(query["x"], query["y"]))
    )
    given = [tasks.take(t) for t in range(2)] if listed else tasks
    result = MetaLearner(net, Objective(objective), SGD(0.1), K, Exact()).meta_gradient(given)
    close(result.loss, wanted.loss)
    close(result.gradient["model"], wanted.gradient["model"])
    assert type(tasks.take(0).support) is type(pack(support))
    assert unpack(tasks.support)[0].data_ptr() == support["x"].data_ptr() or container == "derived"


def test_an_objective_may_write_on_its_batch():
    def doubling(model, batch):
        batch.targets.mul_(2)
        return F.mse_loss(model(batch.inputs), batch.targets)

    net, support, query = make_net(), data(1, 2), data(5, 2)
    kept = support["y"].clone()
    tasks = Task(Batch(support["x"], support["y"]), Batch(query["x"], query["y"]))
    twice = Task(Batch(support["x"], 2 * support["y"]), Batch(query["x"], 2 * query["y"]))
    result = MetaLearner(net, Objective(doubling), SGD(0.1), K, Exact()).meta_gradient(tasks)
    wanted = MetaLearner(net, F.mse_loss, SGD(0.1), K, Exact()).meta_gradient(twice)
    close(result.gradient["model"], wanted.gradient["model"])
    assert torch.equal(support["y"], kept)


@pytest.mark.parametrize("estimator", [Exact(), Binomial(K), Truncated(K)], ids=repr)
@pytest.mark.parametrize("link_chunk", [None, 1])
def test_another_minibatch_at_each_step(estimator, link_chunk):
    net = make_net()
    support, query = data(1, 2, K), data(5, 2)
    learner = MetaLearner(
        net, Objective(lambda m, b: F.mse_loss(m(b["x"]), b["y"])), SGD(0.1), K, estimator, link_chunk=link_chunk
    )
    result = learner.meta_gradient(Task(Steps(support), query))

    def plain(model, batch):
        return F.mse_loss(model(batch["x"]), batch["y"])

    each = []
    for t in range(2):
        by_step = [{"x": support["x"][t, k], "y": support["y"][t, k]} for k in range(K)]
        each.append(oracle(net, None, by_step, {"x": query["x"][t], "y": query["y"][t]}, plain, plain))
    for index, name in enumerate(dict(net.named_parameters())):
        close(result.gradient["model"][name], sum(start[index] for _, start, _ in each) / 2)


def focal(predictions, targets):
    """A loss that is not the one that is adapted on."""
    return ((1 - predictions.softmax(-1).gather(1, targets[:, None])) ** 2).mean()


def test_another_query_loss():
    net, tasks = make_mlp().double(), make_tasks((4,))
    learner = MetaLearner(net, LOSS, SGD(0.1), K, Exact(), query_loss=focal)
    result = learner.meta_gradient(tasks)
    for t in range(2):
        task = one(tasks, t)
        loss, _, _ = oracle(
            net, None, [task.support] * K, task.query,
            lambda m, b: LOSS(m(b.inputs), b.targets), lambda m, b: focal(m(b.inputs), b.targets),
        )  # fmt: skip
        close(result.loss[t], loss)


def test_inputs_as_keywords_and_arguments():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, WAYS)

        def forward(self, first, second):
            return self.layer(first * second)

    tasks = make_tasks((4,))
    net = Two().double()
    results = [
        MetaLearner(net, LOSS, SGD(0.1), K, Exact()).meta_gradient(
            Task(*(Batch(pack(b.inputs), b.targets) for b in tasks))
        )
        for pack in (lambda x: {"first": x, "second": x}, lambda x: (x, x), lambda x: [x, x])
    ]
    for result in results[1:]:
        close(result.gradient, results[0].gradient)


def test_targets_may_be_left_out_and_be_fewer_than_inputs():
    net = make_net()
    reconstruct = Objective(lambda m, b: (m(b.inputs) - b.inputs.sum(-1, keepdim=True)).square().mean())
    MetaLearner(net, reconstruct, SGD(0.1), K, Exact()).backward(Task(Batch(tensor(2, N, 2)), Batch(tensor(2, N, 2))))
    labelled = Objective(lambda m, b: F.mse_loss(m(b.inputs)[:3], b.targets))
    batch = Batch(tensor(2, N, 2), tensor(2, 3, 1))
    MetaLearner(net, labelled, SGD(0.1), K, Exact()).backward(Task(batch, batch))


class OwnLearner:
    """A learner written by hand: the loss is a weighted error, weights are meta-learned too."""

    def __init__(self, model):
        self.model = model

    def initial(self, meta):
        return {"model": meta["model"]}

    def context(self, meta):
        return {"hyper": meta["hyper"]}

    def start(self, meta):
        return dict(meta["model"])

    def support_loss(self, adapted, meta, batch):
        gap = functional_call(self.model, adapted, (batch["x"],)) - batch["y"]
        return (meta["hyper"]["log"].exp() * gap.square().flatten()).mean()

    def query_loss(self, adapted, meta, batch):
        return (functional_call(self.model, adapted, (batch["x"],)) - batch["y"]).square().mean(), {}


@pytest.mark.parametrize(
    "make", [MetaLearner, captured("whole"), captured("pieces")], ids=["as-written", "whole", "pieces"]
)
def test_a_learner_of_ones_own(make):
    net, hyper, tasks = make_net(), Weights(), Task(data(1, 2), data(5, 2))
    wanted = MetaLearner(net, Objective(weighted, measured), SGD(0.1), K, Exact(), hyper=hyper).meta_gradient(tasks)
    learner = make(learner=OwnLearner(net), rule=SGD(0.1), num_steps=K, estimator=Exact(), hyper=hyper)
    close(learner.meta_gradient(tasks).gradient, wanted.gradient)
    learner.backward(tasks)
    adapted = learner.adapt(tasks.take(0).support)
    unrolled = learner.unroll(tasks.take(0).support)
    close(adapted.model[0].weight, unrolled.model[0].weight.detach())
    assert learner.evaluate(tasks).loss.shape == (2, K + 1)
    automatic = MetaLearner(
        learner=OwnLearner(net), rule=SGD(0.1), num_steps=K, estimator=Auto(tolerance=0.1), hyper=hyper
    )
    automatic.backward(tasks)
    assert automatic.in_use is not None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda net: MetaLearner(net, Objective(weighted), SGD(0.1), K, Exact(), hyper=nn.ReLU()), ValueError, "hyper ReLU has no"),
        (lambda net: MetaLearner(net, F.mse_loss, SGD(0.1), K, Exact(), hyper=Weights()), TypeError, "hyper needs an Objective"),
        (lambda net: MetaLearner(net, Objective(weighted), SGD(0.1), K, Exact(), hyper=3), TypeError, "hyper must be a torch.nn.Module"),
        (lambda net: MetaLearner(net, Objective(weighted), SGD(0.1), K, Exact(), metrics={"a": F.mse_loss}), TypeError, "metrics and query_loss go with"),
        (lambda net: MetaLearner(net, rule=SGD(0.1), num_steps=K, estimator=Exact()), TypeError, "a model and a loss, or a learner"),
        (lambda net: MetaLearner(net, F.mse_loss), TypeError, "MetaLearner needs rule and num_steps and estimator"),
        (lambda net: MetaLearner(loss=F.mse_loss, learner=WholeModel(net, F.mse_loss), rule=SGD(0.1), num_steps=K, estimator=Exact()), TypeError, "leave out loss"),
        (lambda net: Objective(nn.MSELoss), TypeError, "inner of Objective must be a function"),
        (lambda net: Objective(weighted, 3), TypeError, "outer of Objective must be a function"),
        (lambda net: run(net, Objective(lambda m, b: m(b["x"]))), ValueError, r"inner must return a 0-d tensor, got shape \[5, 1\]"),
        (lambda net: run(net, Objective(lambda m, b: 1.0)), TypeError, "inner must return a 0-d tensor, got float"),
        (lambda net: run(net, Objective(plain, lambda m, b: (plain(m, b), {"a": 1.0}))), TypeError, "metric 'a' of outer must return"),
        (lambda net: run(net, Objective(plain, lambda m, b: (plain(m, b), plain(m, b)))), TypeError, "got a tuple of 2"),
        (lambda net: run(net, F.mse_loss), TypeError, r"needs a Batch\(inputs, targets\), got dict"),
        (lambda net: learner(net).backward([Task(data(1), data(2)), Task({"x": data(1)["x"]}, data(2))]), ValueError, "task 1 in the list holds other data than task 0: support.y"),
        (lambda net: learner(net).backward(Task(Steps(data(1, 2, K + 1)), data(2, 2))), ValueError, "Steps of length 4, and the inner loop takes 3"),
        (lambda net: learner(net).backward(Task(data(1, 2), Steps(data(2, 2, K)))), TypeError, r"query is Steps"),
        (lambda net: learner(net).backward(Task(data(1, 2), data(2, 3))), ValueError, "support x have 2 tasks and query x 3"),
        (lambda net: learner(net).backward(Task({"a": "text"}, data(2, 2))), TypeError, "support must hold at least one torch.Tensor, got dict"),
        (lambda net: learner(net, FiniteDifference(), proximal=1.0).unroll(data(1)), ValueError, "FiniteDifference.* needs the query loss itself"),
        (lambda net: learner(net, Reptile()).unroll(data(1)), ValueError, "needs the query loss itself"),
        (lambda net: learner(net, Auto(tolerance=0.1)).unroll(data(1)), ValueError, "has not chosen an estimator yet"),
        (lambda net: learner(net).unroll(data(1), stops=[4]), ValueError, "each of stops must be at most 3"),
        (lambda net: learner(net).unroll(data(1)).at(2), ValueError, "no stop at step 2, there are 3"),
        (lambda net: learner(net).unroll(data(1), state=learner(net, rule=SGD(0.1, 0.9)).unroll(data(1)).state), ValueError, "no branch 'velocity'|is that of SGD"),
        (lambda net: learner(net).unroll(data(1), state=learner(net, adapts="0").unroll(data(1)).state), ValueError, "another learner: only one of the two adapts 2.bias, 2.weight"),
        (lambda net: learner(net).unroll(Steps(data(1, 2)), K), ValueError, "Steps of length 2, and 3 steps are taken"),
        (lambda net: learner(net).unroll(Steps({"x": tensor(3, N, 2), "y": tensor(2, N, 1)})), ValueError, "Steps of length 2, 3"),
        (lambda net: learner(net).unroll(data(1), state=learner(wider()).unroll(data(1)).state), ValueError, r"0.weight is \[5, 2\] in it and \[4, 2\] here"),
        (lambda net: MetaLearner(net, Objective(weighted), SGD(0.1), K, Exact(), hyper=net, learn_start=False), ValueError, "hyper shares its parameter '0.weight' with the model"),
        (lambda net: MetaLearner(learner=WholeModel(net, Objective(plain)), rule=SGD(0.1), num_steps=K, estimator=Exact(), hyper=Weights()), ValueError, "does not read hyper's parameter 'log'"),
        (lambda net: MetaLearner(learner=WholeModel(net, Objective(plain)), rule=SGD(0.1), num_steps=K, estimator=Exact(), learn_start=False), TypeError, "give learn_start=False to it"),
        (lambda net: MetaLearner(learner=WholeModel(net, Objective(plain)), rule=SGD(0.1), num_steps=K, estimator=Exact(), precision="bf16"), TypeError, "give precision='bf16' to it"),
        (lambda net: learner(net).unroll(lambda k: None), TypeError, "step 0 .* returned None"),
        (lambda net: learner(net).unroll(lambda k: data(1) if k < 2 else None), TypeError, "step 2 .* returned None"),
        (lambda net: learner(net).unroll(lambda k: {**data(1), "x": 2 * net[0].weight}), ValueError, "support x of step 0 requires a gradient"),
        (lambda net: learner(net).unroll(Steps({"x": data(1, K)["x"], "y": data(1, K + 1)["y"]})), ValueError, "Steps of length 3, 4, and 3 steps"),
        (lambda net: learner(net).backward(Task(Steps({"x": data(1, 2, K)["x"], "y": data(1, 2, 2)["y"]}), data(2, 2))), ValueError, r"\(x: 3, y: 2\)"),
        (lambda net: learner(net).unroll(Steps({"a": "text"})), TypeError, "support must hold at least one torch.Tensor"),
        (lambda net: learner(net).unroll(Task(data(1), data(2))), TypeError, "give task.support"),
        (lambda net: learner(net).unroll(data(1), state="before"), TypeError, "state must be that of an earlier unroll .* got str"),
        (lambda net: learner(net).unroll(data(1), stops=[0]), ValueError, "each of stops must be at least 1"),
        (lambda net: learner(net).backward([Task({"in": data(1)}, data(2)), Task({"in": {"x": data(1)["x"]}}, data(2))]), ValueError, "support.in.y is in one of them only"),
        (lambda net: learner(net).backward([Task(data(1), data(2)), Task(data(1), {"x": data(2)["x"]})]), ValueError, "query.y is in one of them only"),
        (lambda net: learner(net).backward(Task({**data(1, 2), "w": torch.tensor(1.0)}, data(2, 2))), ValueError, "support w has no task axis"),
        (lambda net: learner(net).backward(Task({**data(1, 2), "y": data(1, 2)["y"] * math.nan}, data(2, 2))), ValueError, "support y of task 0"),
        (lambda net: run(net, Objective(lambda m, b: b["y"].square().mean())), ValueError, "the support loss depends on no parameter"),
        (lambda net: run(net, Objective(plain, lambda m, b: plain(m, b).detach())), ValueError, "the query loss depends on no parameter"),
        (lambda net: run(net, Objective(weighted)), TypeError, r"inner of Objective must be a function of \(model, batch\), without"),
        (lambda net: MetaLearner(net, Objective(weighted, plain), SGD(0.1), K, Exact(), hyper=Weights()), TypeError, r"outer of Objective .* \(model, batch, hyper\), for hyper="),
        (lambda net: learner(net, learn_start=False).backward(Task(data(1, 2), data(2, 2))), ValueError, "leaves nothing to learn"),
        (lambda net: learner(net).backward(Task(Batch(tensor(2, N, 2).requires_grad_(), tensor(2, N, 1)), data(2, 2))), ValueError, "support inputs requires a gradient"),
        (lambda net: setattr(learner(net), "num_steps", 10), AttributeError, "num_steps of a MetaLearner does not change"),
        (lambda net: setattr(learner(net), "rule", SGD(0.3)), AttributeError, "rule of a MetaLearner does not change"),
        (lambda net: setattr(learner(net), "model", make_net()), AttributeError, "model of a MetaLearner does not change"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call(make_net())


def plain(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"])


def wider():
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def learner(net, estimator=None, rule=None, **options):
    return MetaLearner(net, Objective(plain), rule or SGD(0.1), K, estimator or Exact(), **options)


def run(net, loss):
    MetaLearner(net, loss, SGD(0.1), K, Exact()).backward(Task(data(1, 2), data(2, 2)))


def test_first_order_refuses_what_it_cannot_reach():
    net, hyper, tasks = make_net(), Weights(), Task(data(1, 2), data(5, 2))
    learner = MetaLearner(net, Objective(weighted, measured), SGD(0.1), K, FirstOrder(), hyper=hyper)
    with pytest.raises(ValueError, match=r"FirstOrder\(\) gives no gradient to hyper.log"):
        learner.backward(tasks)
    with pytest.raises(ValueError, match=r"FirstOrder\(\) gives no gradient to hyper.log"):
        learner.unroll(tasks.take(0).support).model[0].weight.sum().backward()


def test_learned_settings_per_step_go_on_with_the_last_one():
    net = make_net()
    learner = MetaLearner(net, Objective(plain), SGD(lr=Learned(0.1, "step")), K, Exact())
    assert learner.learned_settings()["lr"].shape == (K,)
    longer = learner.evaluate(Task(data(1, 2), data(2, 2)), num_steps=K + 2).loss
    assert longer.shape == (2, K + 3)


@pytest.mark.parametrize("make", [MetaLearner, captured("pieces")], ids=["as-written", "pieces"])
@pytest.mark.parametrize("options", [{}, {"derivatives": "autograd"}, {"task_chunk": 1, "link_chunk": 1}], ids=repr)
@pytest.mark.parametrize("estimator", [Exact(), Binomial(2)], ids=repr)
def test_micro_batches_give_the_whole_batch(make, options, estimator):
    net, tasks = make_mlp().double(), make_tasks((4,), support=6, query=9)
    whole = MetaLearner(net, LOSS, SGD(0.1), K, estimator, metrics={"mean": lambda p, t: p.mean()})
    wanted = whole.meta_gradient(tasks)
    for parts in (1, 2, 4, 6):  # 9 examples do not divide by these
        result = make(
            net, LOSS, SGD(0.1), K, estimator, metrics={"mean": lambda p, t: p.mean()}, micro_batches=parts, **options
        ).meta_gradient(tasks)
        close(result.gradient, wanted.gradient)
        close(result.loss, wanted.loss)
        close(result.metrics["mean"], wanted.metrics["mean"])


def test_micro_batches_need_one_number_of_examples():
    net = make_mlp().double()
    with pytest.raises(ValueError, match="micro_batches=7 needs as many examples, and a batch has 6"):
        MetaLearner(net, LOSS, SGD(0.1), K, Exact(), micro_batches=7).backward(make_tasks((4,)))
    graph = Objective(lambda m, b: m(b["x"])[b["labelled"]].square().mean())
    task = Task(*[{"x": tensor(2, N, 4), "labelled": torch.zeros(2, 3, dtype=torch.long)}] * 2)
    with pytest.raises(ValueError, match="x has 5, labelled has 3"):
        MetaLearner(net, graph, SGD(0.1), K, Exact(), micro_batches=2).backward(task)


def test_micro_batches_in_one_graph():
    net, tasks = make_net(), Task(data(1, 2), data(5, 2))
    whole = captured("whole")(net, Objective(plain), SGD(0.1), K, Exact(), micro_batches=2)
    close(whole.meta_gradient(tasks).gradient, learner(net).meta_gradient(tasks).gradient)
    assert whole.capture.mode == "whole"
