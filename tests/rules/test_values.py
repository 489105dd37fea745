"""Rules step as `torch.optim` does: 20 steps of a loss, some of whose gradients are exactly zero."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_

from metagrad import SGD, Adam, AdamW, Batch, Clipped, Learned, MetaLearner, RMSprop

STEPS = 20
TORCH = torch.optim


def make_net():
    """One of the hidden units never fires, so that gradients on its weights are zero."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        net[0].bias[2] = -50.0
    return net


def make_batch():
    torch.manual_seed(2)
    return Batch(torch.randn(10, 4).double(), torch.randint(0, 3, (10,)))


ROWS = {
    "sgd": (SGD(0.3), TORCH.SGD, {"lr": 0.3}),
    "momentum": (SGD(0.3, 0.8), TORCH.SGD, {"lr": 0.3, "momentum": 0.8}),
    "nesterov": (SGD(0.3, 0.8, True), TORCH.SGD, {"lr": 0.3, "momentum": 0.8, "nesterov": True}),
    "sgd-decay": (SGD(0.3, weight_decay=0.1), TORCH.SGD, {"lr": 0.3, "weight_decay": 0.1}),
    "sgd-all": (
        SGD(0.3, 0.8, True, 0.1),
        TORCH.SGD,
        {"lr": 0.3, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    "sgd-learned": (SGD(Learned(0.3, "element"), Learned(0.8)), TORCH.SGD, {"lr": 0.3, "momentum": 0.8}),
    "adam": (Adam(0.05), TORCH.Adam, {"lr": 0.05}),
    "adam-all": (
        Adam(0.05, (0.8, 0.95), 1e-3, 0.1),
        TORCH.Adam,
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adam-without-momentum": (Adam(0.05, (0.0, 0.99)), TORCH.Adam, {"lr": 0.05, "betas": (0.0, 0.99)}),
    "adamw": (AdamW(0.05), TORCH.AdamW, {"lr": 0.05}),
    "adamw-all": (
        AdamW(0.05, (0.8, 0.95), 1e-3, 0.3),
        TORCH.AdamW,
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "adamw-learned": (AdamW(Learned(0.05, ("step", "tensor"))), TORCH.AdamW, {"lr": 0.05}),
    "rmsprop": (RMSprop(0.02), TORCH.RMSprop, {"lr": 0.02}),
    "rmsprop-momentum": (RMSprop(0.02, momentum=0.8), TORCH.RMSprop, {"lr": 0.02, "momentum": 0.8}),
    "rmsprop-centered": (RMSprop(0.02, centered=True), TORCH.RMSprop, {"lr": 0.02, "centered": True}),
    "rmsprop-all": (
        RMSprop(0.02, 0.9, 1e-3, 0.1, 0.5, True),
        TORCH.RMSprop,
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
    ),
}


def adapted(net, rule, batch):
    """The library's parameters after the steps."""
    from_loop = MetaLearner(net, F.cross_entropy, rule, STEPS, "exact").adapt(batch)
    return dict(from_loop.named_parameters())


def trained(net, optimizer, batch, before_step=None, after_step=None):
    """Torch's own, the optimizer moving `net`, and whether a gradient was exactly zero."""
    zeros = False
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(net(batch.inputs), batch.targets).backward()
        zeros = zeros or not net[0].weight.grad[2].any()
        if before_step:
            before_step()
        optimizer.step()
        if after_step:
            after_step()
    assert zeros
    return dict(net.named_parameters())


def require_equal(ours, theirs):
    for name, value in theirs.items():
        (own,) = (p for path, p in ours.items() if path.endswith(name))
        torch.testing.assert_close(own, value.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_steps_equal_those_of_torch(name):
    rule, kind, options = ROWS[name]
    ours = adapted(make_net(), rule, make_batch())
    net = make_net()
    require_equal(ours, trained(net, kind(net.parameters(), **options), make_batch()))


@pytest.mark.parametrize("name", ["sgd", "adamw-all", "rmsprop-all"])
@pytest.mark.parametrize("max_norm", [0.05, 1e6])
def test_clipped_steps_equal_those_behind_clip_grad_norm(name, max_norm):
    rule, kind, options = ROWS[name]
    ours = adapted(make_net(), Clipped(rule, max_norm), make_batch())
    net = make_net()
    clip = lambda: clip_grad_norm_(net.parameters(), max_norm)  # noqa: E731
    require_equal(ours, trained(net, kind(net.parameters(), **options), make_batch(), clip))


SCHEDULED = {
    "sgd": (lambda rate: SGD(rate, 0.8), TORCH.SGD, {"momentum": 0.8}),
    "adamw": (lambda rate: AdamW(rate, weight_decay=0.3), TORCH.AdamW, {"weight_decay": 0.3}),
    "rmsprop": (lambda rate: RMSprop(rate), TORCH.RMSprop, {}),
}


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_schedule_equals_that_of_torch(name):
    make, kind, options = SCHEDULED[name]
    warm_up = lambda k: 0.01 * min(1.0, (k + 1) / 5) * 0.9**k  # noqa: E731
    ours = adapted(make_net(), make(warm_up), make_batch())
    net = make_net()
    optimizer = kind(net.parameters(), lr=1.0, **options)
    scheduler = TORCH.lr_scheduler.LambdaLR(optimizer, warm_up)
    require_equal(ours, trained(net, optimizer, make_batch(), None, scheduler.step))
