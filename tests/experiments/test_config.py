"""Configurations: JSON and back, dotted names, impossible values, and that every preset builds and trains."""

import json
from dataclasses import replace

import pytest
import torch

from experiments.small_data import write_data
from metagrad import SGD, Binomial, Exact, FirstOrder, Implicit, Learned, Split
from metagrad.experiments.config import Experiment, build
from metagrad.experiments.fields import describe, read, replaced, walk
from metagrad.experiments.image_problem import ImageClassification
from metagrad.experiments.presets import PRESETS, named, sinusoid
from metagrad.experiments.problems import OmniglotClassification


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    config = PRESETS[name]()
    assert Experiment.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_json_round_trip_of_chosen_parts():
    config = replace(
        sinusoid(),
        estimator=Split(window=1, late=Exact(), early=Binomial(order=1, scale="paper")),
        rule=SGD(lr=Learned(0.1, "element")),
        adapts=("layers.4",),
        proximal=2.0,
    )
    text = json.dumps(config.to_json())
    assert "Split(window=1, late=Exact(), early=Binomial(order=1, scale='paper', center=0.0))" in text
    assert Experiment.from_json(json.loads(text)) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_stepz": 3}, "config has no field 'num_stepz'"),
        ({"problem": {"kind": "chess"}}, "unknown problem kind 'chess'; known are sinusoid, omniglot"),
        ({"test": {"tasks": 3, "steps": 1}}, "test lacks the field 'seed'"),
        ({"estimator": "Nonsense()"}, "unknown name 'Nonsense'"),
        ({"machine": {"size": 1}}, "machine has no field 'size'"),
    ],
)
def test_foreign_json_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Experiment.from_json({**sinusoid().to_json(), **change})


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("num_steps", "7", 7),
        ("estimator", "first-order", FirstOrder()),
        ("estimator.order", "4", 4),
        ("estimator.center", "0.1", 0.1),
        ("estimator.early.scale", "paper", "paper"),
        ("estimator.early.scale", "0.5", 0.5),
        ("rule.lr", "1e-3", 1e-3),
        ("optimizer.clip", "10", 10.0),
        ("optimizer.name", "sgd", "sgd"),
        ("machine.task_chunk", "none", None),
        ("machine.task_chunk", "3", 3),
        ("problem.hidden", "8,16", (8, 16)),
        ("problem.hidden", "none", ()),
        ("adapts", "layers.4", ("layers.4",)),
        ("problem.phase", "-1,1.5", (-1.0, 1.5)),
    ],
)
def test_a_field_is_set_from_text(path, text, value):
    config = sinusoid()
    if path.startswith("estimator.early"):
        config = replace(config, estimator=Split(1, Exact(), Binomial(order=2)))
    config = replaced(config, path, text)
    found = {field.path: field.value for field in walk(config)}[path]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("num_steps", "0", "--num-steps: num_steps must be at least 1, got 0"),
        ("num_steps", "2.5", "--num-steps: expected an integer, got '2.5'"),
        ("estimator.order", "-1", "order must be at least 0"),
        ("rule.lr", "0", "lr must be greater than 0"),
        ("rule.lr", "nan", "lr must be finite"),
        ("optimizer.lr", "-1", "lr must be greater than 0"),
        ("optimizer.name", "adamw", "expected adam, sgd or normalized-sgd, got 'adamw'"),
        ("optimizer.momentum", "1", "momentum must be less than 1"),
        ("machine.device", "tpu", "expected auto, cpu, cuda or mps"),
        ("proximal", "0", "proximal must be greater than 0"),
        ("test.tasks", "1", "tasks must be at least 2"),
        ("problem.hidden", "8,x", "expected an integer, got 'x'"),
        ("problem.support", "0", "support must be at least 1"),
    ],
)
def test_an_impossible_value_is_refused_with_the_name_of_its_field(path, text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        replaced(sinusoid(), path, text)
    assert str(caught.value).startswith(f"--{path.replace('_', '-')}: ")


def test_parts_of_parts_have_names():
    config = replace(sinusoid(), estimator=Implicit(), rule=SGD(momentum=0.9))
    paths = [field.path for field in walk(config)]
    assert "estimator.solver.iterations" in paths
    assert "rule.nesterov" in paths
    assert replaced(config, "rule.nesterov", "true").rule == SGD(momentum=0.9, nesterov=True)
    assert replaced(config, "estimator.solver.iterations", "9").estimator.solver.iterations == 9


def test_every_field_of_a_preset_is_described():
    for name, preset in PRESETS.items():
        for field in walk(preset()):
            if not field.path.startswith(("rule.", "estimator.")):
                assert field.description, f"{name}: {field.path}"


def test_descriptions_in_words():
    assert describe(float | None) == "a number or none"
    assert describe(tuple[int, ...]) == "integers separated by commas"
    assert read("FALSE", bool) is False


def test_the_seed_decides_the_weights_and_leaves_torch_alone():
    before = torch.random.get_rng_state()
    first, _ = build(sinusoid())
    assert torch.equal(before, torch.random.get_rng_state())
    torch.randn(5)
    same, _ = build(sinusoid())
    other, _ = build(replace(sinusoid(), seed=10))
    pairs = zip(first.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


# Sets of five shots differ from those of one in the number of images alone.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.endswith("5shot") else []) for name in PRESETS]
)
def test_every_preset_builds_and_takes_a_step(name, request, tmp_path, monkeypatch):
    config = PRESETS[name]()
    if isinstance(config.problem, OmniglotClassification):
        data = str(request.getfixturevalue("shared_data"))
        config = replace(config, problem=replace(config.problem, data=data, filters=4))
    elif hasattr(config.problem, "data"):
        data = write_data(config.problem, tmp_path, monkeypatch)
        small = replace(config.problem, data=data, filters=2, queries=2, test_queries=2)
        config = replace(config, problem=small, test=replace(config.test, steps=2))
    # Not compiled: that would take a minute for each network.
    config = replace(config, machine=replace(config.machine, device="cpu", capture="off"))
    learner, sources = build(config)
    generator = torch.Generator().manual_seed(0)
    result = learner.backward(sources.train.sample(2, generator))
    assert result.loss.shape == (2,)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())
    evaluation = learner.evaluate(sources.test.sample(1, generator), config.test.steps)
    assert evaluation.loss.shape == (1, config.test.steps + 1)


