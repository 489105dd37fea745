"""One table: every estimator that the package ships × every rule."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metagrad import (
    SGD,
    Adam,
    AdamW,
    Binomial,
    Clipped,
    Exact,
    FirstOrder,
    Grouped,
    Hybrid,
    Learned,
    MetaLearner,
    Objective,
    Parallel,
    RMSprop,
    Transform,
    Truncated,
    tree,
)
from metagrad.estimators.families import family, members
from rules.test_meta_gradients import task
from rules.test_transform import heavy_ball

K = 3
RULES = {
    "sgd": SGD(0.1),
    "all-of-sgd": SGD(0.1, 0.8, True, 0.05),
    "learned": SGD(Learned(0.1, ("step", "tensor")), Learned(0.5), weight_decay=Learned(0.01, "element")),
    "scheduled": SGD(lambda k: 0.1 / (k + 1)),
    "adam": Adam(0.02, eps=0.1),
    "adamw": AdamW(Learned(0.02), eps=0.1, weight_decay=0.1),
    "rmsprop": RMSprop(0.02, eps=0.1, momentum=0.5, centered=True),
    "clipped": Clipped(SGD(0.3, 0.5), max_norm=0.2),
    "clipped-adamw": Clipped(AdamW(0.02, eps=0.1), Learned(0.2)),
    "transform": Transform(*heavy_ball(0.1, 0.8)),
}


def error(model, batch):
    return F.cross_entropy(model(batch.inputs), batch.targets)


def net():
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def gradient(estimator, rule, model=None, steps=K, **options):
    learner = MetaLearner(model or net(), Objective(error), rule, steps, estimator, **options)
    result = learner.meta_gradient([task()])
    assert tree.leaves(result.gradient)
    return result.gradient


def flat(gradient):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(gradient)])


# Estimators of solutions ask for a proximal term; as Reptile, they do not reach what a rule learns.
OPTIONS = {"solution": {"proximal": 0.5}}
LEARNS = {"learned", "adamw", "clipped-adamw"}


@pytest.mark.parametrize("estimator", members(K), ids=repr)
@pytest.mark.parametrize("rule", RULES)
def test_every_pair_gives_a_gradient_or_says_what_it_does_not_reach(estimator, rule):
    kind = family(estimator).estimates
    if kind != "meta-gradient" and rule in LEARNS:
        with pytest.raises(ValueError, match=r"gives no gradient to rule\."):
            gradient(estimator, RULES[rule], **OPTIONS.get(kind, {}))
        return
    found = flat(gradient(estimator, RULES[rule], **OPTIONS.get(kind, {})))
    assert found.isfinite().all()
    if kind == "meta-gradient":
        exact = flat(gradient(Exact(), RULES[rule]))
        assert (found - exact).norm() < exact.norm()  # nearer than nothing


WHOLE = [Truncated(K), Binomial(K), Binomial(K, center=0.3), Hybrid(K, K), Grouped(K), Parallel(K)]


@pytest.mark.parametrize("estimator", WHOLE, ids=repr)
@pytest.mark.parametrize("rule", RULES)
def test_estimators_that_leave_nothing_out_are_exact_under_every_rule(estimator, rule):
    exact = flat(gradient(Exact(), RULES[rule]))
    assert (flat(gradient(estimator, RULES[rule])) - exact).norm() <= 1e-9 * exact.norm()


def with_rate(rule, lr):
    """The rule with another learning rate."""
    if isinstance(rule, Clipped):
        return replace(rule, rule=with_rate(rule.rule, lr))
    if isinstance(rule, Transform):
        return Transform(*heavy_ball(lr, 0.8))
    if callable(rule.lr):
        return replace(rule, lr=lambda k: lr / (k + 1))
    return replace(rule, lr=replace(rule.lr, value=lr) if isinstance(rule.lr, Learned) else lr)


SLOPES = [(FirstOrder(), 1), (Truncated(1), 1), (Binomial(1), 2), (Binomial(2), 3), (Hybrid(2, 1), 1)]


@pytest.mark.parametrize(("estimator", "slope"), SLOPES, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_the_error_falls_with_its_slope_in_the_step_size(estimator, slope, rule):
    errors = []
    for lr in (1e-2, 1e-3):
        there = with_rate(RULES[rule], lr)
        exact, found = (gradient(e, there, steps=4)["model"] for e in (Exact(), estimator))
        errors.append((flat(found) - flat(exact)).norm())
    assert math.log10(errors[0] / errors[1]) == pytest.approx(slope, abs=0.15)
