"""A call works on a private copy: right numbers whatever `forward` does, and the user's module as it was."""

import copy
import functools
import threading
import weakref
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from cases import LOSS, WAYS, make_mlp, make_tasks, one
from metagrad import SGD, Binomial, Exact, MetaLearner, functional, tree
from metagrad.capture import Capture
from oracle import exact_meta_gradient

TASKS = make_tasks((4,))


class Keeps(nn.Module):
    """Leaves something behind in `forward`, in a way that is handed in."""

    def __init__(self, leave):
        super().__init__()
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, WAYS)
        self.leave, self.seen, self.table, self.calls = leave, [], {"h": []}, 0
        self.register_buffer("shift", torch.zeros(5))

    def forward(self, inputs):
        hidden = torch.tanh(self.first(inputs))
        self.leave(self, hidden)
        return self.head(hidden)


def keep_tensor(module, hidden):
    module.features = hidden.detach()


def append(module, hidden):
    module.seen.append(hidden)
    module.table["h"].append(hidden)


def assign_buffer(module, hidden):
    module.shift = hidden.mean(dim=0).detach()


def write_on_buffer(module, hidden):
    module.shift.add_(1)


def count(module, hidden):
    module.calls += 1


def make_lazily(module, hidden):
    if not hasattr(module, "table_of_angles"):
        module.table_of_angles = torch.arange(5) * hidden.new_ones(5)


def register(module, hidden):
    module.register_buffer("late", hidden.detach())
    module.head.register_forward_hook(lambda head, inputs, outputs: outputs)


def replace_layer(module, hidden):
    module.spare = nn.Identity()


LEAVE = (keep_tensor, append, assign_buffer, write_on_buffer, count, make_lazily, register, replace_layer)


def state(module):
    """All that can be told of a module: attributes and tables of every part, tensors by identity and values."""
    return [
        {name: list(value) if isinstance(value, list | dict) else repr(value) for name, value in vars(part).items()}
        for part in module.modules()
    ] + [(id(value), value.clone()) for value in module.state_dict(keep_vars=True).values()]


@pytest.mark.parametrize("capture", ["off", "whole"])
@pytest.mark.parametrize("leave", LEAVE, ids=lambda leave: leave.__name__)
def test_what_forward_leaves_behind_is_not_left_in_the_users_module(leave, capture):
    model = Keeps(leave).double()
    learner = MetaLearner(model, LOSS, SGD(0.3), 2, Exact())
    learner.capture = capturing(capture)
    before = state(model)
    result = learner.backward(TASKS)
    learner.evaluate(TASKS)
    adapted = learner.adapt(one(TASKS, 0).support)
    assert str(state(model)) == str(before)
    for module in (model, learner, adapted):
        copy.deepcopy(module)
    plain = MetaLearner(with_weights_of(model, Keeps(lambda module, hidden: None)), LOSS, SGD(0.3), 2, Exact())
    assert equal(result, plain.meta_gradient(TASKS))


def capturing(mode):
    return Capture(mode, compiler=lambda graph, inputs: graph)


def with_weights_of(model, other):
    other = other.double()
    with torch.no_grad():
        for mine, its in zip(other.parameters(), model.parameters(), strict=True):
            mine.copy_(its)
    return other


def equal(first, second):
    pairs = zip(tree.leaves(first.gradient), tree.leaves(second.gradient), strict=True)
    return all(torch.allclose(a, b, rtol=1e-10, atol=1e-14) for a, b in pairs)


@pytest.mark.parametrize("writes", [nn.ReLU(inplace=True), nn.Hardtanh(inplace=True), nn.ELU(inplace=True)], ids=str)
def test_layers_that_write_on_their_input_leave_the_data_alone(writes):
    tasks = make_tasks((4,))
    model = nn.Sequential(writes, nn.Linear(4, WAYS)).double()
    learner = MetaLearner(model, LOSS, SGD(0.3), 2, Exact())
    result = learner.meta_gradient(tasks)
    learner.evaluate(tasks)
    learner.adapt(one(tasks, 0).support)
    learner(tasks.query.inputs[0])
    for batch, before in zip(tasks, TASKS, strict=True):
        assert torch.equal(batch.inputs, before.inputs)
    outside = type(tasks)(*(batch._replace(inputs=writes(batch.inputs)) for batch in make_tasks((4,))))
    plain = MetaLearner(nn.Sequential(nn.Identity(), model[1]), LOSS, SGD(0.3), 2, Exact())
    assert equal(result, plain.meta_gradient(outside))


@dataclass
class Holder:
    layer: nn.Module


class PointsBack(nn.Module):
    """Reaches its layers by a list, a dict, a method, a closure, a partial function, defaults, objects, references."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(9))
        self.listed = [self.layers[0]]
        self.named = {"one": (self.layers[1],)}
        self.bound = self.layers[2].forward
        layer = self.layers[3]
        self.closing = lambda inputs: layer(inputs)
        self.partial = functools.partial(F.linear, weight=self.layers[4].weight)
        object.__setattr__(self, "hidden", self.layers[5])
        self.default = lambda inputs, layer=self.layers[6]: layer(inputs)
        self.holder = Holder(self.layers[7])
        self.weak = weakref.ref(self.layers[8])

    def forward(self, inputs):
        first = (self.listed[0], self.named["one"][0], self.bound, self.closing, self.partial)
        for step in (*first, self.hidden, self.default, self.holder.layer, self.weak()):
            inputs = torch.tanh(step(inputs))
        return inputs[..., :WAYS]


class Straight(nn.Module):
    """The same without detours."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(9))

    def forward(self, inputs):
        for index, layer in enumerate(self.layers):
            inputs = torch.tanh(F.linear(inputs, layer.weight) if index == 4 else layer(inputs))
        return inputs[..., :WAYS]


