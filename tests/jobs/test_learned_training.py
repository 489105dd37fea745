"""Training itself meta-learned: hyperparameters, data weights, networks and optimizers: jobs 16 to 19."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from jobs.by_hand import by_hand, check
from metagrad import SGD, AdamW, Binomial, Exact, Learned, MetaLearner, Objective, SquareRoot, Task, UpdateRule, tree
from rules.by_hand import sgd


def net():
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def points(examples=8):
    return {"x": torch.randn(examples, 2).double(), "y": torch.randint(0, 3, (examples,))}


def error(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"])


class Weights(nn.Module):
    """A weight of each example."""

    def __init__(self, examples):
        super().__init__()
        self.log = nn.Parameter(0.1 * torch.randn(examples).double())


def weighted(model, batch, hyper):
    losses = F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")
    return (hyper.log.exp() * losses).mean()


def outer(model, batch, hyper):
    return error(model, batch)


@pytest.mark.parametrize("options", [{}, {"trajectory": SquareRoot()}], ids=str)
def test_validation_gradient_of_rate_decay_by_layer_and_data_weights(options):
    model, hyper, train, valid = net(), Weights(8), points(), points()
    rule = SGD(Learned(0.1), weight_decay=Learned(0.02, per="tensor"))
    learner = MetaLearner(
        model, Objective(weighted, outer), rule, 50, Exact(), hyper=hyper, learn_start=False, **options
    )
    learner.backward([Task(train, valid)])

    lr, decay = (
        torch.tensor(0.1, dtype=torch.float64),
        {f"net.{n}": torch.tensor(0.02, dtype=torch.float64) for n, _ in model.named_parameters()},
    )
    for leaf in (lr, *decay.values()):
        leaf.requires_grad_()
    step = lambda phi, g, k: {n: p - lr * (g[n] + decay[n] * p) for n, p in phi.items()}  # noqa: E731
    _, slopes = by_hand(model, weighted, outer, train, valid, 50, step, hyper=hyper, also=[lr, *decay.values()])
    torch.testing.assert_close(hyper.log.grad, slopes["hyper.log"], rtol=1e-9, atol=1e-12)
    settings = {name: p.grad for name, p in learner.learned_settings().items()}
    torch.testing.assert_close(settings["lr"], slopes[0], rtol=1e-9, atol=1e-12)
    for number, (name, _) in enumerate(model.named_parameters(), 1):
        torch.testing.assert_close(settings[f"weight_decay.{name}"], slopes[number], rtol=1e-9, atol=1e-12)
    assert all(p.grad is None for p in model.parameters())


def test_weight_network():
    def inner(model, batch, network):
        losses = F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")
        return (network(losses.detach()[:, None]).flatten() * losses).mean()

    network = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid()).double()
    model, tasks = net(), [Task(points(), points()) for _ in range(2)]
    learner = MetaLearner(model, Objective(inner, outer), SGD(0.3), 5, Exact(), hyper=network, learn_start=False)
    expected = [by_hand(model, inner, outer, t.support, t.query, 5, sgd(0.3), hyper=network) for t in tasks]
    check(learner.meta_gradient(tasks), expected)


class Images(nn.Module):
    """Distilled examples, one for each class."""

    def __init__(self):
        super().__init__()
        self.x, self.log_rate = nn.Parameter(torch.randn(3, 2).double()), nn.Parameter(torch.zeros(()).double())


@pytest.mark.parametrize("estimator", [Exact(), Binomial(10)], ids=repr)
def test_dataset_distillation(estimator):
    def inner(model, batch, images):
        return images.log_rate.exp() * F.cross_entropy(model(images.x), batch["classes"])

    images, model, data = Images(), net(), points()
    learner = MetaLearner(model, Objective(inner, outer), SGD(0.3), 10, estimator, hyper=images, learn_start=False)
    classes = {"classes": torch.arange(3)}
    expected = by_hand(model, inner, outer, classes, data, 10, sgd(0.3), hyper=images)
    check(learner.meta_gradient([Task(classes, data)]), [expected])
    error(learner.unroll(classes), data).backward()  # what the outer function reads is not asked of the support set
    torch.testing.assert_close(images.x.grad, expected[1]["hyper.x"], rtol=1e-9, atol=1e-12)
    assert learner.adapt(classes)(data["x"]).shape == (8, 3)


def test_learned_loss():
    def inner(model, batch, network):
        predictions = model(batch["x"]).softmax(-1)
        return network(torch.cat([predictions, torch.eye(3).double()[batch["y"]]], -1)).mean()

    network, model = nn.Sequential(nn.Linear(6, 4), nn.Softplus(), nn.Linear(4, 1)).double(), net()
    learner = MetaLearner(model, Objective(inner, outer), SGD(0.3), 5, Exact(), hyper=network)
    tasks = [Task(points(), points(6)) for _ in range(2)]
    expected = [by_hand(model, inner, outer, t.support, t.query, 5, sgd(0.3), hyper=network) for t in tasks]
    check(learner.meta_gradient(tasks), expected)


class LearnedOptimizer(UpdateRule):
    """A network of (gradient, momentum) gives each number's step; its state has a momentum and a count of steps."""

    def __init__(self):
        self.network = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    def initial_meta(self, adapted, num_steps):
        return {"network": {**dict(self.network.named_parameters())}, "decay": torch.tensor(0.8, dtype=torch.float64)}

    def initial_state(self, adapted):
        return {"adapted": adapted, "momentum": tree.scale(adapted, 0.0), "count": torch.tensor(0)}

    def step(self, state, gradient, meta, k):
        momentum = tree.map(lambda m, g: meta["decay"] * m + g, state["momentum"], gradient)

        def moved(p: Tensor, g: Tensor, m: Tensor) -> Tensor:
            features = torch.stack([g, m], -1)
            return p - 0.1 * functional_call(self.network, meta["network"], (features,)).squeeze(-1)

        return {
            "adapted": tree.map(moved, state["adapted"], gradient, momentum),
            "momentum": momentum,
            "count": state["count"] + 1,
        }


