"""`tiled_max_pool2d` against `F.max_pool2d`, and which calls the mode replaces."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from metagrad.capture.formulas import Formulas, tiled_max_pool2d

INF, NAN = float("inf"), float("nan")


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_ties(*shape):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(0)).double()


def with_special_values(*shape):
    choices = torch.tensor([NAN, -INF, INF, 0.0, 1.0, -1.0], dtype=torch.float64)
    return choices[torch.randint(0, 6, shape, generator=torch.Generator().manual_seed(0))]


INPUTS = {
    "random": images(2, 3, 8, 6),
    "odd": images(2, 3, 7, 9),
    "ties": with_ties(2, 3, 8, 6),
    "special": with_special_values(4, 3, 8, 6),
    "all-minus-infinity": torch.full((1, 1, 6, 6), -INF, dtype=torch.float64),
    "one-image": images(3, 8, 8),
    "channels-last": images(2, 3, 8, 6).contiguous(memory_format=torch.channels_last),
    "one-tile": images(1, 1, 3, 2),
}


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 2)])
@pytest.mark.parametrize("name", INPUTS)
def test_values_equal_torchs(name, kernel):
    inputs = INPUTS[name]
    actual, expected = tiled_max_pool2d(inputs, kernel), F.max_pool2d(inputs, kernel)
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2)])
@pytest.mark.parametrize("name", ["random", "odd", "ties", "channels-last"])
def test_derivatives_equal_torchs(name, kernel):
    """Of a function with curvature beyond the pool; ties go to the same entry."""
    results = []
    for pool in (tiled_max_pool2d, F.max_pool2d):
        inputs = INPUTS[name].clone().requires_grad_()
        pooled = pool(inputs.square() + inputs, kernel)
        weights = images(*pooled.shape, seed=1)
        (first,) = torch.autograd.grad((pooled.sin() * weights).sum(), inputs, create_graph=True)
        (second,) = torch.autograd.grad((first * images(*inputs.shape, seed=2)).sum(), inputs)
        results.append((first.detach(), second))
    for actual, expected in zip(*results, strict=True):
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def pools_left(function, inputs):
    """How many pooling operations of torch's own a trace under the mode holds; and that the mode changes no value."""

    def formulated(leaf):
        with Formulas():
            return function(leaf)

    torch.testing.assert_close(formulated(inputs), function(inputs), rtol=0, atol=0)
    graph = make_fx(formulated)(inputs)
    torch.testing.assert_close(graph(inputs), function(inputs), rtol=0, atol=0)
    return sum("max_pool2d" in str(node.target) for node in graph.graph.nodes)


@pytest.mark.parametrize(
    "function",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d((3, 2)),
        nn.MaxPool2d(2, stride=2),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, [2, 2], stride=(2, 2)),
        lambda x: torch.max_pool2d(x, 2),
        lambda x: vmap(nn.MaxPool2d(2))(x.unsqueeze(0)),
    ],
)
def test_tiles_are_replaced_however_they_are_asked_for(function):
    assert pools_left(function, images(2, 3, 8, 7)) == 0


@pytest.mark.parametrize(
    "function",
    [
        nn.MaxPool2d(3, stride=2),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, return_indices=True),
        lambda x: F.max_pool2d(x, 2, return_indices=True),
        lambda x: F.max_pool2d(x, 3, 2),
    ],
)
def test_all_else_is_left_alone(function):
    assert pools_left(function, images(2, 3, 8, 7)) == 1
