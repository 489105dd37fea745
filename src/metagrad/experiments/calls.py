"""The grammar of constructor expressions such as `Binomial(order=3)`: read into plain values, and never evaluated."""

import ast
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

_LONGEST = 1000  # characters; longer than any sensible expression, short enough for the parser's stack
_BARE_NAME = re.compile(r"[A-Za-z][\w-]*|[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z]\w*)+")
_TEXT_OR_OWN = re.compile(r"""('[^']*'|"[^"]*")|([A-Za-z_][\w.]*):([A-Za-z_]\w*)""")


@dataclass(frozen=True)
class Call:
    """A call, or a name alone, as it was typed.

    Args:
        name: of the class, `module:Name` for one of the user's own.
        positional: arguments without a name: numbers, text, None, tuples of these, and further calls.
        keywords: (name, value) of the others, in their order.
        bare: whether it is a name alone.
    """

    name: str
    positional: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()
    bare: bool = False

    @property
    def module(self) -> str | None:
        """Of a class of the user's own; None for a name."""
        return self.name.partition(":")[0] if ":" in self.name else None


def modules_in(text: str) -> list[str]:
    """The modules that a text names, as in `my_module:thing`."""
    return [match[2] for match in _TEXT_OR_OWN.finditer(text) if match[2]]


def plain(name: str) -> str:
    """A name as it is compared: in lower case, without hyphens and underscores."""
    return name.replace("-", "").replace("_", "").lower()


def unknown_field(name: str, field: str, known: Sequence[str]) -> ValueError:
    """The error for a field that a class does not have."""
    close = difflib.get_close_matches(field, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it takes {listing(known)}"
    return ValueError(f"{name} has no field {field!r}; {hint}")


def listing(names: Sequence[str]) -> str:
    """Names for a sentence."""
    return ", ".join(names) if names else "no arguments"


def read(text: str, example: str) -> Call:
    """The call that a text is.

    Args:
        text: a name, or a call whose arguments are literals or further calls.
        example: of what the place takes, for the message.

    Raises:
        ValueError: it is none, or has anything else in it.
    """
    text = text.strip()
    if _BARE_NAME.fullmatch(text):
        return Call(text, bare=True)
    if len(text) > _LONGEST:
        raise ValueError(f"an expression may have {_LONGEST} characters, got {len(text)}")
    own: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        own[f"_own{len(own)}"] = f"{match[2]}:{match[3]}"
        return list(own)[-1]

    try:
        node = ast.parse(_TEXT_OR_OWN.sub(named, text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is not an expression such as {example}; quote it for the shell") from None
    if not isinstance(node, ast.Call):
        raise ValueError(f"{text!r} is not a call such as {example}")
    return _call(node, own)


def _call(node: ast.Call, own: dict[str, str]) -> Call:
    if not isinstance(node.func, ast.Name):
        _refuse(node.func)
    keywords: list[tuple[str, Any]] = []
    for keyword in node.keywords:
        if keyword.arg is None:  # **mapping
            _refuse(keyword.value)
        keywords.append((keyword.arg, _value(keyword.value, own)))
    positional = tuple(_value(argument, own) for argument in node.args)
    return Call(own.get(node.func.id, node.func.id), positional, tuple(keywords))


def _value(node: ast.expr, own: dict[str, str]) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_value(part, own) for part in parts)
        case ast.Call():
            return _call(node, own)
        case ast.Name(id=name):
            return Call(own.get(name, name), bare=True)
        case _:
            _refuse(node)


def _refuse(node: ast.expr) -> NoReturn:
    text = ast.unparse(node)
    module, _, name = text.rpartition(".")
    hint = f"; one of your own is typed {module}:{name}" if _DOTTED.fullmatch(text) else ""
    raise ValueError(
        f"{text!r} is not allowed in an expression: numbers, quoted text and calls of known classes are{hint}"
    )