def test_float64_reaches_the_weights():
    config = sinusoid()
    learner, _ = build(replace(config, machine=replace(config.machine, dtype="float64")))
    assert next(learner.parameters()).dtype == torch.float64


def test_devices_that_are_not_there_are_refused():
    missing = next(
        (k for k, v in {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.items() if not v)
    )
    config = sinusoid()
    with pytest.raises(ValueError, match=f"device '{missing}' is not available here"):
        build(replace(config, machine=replace(config.machine, device=missing)))


def image_problem(**changes):
    return replace(PRESETS["cifar-fs-5way-1shot"]().problem, **changes)


def test_every_data_set_has_presets_of_one_and_five_shots():
    for name in ("omniglot", "mini-imagenet", "tiered-imagenet", "cifar-fs", "fc100", "mnist1d", "folder"):
        for shots in (1, 5):
            problem = PRESETS[f"{name}-5way-{shots}shot"]().problem
            assert (problem.ways, problem.shots) == (5, shots)


def test_names_of_presets_may_have_other_hyphens():
    assert named("omniglot-5way1shot") == "omniglot-5way-1shot"
    assert named("miniimagenet-5way-5shot") == "mini-imagenet-5way-5shot"
    assert named("sinus") is None


def test_normalisation_is_recorded_and_applied(tmp_path, monkeypatch):
    config = PRESETS["cifar-fs-5way-1shot"]()
    assert config.to_json()["problem"]["mean"] == (0.5074, 0.4867, 0.4411)
    data = write_data(config.problem, tmp_path, monkeypatch)
    draws = [
        image_problem(data=data, mean=mean, std=std)
        .sources(torch.device("cpu"))
        .test.sample(2, torch.Generator().manual_seed(0))
        .query.inputs
        for mean, std in (((0.0,) * 3, (1.0,) * 3), ((0.5, 0.25, 0.125), (0.25, 0.5, 2.0)))
    ]
    assert 0 <= draws[0].min() <= draws[0].max() <= 1
    mean, std = torch.tensor([0.5, 0.25, 0.125]), torch.tensor([0.25, 0.5, 2.0])
    expected = (draws[0] - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(draws[1], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "cifar"}, "dataset must be one of mini-imagenet, tiered-imagenet, cifar-fs, fc100, folder, got"),
        ({"mean": (0.5,)}, "mean must be three numbers, for red, green and blue, got"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be greater than 0"),
        ({"pooling": "mean"}, "pooling must be 'stride' or 'max'"),
        ({"shots": 0}, "shots must be at least 1"),
        ({"size": 0}, "size must be at least 1"),
    ],
)
def test_impossible_image_problems_are_refused(changes, sentence):
    assert isinstance(image_problem(), ImageClassification)
    with pytest.raises(ValueError, match=sentence):
        image_problem(**changes)


def test_another_size_than_the_images_have_is_refused(tmp_path, monkeypatch):
    data = write_data(image_problem(), tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"CIFAR-FS has images \[3, 32, 32\], so problem.size cannot be 84"):
        image_problem(data=data, size=84).sources(torch.device("cpu"))


def test_a_folder_is_read_at_the_size_asked_for(tmp_path, monkeypatch):
    problem = replace(PRESETS["folder-5way-1shot"]().problem, size=16)
    sources = replace(problem, data=write_data(problem, tmp_path, monkeypatch)).sources(torch.device("cpu"))
    assert sources.train.sample(1, torch.Generator()).support.inputs.shape == (1, 5, 3, 16, 16)


def test_signals_of_training_validation_and_test_differ():
    sources = PRESETS["mnist1d-5way-1shot"]().problem.sources(torch.device("cpu"))
    drawn = [
        {signal.numpy().tobytes() for signal in source.sample(20, torch.Generator().manual_seed(0)).query.inputs[0]}
        for source in sources
    ]
    assert not drawn[0] & drawn[1]
    assert not drawn[0] & drawn[2]
    assert not drawn[1] & drawn[2]
