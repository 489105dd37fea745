"""Sinusoids and quadratics: distributions, seeding, closed forms, errors."""

import math

import pytest
import torch

from metagrad.data.regression import Quadratics, Sinusoids, half_squared_error
from metagrad.task import Batch, Task

SOURCES = [Sinusoids(), Quadratics(3), Sinusoids(support=1, query=4), Quadratics(2, 5, 1)]


def leaves(task):
    return [leaf for batch in task for leaf in batch]


def draw(source, count=4, seed=0):
    return source.sample(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_same_generator_state_gives_the_same_tasks(source):
    generator = torch.Generator().manual_seed(7)
    state = generator.get_state()
    first, second = source.sample(4, generator), source.sample(4, generator)
    generator.set_state(state)
    again = source.sample(4, generator)
    for one, two, three in zip(leaves(first), leaves(second), leaves(again), strict=True):
        assert torch.equal(one, three)
        assert not torch.equal(one, two)


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_global_generator_is_neither_read_nor_moved(source):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = draw(source)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for one, two in zip(leaves(first), leaves(draw(source)), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(dtype):
    sinusoid = draw(Sinusoids(support=3, query=7, dtype=dtype), count=5)
    assert [leaf.shape for leaf in leaves(sinusoid)] == [(5, 3, 1), (5, 3, 1), (5, 7, 1), (5, 7, 1)]
    quadratic = draw(Quadratics(4, support=3, query=7, dtype=dtype), count=5)
    assert [leaf.shape for leaf in leaves(quadratic)] == [(5, 3, 4), (5, 3, 1), (5, 7, 4), (5, 7, 1)]
    assert {leaf.dtype for task in (sinusoid, quadratic) for leaf in leaves(task)} == {dtype}


def test_sinusoid_amplitude_phase_and_inputs_fill_their_ranges():
    # Two points determine A·sin φ and A·cos φ: solve for them, with a third point as the check.
    source = Sinusoids(support=2, query=1, dtype=torch.float64)
    task = draw(source, count=4000)
    inputs = task.support.inputs.squeeze(-1)
    basis = torch.stack([inputs.cos(), inputs.sin()], -1)  # y = (A sin φ)·cos x + (A cos φ)·sin x
    apart = (inputs[:, 0] - inputs[:, 1]).sin().abs() > 0.1
    solved = torch.linalg.solve(basis[apart], task.support.targets[apart]).squeeze(-1)
    amplitude, phase = solved.norm(dim=-1), torch.atan2(solved[:, 0], solved[:, 1])
    query = task.query.inputs[apart].flatten()
    torch.testing.assert_close(amplitude * torch.sin(query + phase), task.query.targets[apart].flatten())
    for values, (low, high) in (
        (amplitude, (0.1, 5.0)),
        (phase, (0.0, math.pi)),
        (inputs.flatten(), (-5.0, 5.0)),
    ):
        assert low - 1e-9 <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high + 1e-9
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_support_and_query_come_from_the_same_sinusoid_at_different_points():
    task = draw(Sinusoids(support=5, query=5, amplitude=(2, 2), phase=(0.5, 0.5), dtype=torch.float64))
    for batch in task:
        torch.testing.assert_close(batch.targets, 2 * torch.sin(batch.inputs + 0.5))
    assert not torch.isin(task.support.inputs, task.query.inputs).any()


def test_quadratics_have_one_weight_vector_per_task_and_the_noise_asked_for():
    exact = draw(Quadratics(3, support=6, query=5, noise=0.0, dtype=torch.float64))
    weights = torch.linalg.lstsq(exact.support.inputs, exact.support.targets).solution
    torch.testing.assert_close(exact.query.inputs @ weights, exact.query.targets)
    assert (weights[0] - weights[1]).abs().max() > 0.1
    noisy = draw(Quadratics(1, support=2000, query=1, noise=0.5, dtype=torch.float64), count=1)
    fit = torch.linalg.lstsq(noisy.support.inputs, noisy.support.targets).solution
    residual = noisy.support.targets - noisy.support.inputs @ fit
    assert residual.std().item() == pytest.approx(0.5, rel=0.1)


def loop_meta_gradient(task, start, lr, num_steps):
    model = torch.nn.Linear(start.numel(), 1, bias=False, dtype=start.dtype)
    first = start.clone().requires_grad_()

    def loss(weights, batch):
        predictions = torch.func.functional_call(model, {"weight": weights.unsqueeze(0)}, (batch.inputs,))
        return half_squared_error(predictions, batch.targets)

    adapted = first
    for _ in range(num_steps):
        (gradient,) = torch.autograd.grad(loss(adapted, task.support), adapted, create_graph=True)
        adapted = adapted - lr * gradient
    return torch.autograd.grad(loss(adapted, task.query), first)[0]


@pytest.mark.parametrize("num_steps", [0, 1, 2, 7])
@pytest.mark.parametrize("support", [2, 9], ids=["singular", "full rank"])
def test_meta_gradient_equals_autograd_through_the_loop(num_steps, support):
    source = Quadratics(4, support=support, query=6, dtype=torch.float64)
    tasks = draw(source, count=3, seed=num_steps)
    start = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    batched = Quadratics.meta_gradient(tasks, start, lr=0.1, num_steps=num_steps)
    assert batched.shape == (3, 4)
    for index in range(3):
        task = Task(*(Batch(*(leaf[index] for leaf in batch)) for batch in tasks))
        expected = loop_meta_gradient(task, start, 0.1, num_steps)
        assert (batched[index] - expected).abs().max() < 1e-12
        alone = Quadratics.meta_gradient(task, start, lr=0.1, num_steps=num_steps)
        assert (alone - expected).abs().max() < 1e-12


@pytest.mark.parametrize("support", [2, 9], ids=["singular", "full rank"])
def test_proximal_gradient_equals_autograd_through_a_converged_proximal_loop(support):
    task = draw(Quadratics(4, support=support, query=6, dtype=torch.float64), count=1, seed=3)
    first = torch.tensor([0.3, -1.0, 0.7, 2.0], dtype=torch.float64, requires_grad=True)
    strength, adapted = 0.8, first
    inputs, targets = (leaf[0] for leaf in task.support)
    for _ in range(400):
        loss = half_squared_error(inputs @ adapted.unsqueeze(-1), targets)
        loss = loss + strength / 2 * (adapted - first).square().sum()
        (gradient,) = torch.autograd.grad(loss, adapted, create_graph=True)
        adapted = adapted - 0.2 * gradient
    query = half_squared_error(task.query.inputs[0] @ adapted.unsqueeze(-1), task.query.targets[0])
    (expected,) = torch.autograd.grad(query, first)
    exact = Quadratics.proximal_gradient(task, first.detach(), strength)
    assert exact.shape == (1, 4)
    assert (exact[0] - expected).abs().max() < 1e-12


def test_half_squared_error_by_hand_and_its_refusal_to_broadcast():
    assert half_squared_error(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 1.0])).item() == 2.5
    with pytest.raises(ValueError, match=r"predictions \[3, 1\] and targets \[3\] must have the same shape"):
        half_squared_error(torch.zeros(3, 1), torch.zeros(3))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Sinusoids(support=0), ValueError, "support must be at least 1, got 0"),
        (lambda: Sinusoids(query=-1), ValueError, "query must be at least 1, got -1"),
        (lambda: Sinusoids(support=2.0), TypeError, "support must be an integer"),
        (lambda: Sinusoids(amplitude=(5.0, 0.1)), ValueError, r"amplitude .* low <= high, got \(5, 0.1\)"),
        (lambda: Sinusoids(phase=(0.0, math.nan)), ValueError, r"phase\[1\] must be finite"),
        (lambda: Sinusoids(inputs=(1.0, 2.0, 3.0)), TypeError, "inputs must be two numbers"),
        (lambda: Sinusoids(dtype=torch.int64), TypeError, "dtype must be a floating dtype"),
        (lambda: Quadratics(0), ValueError, "dimension must be at least 1, got 0"),
        (lambda: Quadratics(2, support=0), ValueError, "support must be at least 1"),
        (lambda: Quadratics(2, noise=-0.1), ValueError, "noise must be at least 0"),
        (lambda: Quadratics(2, dtype=torch.bool), TypeError, "dtype must be a floating dtype"),
        (lambda: draw(Sinusoids(), count=0), ValueError, "count must be at least 1, got 0"),
        (lambda: draw(Quadratics(2), count=0), ValueError, "count must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: Quadratics.meta_gradient(t, torch.zeros(2), 0.0, 1), "lr must be greater than 0"),
        (lambda t: Quadratics.meta_gradient(t, torch.zeros(2), 0.1, -1), "num_steps must be at least 0"),
        (lambda t: Quadratics.meta_gradient(t, torch.zeros(3), 0.1, 1), r"shape \[2\] .* got \[3\]"),
        (lambda t: Quadratics.proximal_gradient(t, torch.zeros(2), 0.0), "strength must be greater than 0"),
        (lambda t: Quadratics.proximal_gradient(t, torch.zeros(1, 2), 1.0), r"shape \[2\] .* got \[1, 2\]"),
    ],
)
def test_bad_arguments_of_the_closed_forms_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(draw(Quadratics(2)))


def test_tasks_that_are_not_least_squares_are_refused():
    batch = Batch(torch.zeros(5, 2), torch.zeros(5))
    with pytest.raises(ValueError, match=r"targets \[N, 1\].* got \[5, 2\] and \[5\]"):
        Quadratics.meta_gradient(Task(batch, batch), torch.zeros(2), 0.1, 1)
