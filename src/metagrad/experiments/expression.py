"""Constructor expressions such as `Binomial(order=3)` and the estimators, rules and solvers that they stand for.

Such a part is written down as the call that makes it: on the command line, in config.json, in tables. A name is looked
up among the parts of this package and those that were registered; `my_module:MyEstimator(x=1)` is one of the user's
own, found in a module that is imported already. Reading an expression executes nothing but those constructors.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from metagrad.choosing import Auto
from metagrad.choosing.auto import DEFAULT_TOLERANCE
from metagrad.estimators import ConjugateGradient, Estimator, Neumann, families
from metagrad.experiments import own
from metagrad.experiments.calls import Call, listing, plain, read, unknown_field
from metagrad.experiments.options import unknown
from metagrad.rules import USUAL, Learned, UpdateRule

_LITERALS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Kind:
    """What may stand in one place of an experiment.

    Args:
        noun: "estimator", "rule" or "solver", as one of it is called.
        classes: those that have a name.
        accepts: whether a class is one of them; asked of the user's own.
        named: what a name alone stands for, where that is not the class without arguments.
    """

    noun: str
    classes: Callable[[], tuple[type, ...]]
    accepts: Callable[[type], bool]
    named: Callable[[type, str], Any]

    @property
    def example(self) -> str:
        """A call, for messages."""
        cls = next(cls for cls in self.classes() if fields(cls))
        return f"{cls.__name__}({', '.join(f'{field.name}=...' for field in fields(cls))})"


def _named_estimator(cls: type, name: str) -> Any:
    return Auto(tolerance=DEFAULT_TOLERANCE) if cls is Auto else families.named(name)


ESTIMATORS = Kind(
    "estimator",
    lambda: (*families.classes(), Auto),
    lambda cls: issubclass(cls, Estimator | Auto),
    _named_estimator,
)
RULES = Kind(
    "rule",
    lambda: tuple(type(rule) for rule in USUAL),
    lambda cls: issubclass(cls, UpdateRule),
    lambda cls, _: next(rule for rule in USUAL if type(rule) is cls),
)
SETTINGS = Kind("setting", lambda: (Learned,), lambda cls: issubclass(cls, Learned), lambda cls, _: cls())
SOLVERS = Kind("solver", lambda: (ConjugateGradient, Neumann), lambda cls: hasattr(cls, "solve"), lambda cls, _: cls())
KINDS = (ESTIMATORS, RULES, SETTINGS, SOLVERS)


def kind_of(value: object) -> Kind | None:
    """Which kind of part a value is; None for anything else."""
    if not is_dataclass(value) or isinstance(value, type):
        return None
    return next((kind for kind in KINDS if kind.accepts(type(value))), None)


def parse(text: str, kind: Kind) -> Any:
    """Build the part that `text` describes: a call, or a name alone.

    Names are taken in any case, with or without hyphens and underscores: `first-order` is `FirstOrder()`. A name alone
    stands for the usual member of its family: `truncated` is `Truncated(window=2)`, `maml` is `Exact()`.

    Raises:
        ValueError: not an expression of this kind, an unknown class or field, or what the constructor refuses.
    """
    return _built(read(text, kind.example), (kind,))


def short(value: object) -> str:
    """The constructor expression without the arguments that are the defaults, for tables and commands."""
    return _call(value, [name for name, default in _arguments(value) if not default])


def titled(value: object) -> str:
    """As `short`, with the first argument in any case: what a rule's rate is, belongs into a title."""
    return _call(value, [name for place, (name, default) in enumerate(_arguments(value)) if not default or place == 0])


def _arguments(value: object) -> Iterator[tuple[str, bool]]:
    """Names, and whether the value is the default."""
    for field in fields(value) if is_dataclass(value) and not isinstance(value, type) else ():
        current = getattr(value, field.name)
        made = MISSING if field.default_factory is MISSING else field.default_factory()
        yield field.name, field.default == current or made == current