@pytest.mark.parametrize("learn_start", [True, False])
def test_learned_optimizer_through_20_steps(learn_start):
    rule, model, tasks = LearnedOptimizer(), net(), [Task(points(), points()) for _ in range(2)]
    learner = MetaLearner(model, Objective(error), rule, 20, Exact(), learn_start=learn_start)
    learner.backward(tasks)

    own = {name: p.detach().clone().requires_grad_() for name, p in rule.network.named_parameters()}
    decay, momentum = torch.tensor(0.8, dtype=torch.float64).requires_grad_(), {}

    def step(phi, slopes, k):
        for n, g in slopes.items():
            momentum[n] = g if k == 0 else decay * momentum[n] + g
        features = {n: torch.stack([g, momentum[n]], -1) for n, g in slopes.items()}
        return {n: p - 0.1 * functional_call(rule.network, own, (features[n],)).squeeze(-1) for n, p in phi.items()}

    each = [by_hand(model, error, error, t.support, t.query, 20, step, also=[*own.values(), decay])[1] for t in tasks]
    got = {name: p.grad for name, p in learner.learned_settings().items()}
    for number, name in enumerate([*(f"network.{n}" for n in own), "decay"]):
        torch.testing.assert_close(got[name], (each[0][number] + each[1][number]) / 2, rtol=1e-9, atol=1e-12)
    for name, p in model.named_parameters():
        wanted = (each[0][f"net.{name}"] + each[1][f"net.{name}"]) / 2
        torch.testing.assert_close(p.grad, wanted if learn_start else None, rtol=1e-9, atol=1e-12)


def test_adamw_with_learned_decay_by_layer():
    rule = AdamW(0.05, weight_decay=Learned(0.1, per="tensor"), eps=1e-4)
    learner = MetaLearner(net(), Objective(error), rule, 5, Exact())
    learner.backward([Task(points(), points())])
    assert all(p.grad.abs() > 0 for p in learner.learned_settings().values())