def test_whatever_points_back_into_the_module_points_into_the_copy():
    model = PointsBack().double()
    plain = with_weights_of(model, Straight())
    results = [MetaLearner(m, LOSS, SGD(0.3), 2, Exact()).meta_gradient(TASKS) for m in (model, plain)]
    assert equal(*results)
    copied = functional.with_parameters(model, {})
    assert copied.listed[0] is copied.layers[0] is not model.layers[0]
    assert copied.bound.__self__ is copied.layers[2]
    assert model.bound.__self__ is model.layers[2]


def test_a_module_that_keeps_a_tensor_of_the_users_own_call_adapts():
    model = Keeps(append).double()
    model(TASKS.query.inputs[0])
    adapted = MetaLearner(model, LOSS, SGD(0.3), 2, Exact()).adapt(one(TASKS, 0).support)
    assert torch.equal(adapted.model.seen[0], model.seen[0])
    assert adapted.model.seen[0].grad_fn is None
    assert model.seen[0].grad_fn is not None


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("wrap", [weight_norm, parametrizations.weight_norm], ids=["old", "new"])
def test_weight_norm_leaves_no_tensor_of_a_call_behind(wrap):
    model = nn.Sequential(wrap(nn.Linear(4, 5)), nn.Tanh(), wrap(nn.Linear(5, WAYS))).double()
    before = model(TASKS.query.inputs[0])
    learner = MetaLearner(model, LOSS, SGD(0.3), 2, Exact())
    learner.backward(TASKS)
    assert torch.equal(model(TASKS.query.inputs[0]), before)
    model[0].weight.sum().item()
    learner.adapt(one(TASKS, 0).support)


class Penalises(nn.Module):
    """Reads its own parameters in `forward`, and tables that are made once for each length."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, WAYS)

    def forward(self, inputs):
        size = sum(parameter.square().sum() for parameter in self.parameters())
        return self.layer(inputs) * angles(len(inputs)).unsqueeze(1) / (1 + size)


@functools.lru_cache
def angles(length):
    return torch.arange(length, dtype=torch.float64).cos()


@pytest.mark.parametrize("capture", ["off", "whole"])
def test_a_module_may_read_its_parameters_and_keep_tables_in_a_global(capture):
    angles.cache_clear()
    model = Penalises().double()
    learner = MetaLearner(model, LOSS, SGD(0.3), 2, Exact())
    learner.capture = capturing(capture)
    expected = exact_meta_gradient(model, LOSS, one(TASKS, 0), lr=0.3, steps=2)[1]
    angles.cache_clear()
    for _ in range(2):
        result = learner.meta_gradient([one(TASKS, 0)])
        for name, leaf in result.gradient["model"].items():
            torch.testing.assert_close(leaf, expected[name], rtol=1e-10, atol=1e-14)
        assert angles(6).sum().isfinite()


def test_random_numbers_of_another_thread_are_not_the_models():
    """They come from the same generator, so its state alone does not tell."""
    learner = MetaLearner(make_mlp().double(), LOSS, SGD(0.3), 2, Exact())
    stop = threading.Event()

    def draw():
        while not stop.is_set():
            torch.rand(1)

    other = threading.Thread(target=draw)
    other.start()
    try:
        for _ in range(5):
            learner.meta_gradient(TASKS)
    finally:
        stop.set()
        other.join()


def test_threads_on_one_module_get_the_numbers_of_one_thread():
    """Two learners on one model, evaluation, and the user's own calls meanwhile."""
    model = make_mlp().double()
    inputs = TASKS.query.inputs[0]
    learners = [MetaLearner(model, LOSS, SGD(0.3), 3, estimator) for estimator in (Exact(), Binomial(2))]
    work = {
        "first": lambda: tree.leaves(learners[0].meta_gradient(TASKS).gradient),
        "second": lambda: tree.leaves(learners[1].meta_gradient(TASKS).gradient),
        "evaluation": lambda: [learners[0].evaluate(TASKS).loss],
        "adapted": lambda: list(learners[1].adapt(one(TASKS, 0).support).parameters()),
        "users-own": lambda: [model(inputs), *model.parameters()],
    }
    agree_in_threads(work, times=12)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.slow
def test_threads_may_trace_at_once():
    """torch's tracer keeps settings of the whole process."""
    model = make_mlp().double()

    def traced(mode):
        learner = MetaLearner(model, LOSS, SGD(0.3), 2, Exact())
        learner.capture = capturing(mode)
        return tree.leaves(learner.meta_gradient(TASKS).gradient)

    work = {f"{mode}-{copy}": functools.partial(traced, mode) for mode in ("whole", "pieces") for copy in range(2)}
    agree_in_threads(work, times=3)


def agree_in_threads(work, times):
    """What each piece of work gives again and again, beside the others, is what it gives alone."""
    expected = {name: [leaf.clone() for leaf in act()] for name, act in work.items()}
    wrong, begin = [], threading.Barrier(len(work))

    def repeat(name):
        begin.wait()
        for _ in range(times):
            try:
                same = all(torch.equal(a, b) for a, b in zip(work[name](), expected[name], strict=True))
            except Exception as error:
                same = error
            if same is not True:
                wrong.append((name, same))

    threads = [threading.Thread(target=repeat, args=[name]) for name in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
