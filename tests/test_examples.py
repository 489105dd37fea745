"""The examples run, and do what they say."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_your_model_learns_to_adapt():
    before, after = load("your_model").main(meta_steps=150)
    assert after < 0.8 * before


@pytest.mark.slow
def test_your_dataset_beats_chance_on_new_classes():
    assert load("your_dataset").main(meta_steps=40) > 0.45  # chance is 0.25


def test_your_estimator_stands_between_its_neighbours():
    errors = load("your_estimator").main()
    assert errors["Exact()"] == 0.0
    assert errors["EveryOther()"] < errors["FirstOrder()"]


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"your_model", "your_dataset", "your_estimator"}
