"""Models that draw random numbers: one function for each step of each task, so exact meta-gradients."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from cases import LOSS, WAYS, make_tasks, one
from metagrad import SGD, Binomial, Exact, Logarithmic, MetaLearner, tree
from metagrad.inner.loop import QUERY
from metagrad.inner.randomness import seeded, task_seed

TASKS = make_tasks((4,))
STEPS = 3


class FractionalPooling(nn.Module):
    """[N, 4] to [N, WAYS], regions of pooling drawn at random."""

    def __init__(self):
        super().__init__()
        self.first, self.pool, self.head = nn.Linear(4, 16), nn.FractionalMaxPool2d(2, 2), nn.Linear(4, WAYS)

    def forward(self, inputs):
        return self.head(self.pool(self.first(inputs).view(-1, 1, 4, 4)).flatten(1))


class Recurrent(nn.Module):
    """[N, 4] to [N, WAYS], dropout between the layers of an LSTM."""

    def __init__(self):
        super().__init__()
        self.memory, self.head = nn.LSTM(2, 3, 2, dropout=0.4, batch_first=True), nn.Linear(3, WAYS)

    def forward(self, inputs):
        return self.head(self.memory(inputs.view(-1, 2, 2))[0][:, -1])


MODELS = {
    "dropout": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.4), nn.Linear(8, WAYS)),
    "alpha-dropout": lambda: nn.Sequential(nn.Linear(4, 8), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(8, WAYS)),
    "rrelu": lambda: nn.Sequential(nn.Linear(4, 8), nn.RReLU(), nn.Linear(8, WAYS)),
    "fractional-pooling": FractionalPooling,
    "recurrent": Recurrent,
}


def oracle(model, task, seed=0, steps=STEPS):
    """Plain autograd through the loop under the same masks."""
    phi = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    theta, drawn = list(phi.values()), task_seed(task, seed)
    for k in range(steps):
        with seeded(drawn, k):
            loss = LOSS(functional_call(model, phi, (task.support.inputs,)), task.support.targets)
        slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
        phi = {name: p - 0.3 * slope for (name, p), slope in zip(phi.items(), slopes, strict=True)}
    with seeded(drawn, QUERY):
        query = LOSS(functional_call(model, phi, (task.query.inputs,)), task.query.targets)
    return query.detach(), torch.autograd.grad(query, theta)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "options", [{}, {"trajectory": Logarithmic()}, {"derivatives": "autograd"}, {"seed": 7}], ids=repr
)
def test_exact_under_the_same_masks(model, options):
    net = MODELS[model]().double()
    result = MetaLearner(net, LOSS, SGD(0.3), STEPS, Exact(), **options).meta_gradient(TASKS)
    each = [oracle(net, one(TASKS, t), options.get("seed", 0)) for t in range(2)]
    torch.testing.assert_close(result.loss, torch.stack([loss for loss, _ in each]), rtol=1e-10, atol=1e-12)
    for name, *slopes in zip(dict(net.named_parameters()), *(slopes for _, slopes in each), strict=True):
        torch.testing.assert_close(result.gradient["model"][name], sum(slopes) / 2, rtol=1e-9, atol=1e-12)


def test_the_same_call_twice_gives_the_same_numbers_and_leaves_the_generator_alone():
    learner = MetaLearner(MODELS["dropout"]().double(), LOSS, SGD(0.3), STEPS, Binomial(2))
    before = torch.random.get_rng_state()
    first, second = learner.meta_gradient(TASKS), learner.meta_gradient(TASKS)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, tree.leaves(first.gradient), tree.leaves(second.gradient)))
    assert torch.equal(learner.evaluate(TASKS).loss, learner.evaluate(TASKS).loss)


def test_tasks_and_steps_and_seeds_draw_different_masks():
    def mask(task, k, seed=0):
        with seeded(task_seed(task, seed), k):
            return torch.rand(64)

    masks = [mask(one(TASKS, t), k, seed) for t in (0, 1) for k in (0, 1, 2, QUERY) for seed in (0, 1)]
    assert len({tuple(m.tolist()) for m in masks}) == len(masks)


def test_dropout_follows_the_mode_of_the_module():
    net = MODELS["dropout"]().double()
    learner, plain = (MetaLearner(net, LOSS, SGD(0.3), STEPS, Exact()) for _ in range(2))
    noisy = learner.meta_gradient(TASKS)
    net.eval()
    quiet = learner.meta_gradient(TASKS)
    assert not torch.equal(noisy.loss, quiet.loss)
    assert torch.equal(quiet.loss, plain.meta_gradient(TASKS).loss)


def test_unrolled_steps_draw_as_those_of_a_task_do():
    net = MODELS["dropout"]().double()
    learner = MetaLearner(net, LOSS, SGD(0.3), STEPS, Exact())
    support = one(TASKS, 0).support
    first, second = learner.unroll(support), learner.unroll(support)
    assert torch.equal(first.losses, second.losses)
    halves = learner.unroll(support, 2, state=learner.unroll(support, 1).state)
    assert torch.equal(torch.cat([learner.unroll(support, 1).losses, halves.losses]), first.losses)
    F.mse_loss(first.model[0].weight, second.model[0].weight + 1).backward()
    assert net[0].weight.grad is not None


def test_threads_draw_under_their_own_seeds():
    """A thread that draws under seeds is no reason for another to call its model random."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3)).double()
    learner = MetaLearner(model, F.cross_entropy, SGD(0.1), 3, Exact(), seed=0)
    given = [make_tasks((4,), tasks=1, seed=seed) for seed in range(8)]
    expected = [learner.meta_gradient(task) for task in given]
    fresh = MetaLearner(model, F.cross_entropy, SGD(0.1), 3, Exact(), seed=0)
    with ThreadPoolExecutor(4) as pool:
        for actual, wanted in zip(pool.map(fresh.meta_gradient, given), expected, strict=True):
            assert torch.equal(tree.flat(actual.gradient), tree.flat(wanted.gradient))
