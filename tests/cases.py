"""Models, update rules and learners that every estimator is tried on: rows of the tables in the tests."""

import torch
import torch.nn.functional as F
from torch import nn

from metagrad import SGD, Batch, Learned, MetaLearner, Task
from metagrad.capture import Capture
from metagrad.networks import MLP, Conv4

WAYS = 3


class TinyTransformer(nn.Module):
    """One encoder layer on `scaled_dot_product_attention`, with a linear head. [N, L, 4] to [N, WAYS]."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d_model=4, nhead=2, dim_feedforward=6, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.head = nn.Linear(4, WAYS)

    def forward(self, inputs):
        return self.head(self.encoder(inputs).mean(dim=1))


class TiedAndFrozen(nn.Module):
    """Two layers that share one weight, a frozen layer, and a parameter that nothing uses. [N, 4] to [N, WAYS]."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, WAYS)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, inputs):
        return self.head(self.frozen(torch.tanh(self.second(torch.tanh(self.first(inputs))))))


class Shared(nn.Module):
    """One layer and one batch norm, each registered under two names. [N, 4] to [N, WAYS]."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, WAYS)
        self.whole = nn.Sequential(self.body, self.norm, nn.Tanh(), self.body, self.norm, self.head)

    def forward(self, inputs):
        return self.whole(inputs)


class Noisy(nn.Module):
    """Random, and no module tells: what a check of layers cannot find. [N, 4] to [N, WAYS]."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, WAYS)

    def forward(self, inputs):
        return F.dropout(self.layer(inputs), 0.5)


class Recurrent(nn.Module):
    """An LSTM, last output to a linear head. [N, L, 4] to [N, WAYS]."""

    def __init__(self):
        super().__init__()
        self.memory = nn.LSTM(4, 3, batch_first=True)
        self.head = nn.Linear(3, WAYS)

    def forward(self, inputs):
        return self.head(self.memory(inputs)[0][:, -1])


def make_mlp():
    return generic(MLP([4, 6, WAYS]))


def make_conv():
    return generic(Conv4(WAYS, filters=3, size=16, pooling="max"))


def generic(model):
    """No parameter at zero, where some derivatives vanish."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.uniform_(-0.5, 0.5)
    return model


def make_batch_norm():
    """Batch norm that keeps running statistics, in train mode: the statistics must be neither used nor moved."""
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, WAYS))


MODELS = {
    "mlp": (make_mlp, (4,)),
    "conv4": (make_conv, (1, 16, 16)),
    "batch-norm": (make_batch_norm, (4,)),
    "transformer": (TinyTransformer, (5, 4)),
    "tied-and-frozen": (TiedAndFrozen, (4,)),
    "shared": (Shared, (4,)),
    "lstm": (Recurrent, (5, 4)),
}

# Last layer of each model, for learners that adapt a part.
HEAD = {
    "mlp": "layers.2",
    "conv4": "head",
    "batch-norm": "3",
    "transformer": "head",
    "tied-and-frozen": "head",
    "shared": "head",
    "lstm": "head",
}

RULES = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, 0.8),
    "nesterov": SGD(0.1, 0.8, nesterov=True),
    "rate": SGD(lr=Learned(0.1, "scalar")),
    "rates-per-tensor": SGD(lr=Learned(0.1, "tensor")),
    "rates-per-element": SGD(lr=Learned(0.1, "element")),
}


def make_tasks(features: tuple[int, ...], tasks: int = 2, support: int = 6, query: int = 9, seed: int = 0) -> Task:
    generator = torch.Generator().manual_seed(seed)

    def batch(examples: int) -> Batch:
        inputs = torch.randn(tasks, examples, *features, generator=generator, dtype=torch.float64)
        return Batch(inputs, torch.arange(examples).remainder(WAYS).repeat(tasks, 1))

    return Task(batch(support), batch(query))


def one(tasks: Task, index: int) -> Task:
    return tasks.take(index)


def inner_states(loop, meta, task, count):
    """The inner steps of one task, as written: each has `state`, `gradient`, `loss` and `after`."""
    motion = loop.motion(meta, loop.evidence(task, count), loop.derivatives())
    return motion.steps(loop.initial_state(meta), 0, count)


# What a model needs of `MetaLearner`: `vmap` has no rule for the LSTM kernel.
NEEDS = {"lstm": {"task_chunk": 1, "link_chunk": 1}}

LOSS = F.cross_entropy


class Counting:
    """A compiler for `Capture` that replays the traced graph as it is, and counts what it was given."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph


def captured(mode, streams=1, compiler=None, **forced):
    """A `MetaLearner` class whose instances capture without compiling; `forced` options win over the caller's."""

    def make(*args, **options):
        learner = MetaLearner(*args, **options | forced)
        learner.capture = Capture(mode, streams, compiler=compiler or Counting(), otherwise=learner.capture.otherwise)
        return learner

    return make
