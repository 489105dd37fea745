"""Sequences, graphs, several inputs, dense labels, coordinates: jobs 7 to 11 of a user, against plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from jobs.by_hand import by_hand, check, one_warning
from metagrad import SGD, Batch, Binomial, Exact, MetaLearner, Objective, SquareRoot, Task
from rules.by_hand import sgd

LR = 0.1


def compare(net, inner, tasks, *, steps=3, outer=None, lr=LR, estimator=None, **options):
    """`Exact` (or another estimator) against plain autograd, on a list of tasks."""
    learner = MetaLearner(net, Objective(inner, outer), SGD(lr), steps, estimator or Exact(), **options)
    result = learner.meta_gradient(tasks)
    each = [by_hand(net, inner, outer or inner, t.support, t.query, steps, sgd(lr)) for t in tasks]
    check(result, each)


class Tagger(nn.Module):
    """Words [N, L] and lengths [N] to tags [N, L, 4]."""

    def __init__(self, packed):
        super().__init__()
        self.embed, self.memory = nn.Embedding(20, 5), nn.LSTM(5, 4, batch_first=True, bidirectional=True)
        self.head, self.packed = nn.Linear(8, 4), packed

    def forward(self, words, lengths):
        states = self.embed(words)
        if self.packed:
            states = pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
        states, _ = self.memory(states)
        if self.packed:
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=words.shape[1])
        return self.head(states)


def tagging(model, batch):
    return F.cross_entropy(model(batch["words"], batch["lengths"]).transpose(1, 2), batch["tags"], ignore_index=-1)


def tagged(length):
    lengths = torch.tensor([length, 2, length - 1])
    words, padding = torch.randint(1, 20, (3, length)), torch.arange(length) >= lengths[:, None]
    return {"words": words, "lengths": lengths, "tags": words.remainder(4).masked_fill(padding, -1)}


@pytest.mark.parametrize(
    ("packed", "cure", "quiet"),
    [
        (False, "task_chunk=1 and link_chunk=1 silence this", {"task_chunk": 1, "link_chunk": 1}),
        (True, "derivatives='autograd' silences this", {"derivatives": "autograd"}),
    ],
    ids=["padded", "packed"],
)
def test_lstm_tagger(packed, cure, quiet):
    net, tasks = Tagger(packed).double(), [Task(tagged(5), tagged(4)) for _ in range(2)]
    with one_warning(cure):
        compare(net, tagging, tasks, estimator=Binomial(3))
    compare(net, tagging, tasks, **quiet)


class GraphNet(nn.Module):
    """Features [nodes, 3] and edges [2, E] to classes [nodes, 2], by sums over neighbours."""

    def __init__(self):
        super().__init__()
        self.own, self.others, self.head = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, features, edges):
        source, target = edges
        gathered = torch.zeros_like(features).index_add(0, target, features[source])
        return self.head(torch.tanh(self.own(features) + self.others(gathered)))


def graph(nodes, edges):
    features = torch.randn(nodes, 3, dtype=torch.float64)
    return {"features": features, "edges": torch.randint(0, nodes, (2, edges)), "y": torch.randint(0, 2, (nodes,))}


def test_graph_network_on_graphs_of_different_sizes():
    tasks = [Task(graph(5, 8), graph(6, 9)), Task(graph(4, 3), graph(7, 12)), Task(graph(5, 8), graph(6, 9))]
    compare(GraphNet().double(), lambda m, b: F.cross_entropy(m(b["features"], b["edges"]), b["y"]), tasks)


class TwoHeaded(nn.Module):
    """An image and a number to a class and a box."""

    def __init__(self):
        super().__init__()
        self.image, self.number = nn.Conv2d(1, 3, 3), nn.Linear(1, 3)
        self.label, self.box = nn.Linear(3, 2), nn.Linear(3, 4)

    def forward(self, image, number):
        hidden = torch.tanh(self.image(image).mean((2, 3)) + self.number(number))
        return {"label": self.label(hidden), "box": self.box(hidden)}


def both_heads(predictions, targets):
    return F.cross_entropy(predictions["label"], targets["label"]) + 0.5 * F.mse_loss(
        predictions["box"], targets["box"]
    )


def scene(examples):
    inputs = {"image": torch.randn(examples, 1, 6, 6).double(), "number": torch.randn(examples, 1).double()}
    targets = {"label": torch.randint(0, 2, (examples,)), "box": torch.randn(examples, 4).double()}
    return Batch(inputs, targets)


def test_two_inputs_two_outputs_and_a_loss_of_both():
    net, tasks = TwoHeaded().double(), [Task(scene(4), scene(5)) for _ in range(2)]
    result = MetaLearner(net, both_heads, SGD(LR), 3, Exact()).meta_gradient(tasks)

    def written_out(model, batch):
        return both_heads(model(**batch.inputs), batch.targets)

    check(result, [by_hand(net, written_out, written_out, t.support, t.query, 3, sgd(LR)) for t in tasks])


class UNet(nn.Module):
    """Images [N, 1, H, W] to labels of each pixel [N, 3, H, W]."""

    def __init__(self):
        super().__init__()
        self.down, self.below = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.up, self.head = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(8, 3, 1)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, image):
        kept = F.relu(self.norm(self.down(image)))
        below = F.relu(self.below(F.max_pool2d(kept, 2)))
        return self.head(torch.cat([kept, self.up(below)], 1))


def test_unet_with_a_label_for_each_pixel():
    def masks(examples):
        return Batch(torch.randn(examples, 1, 8, 8).double(), torch.randint(0, 3, (examples, 8, 8)))

    tasks = [Task(masks(2), masks(3)) for _ in range(2)]
    compare(UNet().double(), lambda m, b: F.cross_entropy(m(b.inputs), b.targets), tasks)


class Siren(nn.Module):
    """Coordinates [N, 2] to colours [N, 3] through sines."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, at):
        return self.head(torch.sin(3 * self.second(torch.sin(10 * self.first(at)))))


@pytest.mark.parametrize(("steps", "options"), [(3, {}), (50, {}), (50, {"trajectory": SquareRoot()})], ids=str)
def test_siren_fits_an_image(steps, options):
    def pixels(count):
        return Batch(2 * torch.rand(count, 2).double() - 1, torch.rand(count, 3).double())

    tasks = [Task(pixels(9), pixels(9)) for _ in range(2)]
    compare(Siren().double(), lambda m, b: F.mse_loss(m(b.inputs), b.targets), tasks, steps=steps, lr=0.02, **options)
