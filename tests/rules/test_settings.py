import math

import pytest
import torch

from metagrad import SGD, Learned, tree


def run(rule, meta, start, gradients):
    state = rule.initial_state(start)
    for k, gradient in enumerate(gradients):
        state = rule.step(state, gradient, meta, k)
    return state["adapted"]


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (SGD(0.3), {"lr": 0.3}),
        (SGD(0.3, 0.8), {"lr": 0.3, "momentum": 0.8}),
        (SGD(0.3, 0.8, nesterov=True), {"lr": 0.3, "momentum": 0.8, "nesterov": True}),
        (SGD(0.3, 0.0), {"lr": 0.3}),
        (SGD(lr=Learned(0.3, "scalar")), {"lr": 0.3}),
        (SGD(lr=Learned(0.3, "tensor")), {"lr": 0.3}),
        (SGD(lr=Learned(0.3, "element")), {"lr": 0.3}),
    ],
    ids=repr,
)
def test_steps_equal_the_stock_optimizer(rule, options):
    start = {"a.weight": torch.randn(3, 2, dtype=torch.float64), "b": torch.randn(2, dtype=torch.float64)}
    gradients = [tree.map(torch.randn_like, start) for _ in range(4)]
    stock = [torch.nn.Parameter(p.clone()) for p in start.values()]
    optimizer = torch.optim.SGD(stock, **options)
    for gradient in gradients:
        for p, g in zip(stock, gradient.values(), strict=True):
            p.grad = g.clone()
        optimizer.step()
    ours = run(rule, rule.initial_meta(start, 4), start, gradients)
    for p, q in zip(ours.values(), stock, strict=True):
        assert torch.allclose(p, q, rtol=1e-14)


def test_learned_rates_have_the_shapes_they_promise():
    start = {"w": torch.zeros(3, 2), "b": torch.zeros(2)}
    assert SGD(lr=Learned(0.1, "scalar")).initial_meta(start, 4)["lr"].shape == ()
    assert {n: r.shape for n, r in SGD(lr=Learned(0.1, "tensor")).initial_meta(start, 4)["lr"].items()} == {
        "w": (),
        "b": (),
    }
    element = SGD(lr=Learned(0.1, "element")).initial_meta(start, 4)["lr"]
    assert {n: r.shape for n, r in element.items()} == {"w": (3, 2), "b": (2,)}
    assert (element["w"] == 0.1).all()


def test_learned_rates_differ_by_tensor_and_element():
    start = {"w": torch.zeros(2), "b": torch.zeros(1)}
    gradient = {"w": torch.ones(2), "b": torch.ones(1)}
    moved = SGD(lr=Learned(0.01, "element")).step(
        {"adapted": start}, gradient, {"lr": {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0)}}, 0
    )
    assert moved["adapted"]["w"].tolist() == [-1.0, -2.0]
    assert moved["adapted"]["b"].tolist() == [-3.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "lr must be greater than 0, got 0.0"),
        (lambda: SGD(-1), "lr must be greater than 0, got -1"),
        (lambda: SGD(math.nan), "lr must be finite, got nan"),
        (lambda: SGD("fast"), "lr must be a number, got 'fast'"),
        (lambda: SGD(0.1, 1.0), "momentum must be less than 1"),
        (lambda: SGD(0.1, -0.1), "momentum must be at least 0"),
        (lambda: SGD(lr=Learned(0.1, "layer")), "per must be 'scalar', 'tensor', 'element', 'step' or"),
    ],
)
def test_hyperparameters_out_of_range(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
