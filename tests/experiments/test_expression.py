"""Constructor expressions: what they build, what they refuse, and that they never run anything."""

import pytest

from metagrad.estimators import (
    Binomial,
    ConjugateGradient,
    Exact,
    FiniteDifference,
    FirstOrder,
    Grouped,
    Hybrid,
    Implicit,
    Neumann,
    Parallel,
    Reptile,
    Split,
    Truncated,
)
from metagrad.experiments.expression import ESTIMATORS, RULES, SOLVERS, kind_of, parse, short, titled, written
from metagrad.rules import SGD, Learned

OBJECTS = [
    Exact(),
    FirstOrder(),
    Reptile(),
    Truncated(window=3),
    Binomial(order=3, scale="paper"),
    Binomial(order=1, scale=0.5, center=0.2),
    Binomial(order=2, center="auto"),
    Parallel(rounds=3),
    Grouped(groups=2),
    Hybrid(window=4, order=2),
    Split(window=2, late=Exact(), early=Binomial(order=1)),
    Split(window=1, late=Truncated(window=1), early=Split(window=1)),
    Implicit(solver=ConjugateGradient(iterations=10, damping=0.5)),
    Implicit(solver=Neumann(iterations=3)),
    FiniteDifference(nudge=1e-3, sides="fourth"),
    SGD(lr=0.1),
    SGD(lr=0.1, momentum=0.5, nesterov=True),
    SGD(lr=Learned(0.1, "tensor")),
]


@pytest.mark.parametrize("value", OBJECTS, ids=repr)
def test_repr_and_short_form_build_the_object_again(value):
    assert parse(repr(value), kind_of(value)) == value
    assert parse(short(value), kind_of(value)) == value
    assert written(value) == repr(value)


def test_short_form_leaves_defaults_out():
    assert short(Binomial(order=2)) == "Binomial(order=2)"
    assert short(Split(window=2, early=Binomial(order=1))) == "Split(window=2, early=Binomial(order=1))"
    assert short(Implicit()) == "Implicit()"
    assert titled(SGD()) == "SGD(lr=0.01)"
    assert titled(SGD(0.1, momentum=0.9)) == "SGD(lr=0.1, momentum=0.9)"
    assert titled(Exact()) == "Exact()"


@pytest.mark.parametrize("text", ["truncated", "Truncated", "TRUNCATED", " truncated "])
def test_bare_names_take_the_arguments_given_for_them(text):
    assert parse(text, ESTIMATORS) == Truncated(window=2)


@pytest.mark.parametrize("text", ["first-order", "first_order", "firstorder", "FirstOrder()"])
def test_names_are_read_generously(text):
    assert parse(text, ESTIMATORS) == FirstOrder()


def test_positional_arguments_and_nested_bare_names():
    assert parse("Split(2, Exact, binomial(1))", ESTIMATORS) == Split(2, Exact(), Binomial(1))


def test_every_estimator_has_a_bare_form():
    for group in (ESTIMATORS, RULES, SOLVERS):
        for cls in group.classes():
            assert type(parse(cls.__name__, group)) is cls


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bogus", "unknown name 'bogus'; known are Binomial"),
        ("binomal", "did you mean Binomial"),
        ("SGD(lr=0.1)", "unknown name 'SGD'"),
        ("Binomial(ordr=2)", "did you mean 'order'"),
        ("Binomial(order=2, order=3)", "got 'order' twice"),
        ("Binomial(2, order=3)", "got 'order' twice"),
        ("Exact(1)", "takes no arguments"),
        ("Binomial()", r"Binomial needs order: write Binomial\(order=...\)"),
        ("Binomial(order=-1)", "order must be at least 0, got -1"),
        ("Binomial(order='x')", "order must be an integer"),
        ("Split(window=2, late=SGD())", "late must be an estimator"),
        ("Binomial(order=", "not an expression"),
        ("", "not an expression"),
        ("3", "not a call"),
        ("Binomial(order=1+1)", "'1 \\+ 1' is not allowed"),
        ("Binomial(**{'order': 1})", "is not allowed"),
        ("Binomial(order=[i for i in (1,)])", "is not allowed"),
        ("__import__('os').getcwd()", "is not allowed"),
        ("Exact().__class__()", "are$"),
        ("my_module.Mine()", "calls of known classes are; one of your own is typed my_module:Mine$"),
        ("Binomial(order=(lambda: 1)())", "is not allowed"),
        ("(" * 5000, "may have 1000 characters"),
        ("(" * 900, "not an expression"),
        ("Exact(\0)", "not an expression"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(text, ESTIMATORS)
