"""What an unrolled model refuses between its forward and its backward pass, and modules that know their axes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metagrad import SGD, Batch, Exact, MetaLearner, Steps

K = 2


class Scaled(nn.Module):
    """Batch norm, a buffer and a frozen parameter: all that a call reads beside trained parameters."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)
        self.frozen = nn.Parameter(torch.tensor(1.5), requires_grad=False)
        self.register_buffer("scale", torch.tensor(0.7))

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.first(x)) * self.scale)) * self.frozen


def make():
    torch.manual_seed(0)
    model = Scaled().double()
    return model, MetaLearner(model, F.mse_loss, SGD(0.1), K, Exact())


def batch(*lead):
    return Batch(torch.randn(*lead, 5, 3, dtype=torch.float64), torch.randn(*lead, 5, 1, dtype=torch.float64))


CHANGES = {
    "data": (lambda model, given: given.inputs.mul_(2), "support inputs was changed in place after unroll"),
    "targets": (lambda model, given: given.targets.zero_(), "support targets was changed in place"),
    "buffer": (lambda model, given: model.scale.mul_(2), "buffer 'scale' was changed in place"),
    "frozen": (lambda model, given: model.frozen.mul_(2), "parameter 'frozen' was"),
    "mode": (lambda model, given: model.eval(), "Scaled was switched between train and eval mode"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_before_backward_are_refused(change):
    (model, learner), given = make(), batch()
    loss = learner.unroll(given).model.first.weight.square().sum()
    apply, message = CHANGES[change]
    apply(model, given)
    with pytest.raises(ValueError, match=message):
        loss.backward()


def test_changes_that_nothing_reads_again_are_allowed():
    (model, learner), given, query = make(), batch(), batch()
    start = dict(model.named_parameters())
    expected = torch.autograd.grad(learner.unroll(given).model.first.weight.square().sum(), [start["first.weight"]])
    loss = learner.unroll(given).model.first.weight.square().sum()
    model(query.inputs)  # moves running statistics, which batch norm in train mode does not read
    assert torch.equal(torch.autograd.grad(loss, [start["first.weight"]])[0], expected[0])


def test_steps_reach_modules_that_know_their_axes():
    """Batch norm takes [N, C] alone; by plain autograd through the loop."""
    model, learner = make()
    steps, query = batch(K), batch()
    F.mse_loss(learner.unroll(Steps(steps))(query.inputs), query.targets).backward()
    theta = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if p.requires_grad}
    phi = theta
    for k in range(K):
        loss = F.mse_loss(torch.func.functional_call(model, phi, (steps.inputs[k],)), steps.targets[k])
        slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
        phi = {n: p - 0.1 * slope for (n, p), slope in zip(phi.items(), slopes, strict=True)}
    loss = F.mse_loss(torch.func.functional_call(model, phi, (query.inputs,)), query.targets)
    for (name, _), slope in zip(theta.items(), torch.autograd.grad(loss, list(theta.values())), strict=True):
        torch.testing.assert_close(model.get_parameter(name).grad, slope, rtol=1e-9, atol=1e-12)
