"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import metagrad

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(metagrad.__path__, "metagrad.")
    if not module.name.endswith("__main__")
)


def examples(module):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module), module)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("module", [module for module in MODULES if examples(module)])
def test_examples_run(module):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(module):
        complaints: list[str] = []
        runner.run(test, out=complaints.append)
        assert not complaints, "".join(complaints)


def test_every_public_name_has_an_example():
    public = {name: getattr(metagrad, name) for name in metagrad.__all__}
    assert [name for name, it in public.items() if not inspect.ismodule(it) and ">>>" not in (it.__doc__ or "")] == []
