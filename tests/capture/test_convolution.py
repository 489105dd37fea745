"""The three bilinear maps of a convolution against `F.conv2d` and torch's derivatives of it, first and second."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from metagrad.capture import convolution
from metagrad.capture.convolution import Geometry, convolve
from metagrad.capture.formulas import Formulas

# image, kernel, stride, padding, channels
GEOMETRIES = {
    "conv4": ((7, 7), (3, 3), (2, 2), (1, 1), 9),
    "conv4-even": ((4, 4), (3, 3), (2, 2), (1, 1), 3),
    "stride-1": ((5, 6), (3, 3), (1, 1), (1, 1), 9),
    "oblong": ((5, 6), (2, 3), (3, 2), (0, 1), 4),
    "leaves-a-border": ((7, 8), (2, 2), (3, 3), (0, 0), 2),
    "one-position": ((3, 3), (3, 3), (1, 1), (0, 0), 1),
    "pointwise": ((4, 5), (1, 1), (1, 1), (0, 0), 3),
}


@pytest.fixture(params=["products", "torch"])
def way(request, monkeypatch):
    """Both ways for every shape."""
    monkeypatch.setattr(convolution, "PATCHES_AT_MOST", 2**40 if request.param == "products" else 0)


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def case(name):
    image, kernel, stride, padding, channels = GEOMETRIES[name]
    inputs = (numbers(3, channels, *image, seed=0), numbers(4, channels, *kernel, seed=1))
    directions = (numbers(*inputs[0].shape, seed=2), numbers(*inputs[1].shape, seed=3))
    geometry = Geometry(image, kernel, stride, padding)

    def ours(images, filters):
        return (convolve(images, filters, geometry).tanh() ** 2).sum()

    def torchs(images, filters):
        return (F.conv2d(images, filters, None, stride, padding).tanh() ** 2).sum()

    return inputs, directions, ours, torchs


def product(fn):
    return lambda inputs, directions: vjp(grad(fn, (0, 1)), *inputs)[1](directions)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", GEOMETRIES)
def test_value_and_second_derivatives_equal_torchs(name):
    inputs, directions, ours, torchs = case(name)
    torch.testing.assert_close(ours(*inputs), torchs(*inputs), rtol=1e-12, atol=0)
    expected = product(torchs)(inputs, directions)
    torch.testing.assert_close(product(ours)(inputs, directions), expected, rtol=1e-10, atol=1e-11)
    forward = jvp(grad(ours, (0, 1)), inputs, directions)[1]
    torch.testing.assert_close(forward, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["conv4", "oblong"])
def test_mapped_over_tasks_with_filters_of_their_own(name):
    inputs, directions, ours, torchs = case(name)

    def two(leaves):
        return tuple(torch.stack([leaf, leaf.roll(1, 0)]) for leaf in leaves)

    found = vmap(product(ours))(two(inputs), two(directions))
    expected = vmap(product(torchs))(two(inputs), two(directions))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", [(5, 64, 14, 14), (5, 64, 15, 15)])
def test_few_positions_become_a_product(shape):
    """245 positions of 576 numbers are 564 kB in float32 and more than 1 MiB in float64."""
    geometry = Geometry(shape[2:], (3, 3), (2, 2), (1, 1))
    assert geometry.suits_products(shape, item=4)
    assert not geometry.suits_products(shape, item=8)


def calls(fn, *inputs):
    """Names of the torch operations in a trace under the formulas."""

    def traced(*inputs):
        with Formulas():
            return fn(*inputs)

    return [str(node.target) for node in make_fx(traced)(*inputs).graph.nodes if node.op == "call_function"]


def test_the_formula_replaces_plain_convolutions_only():
    images, filters, bias = numbers(2, 4, 5, 5, seed=0), numbers(4, 4, 3, 3, seed=1), numbers(4, seed=2)
    assert not any("convolution" in call for call in calls(F.conv2d, images, filters, bias))
    for name, options in {
        "groups": {"groups": 4},
        "dilation": {"dilation": 2},
        "same": {"padding": "same"},
    }.items():
        kernel = filters[:, :1] if name == "groups" else filters

        def fn(images, kernel=kernel, options=options):
            return F.conv2d(images, kernel, **options)

        assert any("conv" in call for call in calls(fn, images)), name
    assert any("conv" in call for call in calls(F.conv2d, images[0], filters))  # one image, without its axis
    assert any("conv" in call for call in calls(F.conv2d, images.bfloat16(), filters.bfloat16()))


def test_bias_and_strides_are_read():
    images, filters, bias = numbers(2, 4, 6, 5, seed=0), numbers(3, 4, 3, 3, seed=1), numbers(3, seed=2)
    with Formulas():
        found = F.conv2d(images, filters, bias, stride=(2, 1), padding=1)
    torch.testing.assert_close(found, F.conv2d(images, filters, bias, stride=(2, 1), padding=1))