def _call(value: object, arguments: Iterable[str]) -> str:
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    kind = kind_of(value)
    known = kind is None or type(value) in kind.classes() or "." in type(value).__qualname__
    name = type(value).__name__ if known else own.spelled(type(value))
    return f"{name}({', '.join(f'{argument}={short(getattr(value, argument))}' for argument in arguments)})"


def written(value: object) -> str:
    """The constructor expression with every argument, for files: `parse` gives the same part, on another day too.

    Classes of the user's own come with their module.

    Raises:
        ValueError: an argument that is no number, text, None, part, or tuple of these, or a class that could not be
            found again.
    """
    if isinstance(value, tuple):
        return f"({''.join(f'{written(part)}, ' for part in value).rstrip(' ')})"
    if type(value) in _LITERALS:
        return repr(value)
    kind = kind_of(value)
    if kind is None or not is_dataclass(value):
        raise ValueError(f"{value!r} cannot be written down: parts of an experiment are dataclasses of plain values")
    given = [f"{field.name}={written(getattr(value, field.name))}" for field in fields(value) if field.init]
    shipped = type(value).__module__.partition(".")[0] == "metagrad"
    return f"{type(value).__name__ if shipped else own.spelled(type(value))}({', '.join(given)})"


def _of_today(call: Call) -> Call:
    """`Momentum` and `LearnedRates` of early configurations, spelled as the `SGD` that they are now."""
    given = dict(call.keywords)
    if call.name == "Momentum":
        return Call("SGD", call.positional, tuple({"momentum": 0.9, **given}.items()))
    if call.name == "LearnedRates":
        learned = Call("Learned", (), (("value", given.get("lr", 0.01)), ("per", given.get("per", "element"))))
        return Call("SGD", (), (("lr", learned),))
    return call


def _built(call: Call, kinds: tuple[Kind, ...]) -> Any:
    call = _of_today(call)
    kind, cls = _find(call, kinds)
    names = [field.name for field in fields(cls) if field.init]
    if len(call.positional) > len(names):
        raise ValueError(f"{cls.__name__} takes {listing(names)}, got {len(call.positional)} arguments")
    given: dict[str, Any] = {}
    for name, value in [*zip(names, call.positional, strict=False), *call.keywords]:
        if name not in names:
            raise unknown_field(cls.__name__, name, names)
        if name in given:
            raise ValueError(f"{cls.__name__} got {name!r} twice")
        given[name] = _value(value)
    if call.bare and call.module is None:
        return kind.named(cls, call.name)
    missing = [
        field.name
        for field in fields(cls)
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING and field.init
    ]
    if missing:
        arguments = ", ".join(f"{name}=..." for name in missing)
        raise ValueError(f"{cls.__name__} needs {listing(missing)}: write {call.name}({arguments})")
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_value(part) for part in value)
    return _built(value, KINDS) if isinstance(value, Call) else value


def _find(call: Call, kinds: tuple[Kind, ...]) -> tuple[Kind, type]:
    if call.module is not None:
        cls = own.find(call.name)
        if not (isinstance(cls, type) and is_dataclass(cls)):
            raise ValueError(f"{call.name} is no dataclass, and only such can be written down and read again")
        kind = next((kind for kind in kinds if kind.accepts(cls)), None)
        if kind is None:
            raise ValueError(f"{call.name} is not of the kind that is wanted here: {kinds[0].noun}")
        return kind, cls
    known = {plain(name): (kind, cls) for kind in kinds for name, cls in _names(kind, call.bare).items()}
    if plain(call.name) not in known:
        raise unknown("name", call.name, [cls.__name__ for kind in kinds for cls in kind.classes()])
    return known[plain(call.name)]


def _names(kind: Kind, bare: bool) -> dict[str, type]:
    """Classes by name, and, where there is nothing but a name, by alias."""
    aliases = families.names() if bare and kind is ESTIMATORS else {}
    return {name: type(member) for name, member in aliases.items()} | {cls.__name__: cls for cls in kind.classes()}
