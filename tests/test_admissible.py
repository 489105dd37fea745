"""What is refused by kind, each by its name and with a way out that works."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from cases import LOSS, WAYS, make_tasks
from losses import FIRST_ONLY
from metagrad import SGD, Exact, MetaLearner
from metagrad.admissible import REFUSED


class Between(nn.Module):
    """Some layer between two linear ones. [N, 4] to [N, WAYS]."""

    def __init__(self, layer, shape=(4,)):
        super().__init__()
        self.first, self.part, self.head = nn.Linear(4, 4), layer, nn.Linear(4, WAYS)
        self.shape = shape

    def forward(self, inputs):
        hidden = self.part(self.first(inputs).view(-1, *self.shape))
        return self.head((hidden[0] if isinstance(hidden, tuple) else hidden).reshape(len(inputs), -1)[:, :4])


class Words(nn.Module):
    """An embedding of numbers made of the inputs. [N, 4] to [N, WAYS]."""

    def __init__(self, part):
        super().__init__()
        self.part, self.head = part, nn.Linear(4, WAYS)

    def forward(self, inputs):
        words = (inputs[:, :2] > 0).long()
        return self.head(self.part(words).view(len(inputs), -1)[:, :4])


class FullyShardedDataParallel(nn.Linear):
    """Known by its name, for torch's own needs a process group."""


def alone(part):
    return nn.Sequential(nn.Linear(4, 4), part, nn.Linear(4, WAYS))


# What is refused, its first word, and the way out that the message names.
ROWS = [
    (
        lambda: alone(parametrizations.spectral_norm(nn.Linear(4, 4))),
        "_SpectralNorm '1.parametrizations.weight.0' moves",
        lambda: alone(parametrizations.spectral_norm(nn.Linear(4, 4)).eval()),
    ),
    (
        lambda: alone(spectral_norm(nn.Linear(4, 4))),
        "Linear '1' moves",
        lambda: alone(spectral_norm(nn.Linear(4, 4)).eval()),
    ),
    (
        lambda: Between(nn.InstanceNorm1d(1, track_running_stats=True), (1, 4)),
        "InstanceNorm1d 'part' keeps",
        lambda: Between(nn.InstanceNorm1d(1), (1, 4)),
    ),
    (lambda: Words(nn.Embedding(2, 4, max_norm=1.0)), "Embedding 'part' rescales", lambda: Words(nn.Embedding(2, 4))),
    (lambda: Words(nn.EmbeddingBag(2, 4, max_norm=1.0)), "EmbeddingBag 'part' rescales", None),
    (lambda: Words(nn.Embedding(2, 4, scale_grad_by_freq=True)), "Embedding 'part' has a gradient", None),
    (lambda: Words(nn.Embedding(2, 4, sparse=True)), "Embedding 'part' has sparse gradients", None),
    (
        lambda: Between(nn.CrossMapLRN2d(2), (1, 2, 2)),
        "CrossMapLRN2d 'part' is an old-style",
        lambda: Between(nn.LocalResponseNorm(2), (1, 2, 2)),
    ),
    (lambda: nn.DataParallel(nn.Linear(4, WAYS)), "DataParallel exchanges", lambda: nn.Linear(4, WAYS)),
    (lambda: FullyShardedDataParallel(4, WAYS), "FullyShardedDataParallel calls", lambda: nn.Linear(4, WAYS)),
    (lambda: alone(torch.jit.trace(nn.Linear(4, 4), torch.ones(1, 4))), "'1' is compiled by torch.jit", None),
    (lambda: alone(nn.LazyLinear(4)), "LazyLinear '1' has parameters without a shape", None),
]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("refused", "message", "way_out"), ROWS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_is_refused_by_name_and_the_way_out_works(refused, message, way_out):
    with pytest.raises(ValueError, match=re.escape(message) + ".*; .*"):
        MetaLearner(refused(), LOSS, SGD(0.1), 2, Exact())
    if way_out is not None:
        learner = MetaLearner(way_out().double(), LOSS, SGD(0.1), 2, Exact(), task_chunk=1, link_chunk=1)
        learner.backward(make_tasks((4,), query=6))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_every_kind_is_in_the_table():
    models = [refused() for refused, _, _ in ROWS]
    for refusal in REFUSED:
        assert any(refusal.applies(part) for model in models for part in model.modules()), refusal.what


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda weight: weight.to(torch.complex128), r"parameter '0.weight' is torch.complex128.*view_as_real"),
        (lambda weight: weight.to_sparse(), r"parameter '0.weight' is torch.sparse_coo.*to_dense\(\)"),
    ],
)
def test_parameters_that_are_no_dense_real_numbers_are_refused_by_name(convert, message):
    model = nn.Sequential(nn.Linear(4, WAYS))
    model[0].weight = nn.Parameter(convert(model[0].weight.detach()))
    with pytest.raises(ValueError, match=message):
        MetaLearner(model, LOSS, SGD(0.1), 2, Exact())
    model[0].weight.requires_grad_(False)
    MetaLearner(model, LOSS, SGD(0.1), 2, Exact())


PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "layers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda refusal: refusal.what)
def test_what_is_refused_is_in_the_documentation(refusal):
    assert f"| {refusal.what} | {refusal.why.replace(' (p = {rate:g})', '')} | {refusal.cure} |" in PAGE


@pytest.mark.parametrize("name", sorted({name.split()[0] for name in FIRST_ONLY}))
def test_what_has_no_second_derivative_is_in_the_documentation(name):
    assert re.search(rf"`(F\.|torch\.)?{name}`", PAGE.split("## Without a second derivative")[1])
