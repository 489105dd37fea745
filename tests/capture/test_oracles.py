"""The oracles of the first slice with capture on: the same test functions, given captured learners.

A fallback would warn, and warnings are errors here: what passes was replayed from graphs.
"""

import pytest

import test_dense
import test_exact
import test_traps
from cases import HEAD, MODELS, RULES, captured

WAYS_TO_RUN = {
    "whole": {"mode": "whole"},
    "whole-1": {"mode": "whole", "task_chunk": 1},
    "pieces": {"mode": "pieces"},
    "pieces-2": {"mode": "pieces", "task_chunk": 2},
    "pieces-1-links": {"mode": "pieces", "task_chunk": 1, "link_chunk": 1},
    "pieces-streams": {"mode": "pieces", "task_chunk": 1, "streams": 2},
}
SMALL = ["mlp", "tied-and-frozen"]
LARGE = [name for name in MODELS if name not in SMALL and name != "lstm"]
network = test_dense.network


def rows(values, fast):
    """A table, of which only `fast` runs without the slow tests: each row traces for a second or more."""
    return [pytest.param(value, marks=[] if value in fast else pytest.mark.slow) for value in values]


def ways(*names, fast=tuple(WAYS_TO_RUN)):
    table = [
        pytest.param(WAYS_TO_RUN[name], id=name, marks=[] if name in fast else [pytest.mark.slow]) for name in names
    ]
    return pytest.mark.parametrize("way", table)


@pytest.fixture
def _captured(way, monkeypatch):
    for module in (test_exact, test_dense, test_traps):
        monkeypatch.setattr(module, "MetaLearner", captured(**way))


@ways("whole", "pieces-streams")
@pytest.mark.parametrize("learner_name", rows(test_exact.LEARNERS, ["proximal-part"]))
@pytest.mark.parametrize("rule_name", rows(RULES, ["nesterov"]))
@pytest.mark.usefixtures("_captured")
def test_exact_under_every_rule_and_learner(rule_name, learner_name):
    test_exact.test_equals_autograd_through_the_loop("mlp", rule_name, learner_name)


@ways(*WAYS_TO_RUN, fast=("whole", "pieces-1-links", "pieces-streams"))
@pytest.mark.parametrize("learner_name", rows(["part", "proximal"], ["part"]))
@pytest.mark.parametrize("rule_name", ["rates-per-tensor"])
@pytest.mark.parametrize("model_name", rows(SMALL, ["mlp"]))
@pytest.mark.usefixtures("_captured")
def test_exact_in_every_way(model_name, rule_name, learner_name):
    test_exact.test_equals_autograd_through_the_loop(model_name, rule_name, learner_name)


@pytest.mark.slow
@ways("whole", "pieces-streams")
@pytest.mark.parametrize(("rule_name", "learner_name"), [("rates-per-element", "proximal-part")])
@pytest.mark.parametrize("model_name", LARGE)
@pytest.mark.usefixtures("_captured")
def test_exact_on_every_model(model_name, rule_name, learner_name):
    test_exact.test_equals_autograd_through_the_loop(model_name, rule_name, learner_name)


@pytest.mark.slow
@ways("whole-1", "pieces-1-links")
@pytest.mark.usefixtures("_captured")
def test_exact_on_what_cannot_be_mapped():
    test_exact.test_equals_autograd_through_the_loop("lstm", "momentum", "part")


@pytest.mark.slow
@ways("whole", "pieces")
@pytest.mark.parametrize("estimator", [test_exact.Exact(), test_exact.Binomial(2)], ids=repr)
@pytest.mark.usefixtures("_captured")
def test_forward_over_reverse(estimator):
    test_exact.test_forward_over_reverse_gives_the_same("mlp", estimator)


@ways("whole", "pieces", "pieces-1-links")
@pytest.mark.parametrize("steps", rows([1, 2, 3], [1]))
@pytest.mark.parametrize("expansion", rows([(1.0, 0.0), ("paper", 0.0), (0.7, -0.3)], [(0.7, -0.3)]))
@pytest.mark.usefixtures("_captured")
def test_binomial(network, steps, expansion):
    test_dense.test_binomial_equals_the_sum_over_subsets(network, steps, *expansion)


@ways("whole", "pieces")
@pytest.mark.parametrize("window", rows([0, 1, 4, 5], [0]))
@pytest.mark.usefixtures("_captured")
def test_truncated_and_hybrid(network, window):
    test_dense.test_truncated_and_hybrid_equal_their_definitions(network, window)


@ways("whole", "pieces")
@pytest.mark.usefixtures("_captured")
def test_first_order(network):
    test_dense.test_first_order_is_the_outer_gradient(network)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "rule_name", "options"),
    [
        pytest.param(WAYS_TO_RUN[way], rule, options, id=f"{way}-{rule}-{options}")
        for rule in ("momentum", "rates-per-element")
        for options in test_traps.LEARNERS[1:3]
        # As a whole each takes half a minute to trace: one of them stands for the others.
        for way in ("whole", "pieces-streams")
        if way == "pieces-streams" or (rule, options) == ("rates-per-element", test_traps.LEARNERS[1])
    ],
)
@pytest.mark.usefixtures("_captured")
def test_binomial_of_full_order(rule_name, options):
    test_traps.test_binomial_of_full_order_is_exact_under_every_rule_and_learner(RULES[rule_name], options)


@pytest.mark.slow
@ways("pieces")
@pytest.mark.parametrize(
    "estimator",
    [
        test_traps.Implicit(test_traps.ConjugateGradient(30)),
        test_traps.FiniteDifference(1e-3, "fourth"),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("_captured")
def test_estimators_of_solutions(estimator):
    test_traps.test_estimators_of_solutions_include_the_direct_part_of_a_fixed_body(estimator)


def test_every_model_is_in_a_table():
    assert {*SMALL, *LARGE, "lstm"} == set(MODELS) == set(HEAD)
