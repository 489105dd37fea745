"""Every family of estimators: those that come with the package, those that users registered, and that of any other."""

import difflib
import warnings
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import TypeVar

from metagrad import estimators
from metagrad.estimators.base import Cost, Estimator
from metagrad.estimators.family import Family

_Class = TypeVar("_Class", bound=type[Estimator])
_registered: list[type[Estimator]] = []

_LONG = 10  # inner steps; families are listed by what they cost in a loop of so many


def register(cls: _Class) -> _Class:
    """Make an estimator of one's own known by its name, as those of this package are; also as a decorator.

    From then on `Auto` and `metagrad compare` consider it, and `estimator="its_name"` and the command line know it.
    What figures and tables say of it stands in its attribute `families`; without that it is one grey family. Tell the
    command line with `--estimator my_module:MyEstimator()`, which registers nothing, or `--import my_module`.

        >>> from dataclasses import dataclass
        >>> from metagrad.estimators import Exact, register
        >>> @register
        ... @dataclass(frozen=True)
        ... class Again(Exact):
        ...     '''Exact under another name.'''
        >>> from metagrad.estimators.families import named, unregister
        >>> named("again")
        Again()
        >>> unregister(Again)

    Raises:
        TypeError: not a frozen dataclass that is an `Estimator`, or one that needs arguments and has no `families`.
        ValueError: another estimator has the name, or an alias.
    """
    if not (isinstance(cls, type) and issubclass(cls, Estimator) and is_dataclass(cls)):
        raise TypeError(f"only a dataclass that is a metagrad.estimators.Estimator can be registered, got {cls!r}")
    if not cls.__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
        raise TypeError(f"{cls.__name__} must be a frozen dataclass, because estimators are compared and looked up")
    own = families_of(cls)
    place = (cls.__module__, cls.__qualname__)  # a module that is imported again brings its class again
    others = [known for known in _registered if (known.__module__, known.__qualname__) != place]
    taken = _names([*shipped(), *others])
    for name in _names_of(cls, own):
        if name in taken:
            raise ValueError(f"the name {name!r} belongs to {taken[name]!r} already; give {cls.__name__} another")
    _registered[:] = [*others, cls]
    return cls


def unregister(cls: type[Estimator]) -> None:
    """Forget a registered estimator.

    Raises:
        ValueError: it is not registered.
    """
    if cls not in _registered:
        raise ValueError(f"{cls.__name__} is not registered")
    _registered.remove(cls)


def shipped() -> tuple[type[Estimator], ...]:
    """The classes of this package, by name."""
    public = (getattr(estimators, name) for name in estimators.__all__)
    classes = [thing for thing in public if isinstance(thing, type) and issubclass(thing, Estimator)]
    return tuple(sorted((cls for cls in classes if is_dataclass(cls)), key=lambda cls: cls.__name__))


def registered() -> tuple[type[Estimator], ...]:
    """Those of users, in the order of their registration."""
    return tuple(_registered)


def classes() -> tuple[type[Estimator], ...]:
    """All that have a name: those of this package, then those of users in the order of their registration."""
    return (*shipped(), *_registered)


def families() -> list[Family]:
    """Every family, the cheapest first and those that need a proximal term last."""
    every = [family for cls in classes() for family in families_of(cls)]

    def by_cost(family: Family) -> tuple[bool, int, int, int]:
        cost = family.usual.cost(_LONG)
        return bool(family.needs), cost.rounds, cost.products, cost.solves

    return sorted(every, key=by_cost)


def members(num_steps: int) -> list[Estimator]:
    """Every estimator worth a row of a comparison for a loop of `num_steps` steps, cheapest families first."""
    return [member for family in families() for member in family.of_size(num_steps)]


def candidates(num_steps: int) -> list[Estimator]:
    """Every estimator that `Auto` considers for K = `num_steps`, cheapest first: by rounds, then products.

    Those that cost the same come in the order of their classes' names, users' own last; `Exact` is among them, and
    nothing that saves neither rounds nor products over it.
    """
    listed = [
        member
        for cls in classes()
        for family in families_of(cls)
        if family.auto and family.estimates == "meta-gradient"
        for member in family.of_size(num_steps)
    ]
    exact = estimators.Exact()
    most = exact.cost(num_steps)

    def saves(cost: Cost) -> bool:
        return cost.rounds < most.rounds or cost.products < most.products

    costs = {i: member.cost(num_steps) for i, member in enumerate(listed)}
    order = sorted(costs, key=lambda i: (costs[i].rounds, costs[i].products))
    return [listed[i] for i in order if listed[i] == exact or saves(costs[i])]


def families_of(cls: type[Estimator]) -> tuple[Family, ...]:
    """What a class says of itself; a family of all its members where it says nothing.

    Raises:
        TypeError: it says nothing, and has no member without arguments.
    """
    own = cls.__dict__.get("families", ())  # not inherited: those are another class's
    return own or (Family(name=cls.__name__, usual=cls()),)


def family(estimator: Estimator) -> Family:
    """The family that an estimator is a member of."""
    own = type(estimator).__dict__.get("families", ())
    unknown = Family(name=type(estimator).__name__, usual=estimator)
    return next((one for one in own if one.holds(estimator)), unknown)


def names() -> dict[str, Estimator]:
    """What each name and alias alone stands for, the names in lower case without hyphens."""
    return _names(classes())


def warn_if_exact(estimator: Estimator, num_steps: int) -> None:
    """Warn where an estimator asks for more than a loop of `num_steps` steps has, and so is `Exact` by another name."""
    its = family(estimator)
    size = its.size_of(estimator)
    if its.whole and size is not None and size > num_steps:
        warnings.warn(
            f"{estimator!r} leaves nothing out of {num_steps} inner steps: it is Exact(), which says so; take that, or "
            f"a smaller {its.size}",
            stacklevel=3,  # whoever made the learner
        )


def named(name: str) -> Estimator:
    """The estimator that a name or an alias alone stands for: "maml" is `Exact()`.

    Raises:
        ValueError: an unknown name; the sentence has the nearest.
    """
    known = names()
    if _plain(name) not in known:
        close = difflib.get_close_matches(_plain(name), known, n=1)
        hint = f"did you mean {known[close[0]]!r}? " if close else ""
        listed = ", ".join(cls.__name__ for cls in classes())
        raise ValueError(f"unknown estimator {name!r}; {hint}known are {listed}, and auto")
    return known[_plain(name)]


def _names(classes: Iterable[type[Estimator]]) -> dict[str, Estimator]:
    return {name: member for cls in classes for name, member in _names_of(cls, families_of(cls)).items()}


def _names_of(cls: type[Estimator], own: tuple[Family, ...]) -> dict[str, Estimator]:
    """The class's own name, for the family that has it, and all aliases."""
    members = {_plain(alias): family.usual for family in own for alias in family.aliases}
    bare = next((family.usual for family in own if family.name == cls.__name__), own[0].usual)
    return {_plain(cls.__name__): bare, **members}


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
