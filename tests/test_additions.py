"""What an addition costs: an estimator or a rule is known to its own file and to lists of public names alone."""

import ast
from pathlib import Path

import pytest

import metagrad
from metagrad import AdamW, Clipped, FiniteDifference, Grouped, Implicit, Parallel, Reptile, RMSprop
from metagrad.estimators import families
from metagrad.rules import USUAL

PACKAGE = Path(metagrad.__file__).parent
LISTS = {"estimators": "estimators/__init__.pyi", "rules": "rules/__init__.py"}
SOURCES = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi")]


def mentioned(path):
    """Names in the code of a file; text does not count."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    return names | {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("cls", [Grouped, Parallel, Implicit, FiniteDifference, Reptile, AdamW, RMSprop, Clipped])
def test_a_name_stands_in_its_file_and_in_two_lists(cls):
    assert cls in [*families.classes(), *map(type, USUAL)]
    _, package, module = cls.__module__.split(".")
    files = {path.relative_to(PACKAGE).as_posix() for path in SOURCES if cls.__name__ in mentioned(path)}
    assert files == {f"{package}/{module}.py", LISTS[package], "__init__.pyi"}
