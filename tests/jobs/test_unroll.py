"""The model after inner steps in one's own graph: job 22 of a user, and what an ordinary backward pass allows."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jobs.by_hand import by_hand, unrolled
from metagrad import SGD, AdamW, Binomial, Exact, Learned, MetaLearner, Objective, SquareRoot, Steps
from rules.by_hand import adamw, sgd

K = 6


def net():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def points(seed, *lead):
    draw = torch.Generator().manual_seed(seed)
    made = [torch.randn(*lead, 4, size, generator=draw, dtype=torch.float64) for size in (3, 1)]
    return dict(zip("xy", made, strict=True))


def error(model, batch):
    return F.mse_loss(model(batch["x"]), batch["y"])


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.tensor([0.1, -0.2, 0.3, 0.0], dtype=torch.float64))


def weighted(model, batch, hyper):
    return (hyper.log.exp() * (model(batch["x"]) - batch["y"]).square().flatten()).mean()


def learner_of(model, rule, *, estimator=None, steps=K, hyper=None, **options):
    inner = error if hyper is None else weighted
    return MetaLearner(model, Objective(inner), rule, steps, estimator or Exact(), hyper=hyper, **options)


def close(module, slopes, branch="net"):
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.grad, slopes[f"{branch}.{name}"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", [Exact(), Binomial(K)], ids=repr)
@pytest.mark.parametrize("options", [{}, {"trajectory": SquareRoot()}, {"derivatives": "autograd"}], ids=str)
def test_two_query_sets_and_a_penalty(estimator, options):
    model, hyper = net(), Weights()
    learner = learner_of(model, AdamW(0.05, eps=1e-3), estimator=estimator, hyper=hyper, **options)
    adapted = learner.unroll(points(1))
    penalty = sum(p.square().sum() for p in adapted.parameters())
    (error(adapted, points(2)) + 0.5 * error(adapted, points(3)) + 0.01 * penalty).backward()

    def outer(model, batch, hyper):
        away = sum(p.square().sum() for p in model.parameters())
        return error(model, points(2)) + 0.5 * error(model, points(3)) + 0.01 * away

    _, slopes = by_hand(model, weighted, outer, points(1), None, K, adamw(0.05, eps=1e-3), hyper=hyper)
    close(model, slopes)
    close(hyper, slopes, "hyper")


RULES = {"sgd": SGD(0.1), "momentum": SGD(Learned(0.1, "step"), 0.8), "adamw": AdamW(Learned(0.05), eps=1e-3)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("feed", ["steps", "function"])
def test_carried_in_two_halves_equals_one_whole(rule, feed):
    batches = Steps(points(1, K))
    whole, halves = (learner_of(net(), RULES[rule], hyper=Weights()) for _ in range(2))
    error(whole.unroll(batches), points(2)).backward()
    if feed == "steps":
        first = halves.unroll(Steps(batches.at(slice(0, 2))))
        second = halves.unroll(Steps(batches.at(slice(2, K))), state=first.state)
    else:
        first = halves.unroll(batches.at, 2)
        second = halves.unroll(lambda k: batches.at(2 + k), K - 2, state=first.state)
    error(second, points(2)).backward()
    assert torch.equal(torch.cat([first.losses, second.losses]), whole.unroll(batches).losses)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-12, atol=1e-14)


def test_a_detached_state_cuts_what_came_before():
    model, hyper, batches = net(), Weights(), Steps(points(1, K))
    learner = learner_of(model, SGD(0.1), hyper=hyper)
    first = learner.unroll(batches.at, 2)
    second = learner.unroll(lambda k: batches.at(2 + k), K - 2, state=first.state.detach())
    error(second, points(2)).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    half = copy.deepcopy(model)
    half.load_state_dict(first.model.state_dict())

    def outer(model, batch, hyper):
        return error(model, batch)

    _, slopes = by_hand(half, weighted, outer, lambda k: batches.at(2 + k), points(2), K - 2, sgd(0.1), hyper=hyper)
    close(hyper, slopes, "hyper")


@pytest.mark.parametrize(
    ("rule", "step"), [(SGD(0.1, 0.8), sgd(0.1, 0.8)), (AdamW(0.05, eps=1e-3), adamw(0.05, eps=1e-3))]
)
@pytest.mark.parametrize("options", [{}, {"trajectory": SquareRoot()}], ids=str)
def test_losses_at_every_step_summed(rule, step, options):
    model, batches = net(), Steps(points(1, K))
    adapted = learner_of(model, rule, **options).unroll(batches, stops=range(1, K + 1))
    sum(k * error(adapted.at(k), points(2)) for k in range(1, K + 1)).backward()
    each = [by_hand(model, error, error, batches.at, points(2), k, step)[1] for k in range(1, K + 1)]
    close(model, {name: sum(k * slopes[name] for k, slopes in enumerate(each, 1)) for name in each[0]})


def test_one_stop_is_given_in_a_list():
    with pytest.raises(TypeError, match=r"stops must be several steps, such as \[2\], got 2"):
        learner_of(net(), SGD(0.1)).unroll(points(1), stops=2)


def test_hooks_of_parameters_fire_and_may_change_the_gradient():
    plain, hooked, seen = net(), net(), []
    hooked[0].weight.register_hook(lambda slope: 2 * slope)
    hooked[0].bias.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    for model in (plain, hooked):
        error(learner_of(model, SGD(0.1)).unroll(points(1)), points(2)).backward()
    torch.testing.assert_close(hooked[0].weight.grad, 2 * plain[0].weight.grad)
    torch.testing.assert_close(seen, [plain[0].bias.grad])


def test_grad_scaler():
    plain, scaled = net(), net()
    error(learner_of(plain, SGD(0.1)).unroll(points(1)), points(2)).backward()
    learner, scaler = learner_of(scaled, SGD(0.1)), torch.amp.GradScaler("cpu", init_scale=2.0**12)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    before = [p.detach().clone() for p in scaled.parameters()]
    scaler.scale(error(learner.unroll(points(1)), points(2))).backward()
    torch.testing.assert_close(scaled[0].weight.grad, 2**12 * plain[0].weight.grad)
    scaler.step(optimizer)
    for old, new, p in zip(before, scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(new, old - p.grad, rtol=1e-12, atol=1e-14)


def test_accumulation_retained_graphs_and_second_use():
    model, other = net(), net()
    adapted = learner_of(model, SGD(0.1)).unroll(points(1))
    loss = error(adapted, points(2))
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in model.parameters()]
    loss.backward(retain_graph=True)
    error(adapted, points(2)).backward()  # another expression of the same unrolled model
    for p, slope in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 3 * slope)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    tasks = [learner_of(other, SGD(0.1)).unroll(points(seed)) for seed in (1, 1)]
    sum(error(task, points(2)) for task in tasks).backward()
    for p, slope in zip(other.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * slope)


def test_what_an_unrolled_graph_refuses():
    model = net()
    learner = learner_of(model, SGD(0.1))
    loss = error(learner.unroll(points(1)), points(2))
    slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        sum(slope.sum() for slope in slopes).backward()
    loss = error(learner.unroll(points(1)), points(2))
    with torch.no_grad():
        model[0].weight += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_loss_may_read_the_start_and_a_head_of_ones_own():
    model, head = net(), nn.Linear(1, 2).double()
    adapted = learner_of(model, SGD(0.1)).unroll(points(1))
    F.mse_loss(head(adapted(points(2)["x"])), head(model(points(2)["x"]))).backward()
    theta, _, measure = unrolled(model, error, points(1), K, sgd(0.1))
    ends = measure(lambda model, batch: model(batch["x"]), points(2))
    start = {name.removeprefix("net."): p for name, p in theta.items()}
    starts = torch.func.functional_call(model, start, (points(2)["x"],))
    slopes = torch.autograd.grad(F.mse_loss(head(ends), head(starts)), [*theta.values(), *head.parameters()])
    for p, slope in zip([*model.parameters(), *head.parameters()], slopes, strict=True):
        torch.testing.assert_close(p.grad, slope, rtol=1e-9, atol=1e-12)
