"""Through 20 steps of every rule, exact meta-gradients equal plain autograd over rules written by hand."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch.func import jacrev

from jobs.by_hand import by_hand
from metagrad import SGD, Adam, AdamW, Clipped, Exact, Learned, MetaLearner, Objective, RMSprop, Task
from rules.by_hand import adam, adamw, clipped, rmsprop, sgd
from rules.test_values import STEPS, make_batch, make_net

PER = ["scalar", "tensor", "element", "step", ("step", "tensor"), ("step", "element")]
# Rule as a function of settings, the same by hand, and each setting with its value; the names by hand differ.
ROWS = {
    "sgd": (SGD, sgd, {"lr": 0.1}),
    "nesterov": (
        lambda **s: SGD(nesterov=True, **s),
        lambda **s: sgd(nesterov=True, **s),
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05},
    ),
    "momentum": (SGD, sgd, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05}),
    "adam": (Adam, adam, {"lr": 0.02, "eps": 1e-3, "weight_decay": 0.05, "eps_root": 1e-4}),
    "adamw": (AdamW, adamw, {"lr": 0.02, "eps": 1e-3, "weight_decay": 0.05}),
    "rmsprop": (RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-2, "weight_decay": 0.05, "momentum": 0.5}),
    "centered": (
        lambda **s: RMSprop(centered=True, **s),
        lambda **s: rmsprop(centered=True, **s),
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-2},
    ),
}


def in_hand(settings):
    """Settings under the names that they have by hand."""
    return {{"weight_decay": "decay", "eps_root": "root"}.get(name, name): value for name, value in settings.items()}


def error(model, batch):
    return F.cross_entropy(model(batch.inputs), batch.targets)


def task():
    support = make_batch()
    return Task(support, support._replace(inputs=support.inputs.flip(0)))


def compare(rule, make_step, learned):
    """`learned` is {name in the library: leaf}; `make_step` makes the step by hand from such leaves."""
    net, given = make_net(), task()
    learner = MetaLearner(net, Objective(error), rule, STEPS, Exact())
    settings = learner.learned_settings()
    assert set(settings) == set(learned)
    result = learner.backward([given])
    leaves = {name: settings[name].detach().clone().requires_grad_() for name in learned}
    step = make_step(leaves)
    loss, slopes = by_hand(net, error, error, given.support, given.query, STEPS, step, also=leaves.values())
    torch.testing.assert_close(result.loss[0], loss, rtol=1e-10, atol=1e-12)
    wanted = [slopes[f"net.{name}"] for name, _ in net.named_parameters()] + [slopes[i] for i in range(len(leaves))]
    ours = [p.grad for p in net.parameters()] + [settings[name].grad for name in learned]
    for own, hand in zip(ours, wanted, strict=True):
        assert own.isfinite().all()
        assert (own - hand).norm() <= 1e-9 * max(hand.norm(), 1e-3)


def by_name(leaves, setting, per):
    """A setting by hand: (name of the parameter, k) ↦ its number, of the leaves that the library learned."""
    per = (per,) if isinstance(per, str) else per

    def at(name, k):
        many = "tensor" in per or "element" in per
        leaf = leaves[f"{setting}.{name.removeprefix('net.')}" if many else setting]
        return leaf[k] if "step" in per else leaf

    return at


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("per", PER, ids=str)
def test_every_setting_learned(name, per):
    make, hand, values = ROWS[name]
    names = [n for n, _ in make_net().named_parameters()]
    many = "tensor" in per or "element" in per
    learned = [f"{s}.{n}" for s, n in product(values, names)] if many else list(values)
    compare(
        make(**{setting: Learned(value, per) for setting, value in values.items()}),
        lambda leaves: hand(**in_hand({s: by_name(leaves, s, per) for s in values})),
        learned,
    )


@pytest.mark.parametrize("name", ROWS)
def test_numbers_and_schedules(name):
    make, hand, values = ROWS[name]
    compare(make(**values), lambda _: hand(**in_hand(values)), [])
    falling = {s: (lambda k, v=v: v * 0.9**k) for s, v in values.items()}
    by_k = {s: (lambda name, k, v=v: v * 0.9**k) for s, v in values.items()}
    compare(make(**falling), lambda _: hand(**in_hand(by_k)), [])


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("per", ["scalar", "step"])
def test_clipped(name, per):
    make, hand, values = ROWS[name]
    compare(
        Clipped(make(**values), Learned(0.05, per)),
        lambda leaves: clipped(by_name(leaves, "max_norm", per), hand(**in_hand(values))),
        ["max_norm"],
    )


TORCH_DEFAULTS = {
    "adam": (Adam(0.02), adam(0.02)),
    "adamw": (AdamW(0.02), adamw(0.02)),
    "rmsprop": (RMSprop(), rmsprop(0.01)),
}


@pytest.mark.parametrize("name", TORCH_DEFAULTS)
def test_the_tiny_epsilon_of_torch_where_gradients_are_zero(name):
    rule, step = TORCH_DEFAULTS[name]
    compare(rule, lambda _: step, [])


@pytest.mark.parametrize("rule", [Adam(0.1, eps=0.01), AdamW(0.1, eps=0.01), RMSprop(0.1, eps=0.01)], ids=repr)
@pytest.mark.parametrize("earlier", [0, 3])
def test_the_derivative_of_a_step_at_zero_gradients_is_the_limit_of_differences(rule, earlier):
    state = rule.initial_state({"w": torch.tensor([0.7], dtype=torch.float64)})
    for k in range(earlier):
        state = rule.step(state, {"w": torch.zeros(1, dtype=torch.float64)}, {}, k)

    def stepped(g):
        return rule.step(state, {"w": g}, {}, earlier)["adapted"]["w"]

    at, tiny = torch.zeros(1, dtype=torch.float64), 1e-9
    difference = (stepped(at + tiny) - stepped(at - tiny)) / (2 * tiny)
    slope = jacrev(stepped)(at).flatten()
    torch.testing.assert_close(slope, difference, rtol=1e-5, atol=0.0)
    assert slope.abs() > 1
    _, on_gradient, _ = rule.pull(
        {name: {"w": torch.ones(1).double() if name == "adapted" else torch.zeros(1).double()} for name in state},
        {}, earlier, lambda: (state, {"w": at}),
    )  # fmt: skip
    torch.testing.assert_close(on_gradient["w"], slope)
