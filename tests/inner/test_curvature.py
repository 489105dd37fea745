"""Three ways of one curvature product, against dense second derivatives."""

import subprocess
import sys

import pytest
import torch
from torch.func import hessian, jacrev

from metagrad.inner.curvature import central_difference, forward_over_reverse, reverse_over_reverse

PRODUCTS = [reverse_over_reverse, forward_over_reverse, central_difference]


def loss(adapted, context):
    scale = context["model"]["body"].sin().sum() if context else 1.0
    return (adapted["w"].tanh() * scale).square().sum() + adapted["w"].prod() * scale


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("context", [{}, {"model": {"body": torch.linspace(0.1, 1.0, 3, dtype=torch.float64)}}])
def test_equals_the_dense_second_derivative(product, context):
    adapted, direction = {"w": random(4)}, {"w": random(4)}
    curved, mixed = product(loss, adapted, context, direction)
    dense = hessian(lambda w: loss({"w": w}, context))(adapted["w"])
    tolerance = 1e-8 if product is central_difference else 1e-13
    assert (curved["w"] - dense @ direction["w"]).norm() <= tolerance * dense.norm() * direction["w"].norm()
    if context:

        def gradient(body):
            return torch.func.grad(lambda w: loss({"w": w}, {"model": {"body": body}}))(adapted["w"])

        expected = jacrev(gradient)(context["model"]["body"]).T @ direction["w"]
        assert (mixed["model"]["body"] - expected).norm() <= tolerance * (1 + expected.norm())
    else:
        assert mixed == {}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_zero_direction_gives_zero(product):
    curved, _ = product(loss, {"w": random(4)}, {}, {"w": torch.zeros(4, dtype=torch.float64)})
    assert (curved["w"] == 0).all()


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_central_difference_does_not_depend_on_the_length_of_the_direction(size):
    adapted, direction = {"w": random(4)}, {"w": random(4)}
    unit, _ = central_difference(loss, adapted, {}, direction)
    scaled, _ = central_difference(loss, adapted, {}, {"w": direction["w"] * size})
    assert torch.allclose(scaled["w"] / size, unit["w"], rtol=1e-12)


def test_no_warning_of_torch_reaches_those_who_push_tangents():
    code = (
        "import warnings; warnings.simplefilter('error'); import torch; from metagrad.inner.curvature import *; "
        "print(forward_over_reverse(lambda p, c: p.square().sum().sin(), torch.ones(2), {}, torch.ones(2))[0].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
