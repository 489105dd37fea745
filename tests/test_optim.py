import pytest
import torch

from metagrad.optim import NormalizedSGD


def parameter(*values):
    p = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
    return p


def test_normalised_step_has_length_lr_whatever_the_gradient():
    a, b = parameter(0.0, 0.0), parameter(0.0)
    optimizer = NormalizedSGD([{"params": [a]}, {"params": [b]}], lr=0.5, momentum=0.0)
    a.grad, b.grad = torch.tensor([3e4, 0.0], dtype=torch.float64), torch.tensor([4e4], dtype=torch.float64)
    optimizer.step()
    assert torch.allclose(torch.cat([a, b]), torch.tensor([-0.3, 0.0, -0.4], dtype=torch.float64))


def test_momentum_averages_gradients():
    a = parameter(0.0, 0.0)
    optimizer = NormalizedSGD([a], lr=1.0, momentum=0.5)
    a.grad = torch.tensor([1.0, 0.0], dtype=torch.float64)
    optimizer.step()
    a.grad = torch.tensor([0.0, 1.0], dtype=torch.float64)
    optimizer.step()
    # m = (.5, 0), then (.25, .5).
    second = torch.tensor([0.25, 0.5], dtype=torch.float64)
    assert torch.allclose(a, torch.tensor([-1.0, 0.0], dtype=torch.float64) - second / second.norm())


def test_clipped_step_is_plain_for_small_and_of_length_gamma_for_large_momentum():
    for size, length in ((0.1, 0.1 * 0.5), (100.0, 2.0)):
        a = parameter(0.0)
        optimizer = NormalizedSGD([a], lr=0.5, momentum=0.0, clip=2.0)
        a.grad = torch.tensor([size], dtype=torch.float64)
        optimizer.step()
        assert a.item() == pytest.approx(-length)


def test_zero_gradient_moves_nothing_and_missing_gradients_are_skipped():
    a, b = parameter(1.0), parameter(2.0)
    optimizer = NormalizedSGD([a, b], lr=0.5)
    optimizer.step()
    a.grad = torch.zeros_like(a)
    optimizer.step()
    assert (a.item(), b.item()) == (1.0, 2.0)


def test_works_with_schedulers_and_state_dict():
    a = parameter(0.0)
    optimizer = NormalizedSGD([a], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    a.grad = torch.ones_like(a)
    optimizer.step()
    scheduler.step()
    optimizer.step()
    assert a.item() == pytest.approx(-1.1)
    again = NormalizedSGD([a], lr=5.0)
    again.load_state_dict(optimizer.state_dict())
    assert torch.equal(again.state[a]["momentum"], optimizer.state[a]["momentum"])
    assert again.step(lambda: 4.5) == 4.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr must be greater than 0"),
        ({"lr": 1.0, "momentum": 1.0}, "momentum must be less than 1"),
        ({"lr": 1.0, "momentum": -0.1}, "momentum must be at least 0"),
        ({"lr": 1.0, "clip": 0.0}, "clip must be greater than 0"),
    ],
)
def test_hyperparameters_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        NormalizedSGD([parameter(0.0)], **options)
