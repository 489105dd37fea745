"""Things of the user's own, named `my_module:thing`: found in modules that are imported, never imported by a file."""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from metagrad.experiments.calls import modules_in

_named: set[str] = set()


def named_modules() -> frozenset[str]:
    """Those that the user named, in this process."""
    return frozenset(_named)


def import_module(name: str) -> None:
    """Import a module that the user named, from the present directory too.

    Raises:
        ValueError: there is none, or it cannot be imported; the sentence says why.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:  # a console script does not look there, as python -m does
        sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever the module does when it is run
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        told = "there is no such module" if missing else f"{type(error).__name__}: {error}"
        raise ValueError(f"the module {name} cannot be imported: {told}") from error
    _named.add(name)


def import_typed(values: Mapping[str, str]) -> None:
    """Import every module that options name: those of --import, and of parts and problems as `my_module:thing`.

    Raises:
        ValueError: as `import_module`.
    """
    names = [name.strip() for name in values.get("import", "").split(",") if name.strip()]
    for option, text in values.items():
        if option == "problem" or option.partition(".")[0] in ("estimator", "rule"):
            names += modules_in(text)
    for name in dict.fromkeys(names):
        import_module(name)


def find(spec: str) -> Any:
    """What `my_module:thing` names. A module that is not imported yet stays so: a file may have named it.

    Raises:
        ValueError: the module is not imported, or has no such thing.
    """
    module, _, name = spec.partition(":")
    if module not in sys.modules:
        raise ValueError(
            f"{spec} is in a module that is not imported: if you trust it, import {module} first (at the command line "
            f"--import {module})"
        )
    there = vars(sys.modules[module])
    if name not in there and module in _named and hasattr(sys.modules[module], name):
        return getattr(sys.modules[module], name)  # what a module makes when it is asked; not when a file asks
    if name not in there:
        raise ValueError(f"the module {module} has no {name!r}")
    return there[name]


def spelled(cls: type) -> str:
    """`my_module:Name` of a class; ValueError where it could not be found again by that."""
    if "." in cls.__qualname__:
        raise ValueError(
            f"{cls.__qualname__} cannot be written down, because it is defined inside a function or class: "
            "move it to the top of a module"
        )
    return f"{cls.__module__}:{cls.__qualname__}"
