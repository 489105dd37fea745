"""Constructor expressions such as `Binomial(order=3)`: read without ever evaluating code.

An estimator, a rule or a solver is written down as the call that makes it, which is its `repr`: on the command line,
in config.json, in tables. Only the classes listed here can be named, and their arguments are literals or further
such calls, so reading an expression from a foreign file executes nothing.
"""

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NoReturn

from metagrad.choosing import Auto
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
    UnanchoredImplicit,
)
from metagrad.inner.rules import SGD, LearnedRates, Momentum

ESTIMATORS: tuple[type, ...] = (
    FirstOrder,
    Truncated,
    Binomial,
    Parallel,
    Grouped,
    Hybrid,
    Split,
    Exact,
    Implicit,
    FiniteDifference,
    Reptile,
    Auto,
    UnanchoredImplicit,
)
SOLVERS: tuple[type, ...] = (ConjugateGradient, Neumann)
RULES: tuple[type, ...] = (SGD, Momentum, LearnedRates)

Bare = Mapping[str, Mapping[str, Any]]
"""Arguments for a class that is named without a call and has fields without defaults: {"Binomial": {"order": 2}}."""

_LONGEST = 1000  # characters; longer than any sensible expression, short enough for the parser's stack
_BARE_NAME = re.compile(r"[A-Za-z][\w-]*")


def family(value: object) -> tuple[type, ...]:
    """The classes that may stand where `value` stands: estimators, solvers or rules; empty for anything else."""
    return next((group for group in (ESTIMATORS, SOLVERS, RULES) if type(value) in group), ())


def parse(text: str, allowed: tuple[type, ...], bare: Bare | None = None) -> Any:
    """Build the object that `text` describes: a call of one of the `allowed` classes, or its bare name.

    Names are taken in any case, with or without hyphens and underscores: `first-order` is `FirstOrder`.

    Raises:
        ValueError: not an expression of this kind, an unknown class or field, or what the constructor refuses.
    """
    text = text.strip()
    if _BARE_NAME.fullmatch(text):
        return _construct(_find(text, allowed), {}, bare or {}, named_only=True)
    if len(text) > _LONGEST:
        raise ValueError(f"an expression may have {_LONGEST} characters, got {len(text)}")
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is not an expression such as {_example(allowed)}; quote it for the shell") from None
    if not isinstance(node, ast.Call):
        raise ValueError(f"{text!r} is not a call such as {_example(allowed)}")
    return _call(node, allowed, bare or {})


def short(value: object) -> str:
    """The constructor expression without the arguments that are the defaults: `repr` for tables and figures."""
    if not is_dataclass(value) or isinstance(value, type):
        return repr(value)
    given = [
        f"{field.name}={short(getattr(value, field.name))}"
        for field in fields(value)
        if field.default != (current := getattr(value, field.name))
        and (field.default_factory is MISSING or field.default_factory() != current)
    ]
    return f"{type(value).__name__}({', '.join(given)})"


def _call(node: ast.Call, allowed: tuple[type, ...], bare: Bare) -> Any:
    if not isinstance(node.func, ast.Name):
        _refuse(node.func)
    cls = _find(node.func.id, allowed)
    names = [field.name for field in fields(cls)]
    if len(node.args) > len(names):
        raise ValueError(f"{cls.__name__} takes {_listing(names)}, got {len(node.args)} arguments")
    given: dict[str, Any] = {}
    for name, value in [
        *zip(names, node.args, strict=False),
        *((keyword.arg, keyword.value) for keyword in node.keywords),
    ]:
        if name is None:  # **mapping
            _refuse(value)
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {_listing(names)}"
            raise ValueError(f"{cls.__name__} has no field {name!r}; {hint}")
        if name in given:
            raise ValueError(f"{cls.__name__} got {name!r} twice")
        given[name] = _value(value, bare)
    return _construct(cls, given, bare, named_only=False)


def _value(node: ast.expr, bare: Bare) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_value(part, bare) for part in parts)
        case ast.Call():
            return _call(node, (*ESTIMATORS, *SOLVERS, *RULES), bare)
        case ast.Name(id=name):
            return _construct(_find(name, (*ESTIMATORS, *SOLVERS, *RULES)), {}, bare, named_only=True)
        case _:
            _refuse(node)


def _construct(cls: type, given: dict[str, Any], bare: Bare, *, named_only: bool) -> Any:
    if named_only:
        given = {**bare.get(cls.__name__, {}), **given}
    assert is_dataclass(cls)
    missing = [
        field.name
        for field in fields(cls)
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        call = ", ".join(f"{name}=..." for name in missing)
        raise ValueError(f"{cls.__name__} needs {_listing(missing)}: write {cls.__name__}({call})")
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


def _find(name: str, allowed: tuple[type, ...]) -> type:
    plain = {_plain(cls.__name__): cls for cls in allowed}
    found = plain.get(_plain(name))
    if found is None:
        known = [cls.__name__ for cls in allowed]
        close = difflib.get_close_matches(_plain(name), plain, n=1)
        hint = f"did you mean {plain[close[0]].__name__}? " if close else ""
        raise ValueError(f"unknown name {name!r}; {hint}known are {_listing(known)}")
    return found


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _example(allowed: tuple[type, ...]) -> str:
    cls = next((cls for cls in allowed if fields(cls)), allowed[0])
    return f"{cls.__name__}({', '.join(f'{field.name}=...' for field in fields(cls))})"


def _listing(names: list[str]) -> str:
    return ", ".join(names) if names else "no arguments"


def _refuse(node: ast.expr) -> NoReturn:
    raise ValueError(
        f"{ast.unparse(node)!r} is not allowed in an expression: numbers, quoted text and calls of known classes are"
    )
