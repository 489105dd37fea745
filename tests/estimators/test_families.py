"""What families of estimators say of themselves is true, told apart, and all that the documentation says of them."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from metagrad import (
    Binomial,
    Exact,
    FiniteDifference,
    FirstOrder,
    Grouped,
    Hybrid,
    Implicit,
    MetaLearner,
    Parallel,
    Reptile,
    Truncated,
)
from metagrad.choosing.auto import wanted
from metagrad.estimators import ConjugateGradient, Cost, Family, register
from metagrad.estimators.families import candidates, families, families_of, family, members, named, unregister
from metagrad.estimators.table import BEGIN, renewed, table

ROOT = Path(__file__).parents[2]
ALL = families()


def formula(text, **letters):
    """The number that words such as "L(K−L+1)/2" stand for."""
    python = re.sub(r"([A-Za-z])\(", r"\1*(", text.replace("−", "-"))
    return eval(re.sub(r"(\d)([A-Z])", r"\1*\2", python), letters)


@pytest.mark.parametrize("one", [f for f in ALL if "sum" not in f.products], ids=lambda f: f.name)
@pytest.mark.parametrize("steps", [2, 5, 8])
def test_the_words_for_costs_are_the_costs(one, steps):
    for member in [*one.of_size(steps), one.usual]:
        size = one.size_of(member)
        if (size or 0) > steps or getattr(member, "window", 0) > steps:
            continue
        iterations = getattr(getattr(member, "solver", member), "iterations", None)
        letters = {"K": steps, "L": size, "n": iterations or size, "w": getattr(member, "window", None)}
        cost = member.cost(steps)
        assert formula(one.products, **letters) == cost.products
        assert formula(one.rounds, **letters) == cost.rounds
        assert (cost.solves == 0) == (one.solves == "0")


@pytest.mark.parametrize("one", ALL, ids=lambda f: f.name)
def test_members_belong_to_their_family_and_to_no_other(one):
    for member in [*one.of_size(5), one.usual]:
        assert family(member) is one


def test_each_family_has_a_name_and_a_colour_of_its_own():
    assert len({one.name for one in ALL}) == len({one.color for one in ALL}) == len(ALL)
    assert all(re.fullmatch(r"#[0-9A-Fa-f]{6}", one.color) for one in ALL)


@pytest.mark.parametrize(
    ("name", "estimator"),
    [
        ("maml", Exact()),
        ("MAML", Exact()),
        ("fomaml", FirstOrder()),
        ("first-order", FirstOrder()),
        ("imaml", Implicit()),
        ("fo-b-maml", FiniteDifference()),
        ("truncmaml", Truncated(window=2)),
        ("binommaml", Binomial(order=2)),
        ("binomial", Binomial(order=2)),
        ("binomial_auto", Binomial(order=2, center="auto")),
    ],
)
def test_names_and_aliases(name, estimator):
    assert named(name) == wanted(name) == estimator


def test_what_auto_may_choose_and_what_a_comparison_shows():
    assert {type(one) for one in candidates(6)} >= {Exact, FirstOrder, Truncated, Binomial, Grouped, Parallel}
    assert not {type(one) for one in candidates(6)} & {Hybrid, Implicit, FiniteDifference, Reptile}
    assert set(candidates(6)) < set(members(6))
    assert len(set(members(6))) == len(members(6))


def test_the_documents_have_the_table_as_it_is():
    """Renew it with `python -m metagrad.estimators.table FILE`."""
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))}
    pages = {path: text for path, text in texts.items() if BEGIN in text}
    assert pages
    for page, text in pages.items():
        assert renewed(text) == text, f"python -m metagrad.estimators.table {page}"
    with pytest.raises(ValueError, match="no table of estimators here"):
        renewed("nothing")


@dataclass(frozen=True)
class Half(Exact):
    """A stand-in for an estimator of one's own, which says that it is cheaper than Exact."""

    share: float = 0.5

    def cost(self, num_steps):
        return Cost(products=num_steps // 2, rounds=num_steps // 2)


@dataclass(frozen=True)
class Dear(Exact):
    """One that costs what Exact does."""


def test_a_class_that_says_nothing_is_a_family_of_its_own():
    (one,) = families_of(Half)
    assert (one.name, one.usual, one.label) == ("Half", Half(), "Half")
    assert family(Half(0.25)).usual == Half(0.25)


def test_registered_classes_are_listed_until_they_are_not():
    assert register(Half) is register(Half) is Half
    try:
        assert named("half") == Half()
        assert Half() in candidates(3)
        assert Half() in members(3)
        assert "| `Half(share=0.5)` |" in table()
    finally:
        unregister(Half)
    with pytest.raises(ValueError, match="unknown estimator 'half'"):
        named("half")
    with pytest.raises(ValueError, match="Half is not registered"):
        unregister(Half)
    assert Half() not in members(3)


def test_what_saves_nothing_is_no_candidate():
    register(Half)
    try:
        assert candidates(1) == [FirstOrder(), Half(), Exact()]
    finally:
        unregister(Half)
    register(Dear)
    try:
        assert Dear() in members(4)
        assert Dear() not in candidates(4)
    finally:
        unregister(Dear)


def test_what_cannot_be_registered_is_refused():
    @dataclass(frozen=True)
    class Unsaid(Exact):
        order: int

    @dataclass(frozen=True)
    class Taken(Exact):
        families = (Family(name="Taken", usual=Implicit(ConjugateGradient(2)), aliases=("FO-MAML",)),)

    with pytest.raises(TypeError, match="order"):
        register(Unsaid)
    with pytest.raises(ValueError, match=r"the name 'fomaml' belongs to FirstOrder\(\)"):
        register(Taken)
    with pytest.raises(TypeError, match="only a dataclass"):
        register(MetaLearner)
