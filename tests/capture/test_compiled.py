"""What is really compiled by TorchInductor: one network as a whole, one in pieces. Slow, so that is all."""

import pytest
import torch
from torch import nn

from cases import LOSS, WAYS, make_conv, make_mlp, make_tasks
from metagrad import SGD, Binomial, Exact, MetaLearner, tree
from metagrad.capture import Capture

pytestmark = pytest.mark.slow


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


def agrees(learner, tasks):
    actual = learner.meta_gradient(tasks)
    kept, learner.capture = learner.capture, Capture("off")
    expected = learner.meta_gradient(tasks)
    learner.capture = kept
    assert (flat(actual) - flat(expected)).norm() <= 1e-10 * flat(expected).norm()
    torch.testing.assert_close(actual.loss, expected.loss, rtol=1e-10, atol=0)


def replays(learner, features, said):
    agrees(learner, make_tasks(features, tasks=4))
    compiled = len(said)
    assert any(message.startswith("compiled") for message in said)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(0.8)
    agrees(learner, make_tasks(features, tasks=4, seed=3))
    assert len(said) == compiled


def test_a_small_network_as_a_whole():
    said = []
    learner = MetaLearner(make_mlp().double(), LOSS, SGD(0.3), 1, Exact(), proximal=0.5)
    learner.capture = Capture("whole", announce=said.append)
    replays(learner, (4,), said)


def test_convolutions_with_max_pooling_in_pieces_on_two_streams():
    said = []
    blocks = make_conv().features[:8]  # two of the four: what is between blocks is there, and half as much to compile
    model = nn.Sequential(blocks, nn.Flatten(), nn.Linear(3 * 2 * 2, WAYS)).double()
    learner = MetaLearner(model, LOSS, SGD(0.3), 3, Binomial(2), task_chunk=1, link_chunk=1)
    learner.capture = Capture("pieces", 2, announce=said.append)
    replays(learner, (1, 8, 8), said)
    # One graph each: what one piece returns must not differ in its strides from what another was compiled for.
    assert len([message for message in said if message.startswith("compiled")]) == 3
