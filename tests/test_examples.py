"""The examples run, and do what they say."""

import importlib.util
from pathlib import Path

import pytest

from code_lines import lines_of_code

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


@pytest.mark.slow
def test_a_learned_optimizer_beats_the_momentum_it_started_as():
    before, after = load("learned_optimizer").main(meta_steps=50)
    assert after < 0.9 * before


def test_wrong_labels_lose_their_weight():
    losses, wrong, right = load("data_weights").main(meta_steps=15)
    assert losses[-1] < 0.7 * losses[0]
    assert wrong < 0.4 < 0.6 < right


def test_distilled_examples_train_a_network():
    losses = load("dataset_distillation").main(meta_steps=20)
    assert losses[-1] < 0.5 * losses[0]


def test_adapters_learn_to_adapt():
    losses = load("lora").main(meta_steps=80)
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.slow
def test_a_physics_informed_network_solves_equations_in_five_steps():
    losses = load("pinn").main()
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.slow
def test_a_thousand_steps_of_adamw():
    losses = load("long_training").main(meta_steps=2)
    assert losses[1] < losses[0] - 0.5


FOR_WRITERS = ("learned_optimizer", "data_weights", "dataset_distillation", "lora", "pinn", "long_training")


@pytest.mark.parametrize("name", FOR_WRITERS)
def test_an_example_for_writers_is_short(name):
    assert len(lines_of_code(EXAMPLES / f"{name}.py")) <= 40


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "your_model",
        "your_dataset",
        "your_estimator",
        *FOR_WRITERS,
    }
