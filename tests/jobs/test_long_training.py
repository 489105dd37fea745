"""AdamW on another minibatch at each of many steps: the same bits whatever is kept, and memory that says so."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jobs.by_hand import by_hand
from metagrad import AdamW, Exact, Logarithmic, MetaLearner, Objective, SquareRoot, Stored
from metagrad.memory import LiveTensors
from rules.by_hand import adamw

TRAJECTORIES = [Stored(), SquareRoot(), Logarithmic()]
EXAMPLES = 32


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(0.1 * torch.randn(EXAMPLES).double())


def each_loss(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


def weighted(model, batch, weights):
    return (weights.log[batch["index"]].exp() * each_loss(model, batch)).mean()


def outer(model, batch, weights):
    return each_loss(model, batch).mean()


def make(width):
    torch.manual_seed(5)
    data = {
        "x": torch.randn(EXAMPLES, 6).double(),
        "y": torch.randint(0, 3, (EXAMPLES,)),
        "index": torch.arange(EXAMPLES),
    }
    net = nn.Sequential(
        nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3)
    ).double()
    return net, data


def minibatches(data, steps):
    order = torch.randint(0, EXAMPLES, (steps, 4), generator=torch.Generator().manual_seed(6))
    return lambda k: {name: leaf[order[k]] for name, leaf in data.items()}


def learner_of(net, steps, trajectory):
    options = {"hyper": Weights(), "learn_start": False, "trajectory": trajectory}
    return MetaLearner(net, Objective(weighted, outer), AdamW(0.01, weight_decay=0.1), steps, Exact(), **options)


def through(learner, feed, data):
    """The gradient on the data weights."""
    outer(learner.unroll(feed), data, None).backward()
    return learner.hyper.log.grad.clone()


def test_100_steps_give_the_same_bits_whatever_is_kept():
    net, data = make(8)
    feed = minibatches(data, 100)
    learners = [learner_of(net, 100, trajectory) for trajectory in TRAJECTORIES]
    for learner in learners[1:]:
        learner.hyper.load_state_dict(learners[0].hyper.state_dict())
    stored, square_root, logarithmic = (through(learner, feed, data) for learner in learners)
    assert torch.equal(stored, square_root)
    assert torch.equal(stored, logarithmic)
    step = adamw(0.01, decay=0.1)
    _, slopes = by_hand(net, weighted, outer, feed, data, 100, step, hyper=learners[0].hyper)
    assert (stored - slopes["hyper.log"]).norm() <= 1e-9 * slopes["hyper.log"].norm()


def peak(compute):
    with LiveTensors() as live:
        compute()
    return live.peak


STEP_ITSELF = 21  # copies: a product and the transpose of the rule


def copies_held(width, steps, trajectory):
    """Most copies of the parameters that live at once; those of states and gradients by the cost."""
    net, data = make(width)
    copy, feed = sum(p.numel() * p.element_size() for p in net.parameters()), minibatches(data, steps)
    learner, cost = learner_of(net, steps, trajectory), trajectory.cost(steps)
    return peak(lambda: through(learner, feed, data)) / copy, 3 * cost.states + cost.gradients


@pytest.mark.slow
def test_100_steps_hold_what_their_cost_says_and_less_than_the_plain_loop():
    net, data = make(48)
    copy, feed = sum(p.numel() * p.element_size() for p in net.parameters()), minibatches(data, 100)
    step = adamw(0.01, decay=0.1)
    plain = peak(lambda: by_hand(net, weighted, outer, feed, data, 100, step, hyper=Weights())) / copy
    for trajectory in TRAJECTORIES:
        held, said = copies_held(48, 100, trajectory)
        assert said <= held <= min(said + STEP_ITSELF, plain)


@pytest.mark.slow
def test_1000_steps_hold_what_their_cost_says():
    held, said = copies_held(48, 1000, SquareRoot())
    assert said <= held <= said + STEP_ITSELF
    assert SquareRoot().cost(1000)[:2] == (64, 32)
