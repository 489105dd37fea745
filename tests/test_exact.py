"""`Exact` through the public `MetaLearner` equals plain autograd through the loop: models × rules × learners."""

import pytest
import torch

from cases import HEAD, LOSS, MODELS, NEEDS, RULES, make_tasks, one
from metagrad import Binomial, Exact, MetaLearner
from metagrad.inner.curvature import forward_over_reverse
from oracle import exact_meta_gradient

STEPS = 3
LEARNERS = {
    "whole": {},
    "part": {"adapts": True},
    "proximal": {"proximal": 0.7},
    "proximal-part": {"adapts": True, "proximal": 0.7},
}
FAST_RULES = ("nesterov", "rates-per-element")


def relative_error(actual, expected):
    difference = sum((a - e).square().sum() for a, e in zip(actual, expected, strict=True)).sqrt()
    return (difference / sum(e.square().sum() for e in expected).sqrt()).item()


# All rules on the perceptron, two on every other model; the rest of the table is slow only because it is long.
@pytest.mark.parametrize("learner_name", LEARNERS)
@pytest.mark.parametrize(
    ("model_name", "rule_name"),
    [
        pytest.param(model, rule, marks=[] if model == "mlp" or rule in FAST_RULES else [pytest.mark.slow])
        for model in MODELS
        for rule in RULES
    ],
)
def test_equals_autograd_through_the_loop(model_name, rule_name, learner_name):
    make, features = MODELS[model_name]
    model, rule, tasks = make().double(), RULES[rule_name], make_tasks(features)
    options = LEARNERS[learner_name] | NEEDS.get(model_name, {})
    if options.pop("adapts", False):
        options["adapts"] = HEAD[model_name]
    learner = MetaLearner(model, LOSS, rule, STEPS, Exact(), **options)

    def adapts(name):
        return "adapts" not in options or name.startswith(options["adapts"])

    learned = {name.removeprefix("lr"): p.detach().clone() for name, p in learner.learned_settings().items()}
    rates = {name.removeprefix("."): p.requires_grad_() for name, p in learned.items()}
    lr = rates.get("", rates) if rates else rule.lr
    oracle = [
        exact_meta_gradient(
            model,
            LOSS,
            one(tasks, t),
            lr=lr,
            steps=STEPS,
            adapts=adapts,
            proximal=options.get("proximal", 0.0),
            momentum=rule.momentum,
            nesterov=rule.nesterov,
        )
        for t in range(2)
    ]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objects = [(id(value), value.data_ptr()) for value in model.state_dict(keep_vars=True).values()]
    result = learner.backward(tasks)

    expected = [sum(o[1][name] for o in oracle) / 2 for name in oracle[0][1]]
    expected += [sum(rate) / 2 for rate in zip(*(o[2] for o in oracle), strict=True)]
    trainable = [p for p in model.parameters() if p.requires_grad]
    actual = [p.grad for p in trainable] + [rate.grad for rate in learner.rates]
    assert relative_error(actual, expected) <= 1e-10
    assert torch.allclose(result.loss, torch.stack([o[0] for o in oracle]), rtol=1e-12)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} of the user's model was changed"
    assert objects == [(id(value), value.data_ptr()) for value in model.state_dict(keep_vars=True).values()]


@pytest.mark.parametrize("model_name", ["mlp", "conv4", "batch-norm"])
@pytest.mark.parametrize("estimator", [Exact(), Binomial(2)], ids=repr)
def test_forward_over_reverse_gives_the_same(model_name, estimator):
    make, features = MODELS[model_name]
    model, tasks = make().double(), make_tasks(features)
    results = [
        MetaLearner(model, LOSS, RULES["sgd"], STEPS, estimator, adapts=HEAD[model_name], **options).meta_gradient(
            tasks
        )
        for options in ({}, {"curvature": forward_over_reverse})
    ]
    first, second = (list(r.gradient["model"].values()) for r in results)
    assert relative_error(second, first) <= 1e-10
