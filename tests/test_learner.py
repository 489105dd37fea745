"""`MetaLearner` in users' hands: gradients land where torch expects them, and their module stays as it was."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from cases import LOSS, MODELS, NEEDS, Noisy, TinyTransformer, make_batch_norm, make_mlp, make_tasks, one
from metagrad import SGD, Binomial, Exact, FiniteDifference, Implicit, Learned, MetaLearner, Reptile
from metagrad.networks import accuracy
from metagrad.prepared import NonFiniteError

TASKS = make_tasks((4,))


def make(model=None, estimator=None, rule=None, **options):
    model = make_mlp() if model is None else model
    return MetaLearner(model.double(), LOSS, rule or SGD(0.1), 3, estimator or Exact(), **options)


def test_backward_accumulates_into_the_users_own_parameters():
    learner = make()
    learner.backward(TASKS)
    once = [p.grad.clone() for p in learner.model.parameters()]
    learner.backward(TASKS)
    for p, g in zip(learner.model.parameters(), once, strict=True):
        assert torch.allclose(p.grad, 2 * g, rtol=1e-14)
    learner.zero_grad()
    assert all(p.grad is None for p in learner.model.parameters())


def test_result_has_loss_metrics_and_cost_per_task():
    learner = make(estimator=Binomial(2), metrics={"accuracy": accuracy})
    result = learner.backward(TASKS)
    for t in range(2):
        adapted = learner.adapt(one(TASKS, t).support)
        predictions = adapted(TASKS.query.inputs[t])
        assert torch.allclose(result.loss[t], LOSS(predictions, TASKS.query.targets[t]))
        assert result.metrics["accuracy"][t] == accuracy(predictions, TASKS.query.targets[t])
    assert result.cost == (4, 2, 0)


@pytest.mark.slow
def test_meta_training_with_scheduler_and_clipping_lowers_the_loss():
    learner = make(estimator=Binomial(2), rule=SGD(lr=Learned(0.1, "tensor")))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 20, 0.5)
    first = learner.evaluate(TASKS).loss[:, -1].mean()
    for _ in range(40):
        optimizer.zero_grad()
        learner.backward(TASKS)
        norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        assert norm > 0
        optimizer.step()
        scheduler.step()
    assert learner.evaluate(TASKS).loss[:, -1].mean() < 0.7 * first
    assert all((rate != 0.1).all() for rate in learner.rates)


def test_learned_rates_are_parameters_of_the_learner():
    learner = make(rule=SGD(lr=Learned(0.1, "tensor")))
    assert {n for n, _ in learner.named_parameters() if n.startswith("rates")} == {
        f"rates.{index}" for index in range(4)
    }
    assert list(learner.learned_settings()) == [
        f"lr.layers.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    ]
    assert list(make(rule=SGD(lr=Learned(0.1, "scalar"))).learned_settings()) == ["lr"]


@pytest.mark.parametrize("rule", [SGD(0.1), SGD(lr=Learned(0.1, "element"))], ids=repr)
def test_state_dict_deepcopy_and_pickle_keep_the_meta_gradient(rule):
    learner = make(rule=rule, estimator=Binomial(2), metrics={"accuracy": accuracy})
    expected = learner.backward(TASKS).loss
    learner.zero_grad()
    stored = io.BytesIO()
    torch.save(learner.state_dict(), stored)
    stored.seek(0)
    fresh = make(rule=rule, estimator=Binomial(2))
    fresh.load_state_dict(torch.load(stored, weights_only=True))
    copies = [copy.deepcopy(learner), pickle.loads(pickle.dumps(learner)), fresh]
    learner.backward(TASKS)
    for other in copies:
        assert torch.equal(other.backward(TASKS).loss, expected)
        assert other.model is not learner.model
        for p, q in zip(other.parameters(), learner.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad)


def test_to_moves_everything_that_takes_part():
    learner = make(rule=SGD(lr=Learned(0.1, "element")), proximal=0.1).to(torch.float32)
    single = type(TASKS)(*(type(b)(b.inputs.float(), b.targets) for b in TASKS))
    learner.backward(single)
    assert {p.grad.dtype for p in learner.parameters()} == {torch.float32}
    with pytest.raises(ValueError, match=r"support inputs are torch.float64 and the model is torch.float32"):
        learner.backward(TASKS)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_everything_works_under_no_grad_and_inference_mode(guard):
    learner = make(metrics={"accuracy": accuracy})
    expected, gradient = learner.evaluate(TASKS), learner.meta_gradient(TASKS).gradient
    with guard():
        tasks = make_tasks((4,))
        found = learner.evaluate(tasks)
        adapted = learner.adapt(one(tasks, 0).support)
        assert torch.allclose(adapted(tasks.query.inputs[0]), make_predictions(learner), rtol=1e-12)
        inside = learner.meta_gradient(tasks).gradient
    assert torch.equal(found.loss, expected.loss)
    assert torch.equal(found.metrics["accuracy"], expected.metrics["accuracy"])
    for a, b in zip(inside["model"].values(), gradient["model"].values(), strict=True):
        assert torch.equal(a, b)


def make_predictions(learner):
    return learner.adapt(one(TASKS, 0).support)(TASKS.query.inputs[0])


def test_evaluate_has_one_column_for_each_step_from_zero():
    learner = make()
    found = learner.evaluate(TASKS, num_steps=5)
    assert found.loss.shape == (2, 6)
    for steps in (0, 3, 5):
        for t in range(2):
            adapted = learner.adapt(one(TASKS, t).support, num_steps=steps)
            expected = LOSS(adapted(TASKS.query.inputs[t]), TASKS.query.targets[t])
            assert torch.allclose(found.loss[t, steps], expected, rtol=1e-12)
    assert learner.evaluate(TASKS, num_steps=0).loss.shape == (2, 1)
    with pytest.raises(ValueError, match="num_steps must be at least 0, got -1"):
        learner.evaluate(TASKS, num_steps=-1)


@pytest.mark.parametrize("mode", [True, False])
def test_batch_norm_uses_the_batch_and_keeps_running_statistics_as_they_are(mode):
    model = make_batch_norm().train(mode)
    learner = make(model, batch_statistics=None if mode else "batch")
    before = copy.deepcopy(model.state_dict())
    learner.backward(TASKS)
    learner.evaluate(TASKS)
    predictions = learner.adapt(one(TASKS, 0).support, num_steps=0)(TASKS.query.inputs[0])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model.training is mode
    assert torch.allclose(predictions, copy.deepcopy(model).train()(TASKS.query.inputs[0]), rtol=1e-12)


def test_an_adapted_model_is_a_copy():
    learner = make()
    adapted = learner.adapt(one(TASKS, 0).support)
    with torch.no_grad():
        for p in adapted.parameters():
            p.zero_()
    assert all(p.abs().sum() > 0 for p in learner.model.parameters())
    assert set(adapted.state_dict()) == {f"model.{name}" for name in learner.model.state_dict()}


@pytest.mark.parametrize("model_name", MODELS)
def test_every_model_adapts_and_predicts(model_name):
    make_model, features = MODELS[model_name]
    learner = make(make_model(), **NEEDS.get(model_name, {}))
    tasks = make_tasks(features)
    before, after = learner.evaluate(tasks).loss[:, [0, -1]].unbind(1)
    adapted = learner.adapt(one(tasks, 0).support)
    assert torch.allclose(LOSS(adapted(tasks.query.inputs[0]), tasks.query.targets[0]), after[0])
    assert not torch.allclose(before, after)


def test_buffers_that_a_model_writes_stay_the_users():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, inputs):
            self.calls += 1
            return self.layer(inputs)

    learner = make(Counting(), task_chunk=1, link_chunk=1)
    learner.backward(TASKS)
    assert learner.model.calls == 0


@pytest.mark.parametrize("task_chunk", [None, 1])
def test_hidden_randomness_is_found(task_chunk):
    learner = make(Noisy(), task_chunk=task_chunk)
    with pytest.warns(RuntimeWarning, match="Noisy draws random numbers"):
        first = learner.meta_gradient(TASKS)
    assert torch.equal(first.loss, learner.meta_gradient(TASKS).loss)


def test_instance_norm_with_running_statistics_is_refused():
    model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.InstanceNorm1d(2, track_running_stats=True))
    with pytest.raises(ValueError, match="InstanceNorm1d '1' keeps running statistics"):
        make(model)


def test_frozen_parameters_get_no_gradient_and_thawed_ones_do():
    learner = make()
    frozen = learner.model.layers[0].weight.requires_grad_(False)
    learner.backward(TASKS)
    assert frozen.grad is None
    frozen.requires_grad_(True)
    learner.backward(TASKS)
    assert frozen.grad.norm() > 0


def test_a_loss_that_explodes_names_task_and_inner_step_and_leaves_grad_alone():
    model = make_mlp()
    learner = MetaLearner(model.double(), lambda p, t: p.square().mean(), SGD(1e200), 3, Exact())
    with pytest.raises(NonFiniteError, match=r"task 0 of 2: the support loss became (inf|nan) at inner step [12]"):
        learner.backward(TASKS)
    assert all(p.grad is None for p in model.parameters())


def test_estimators_reach_an_attention_model():
    learner = make(TinyTransformer(), estimator=Binomial(2))
    learner.backward(make_tasks((5, 4)))
    assert all(p.grad.isfinite().all() for p in learner.parameters())


@pytest.mark.parametrize("estimator", [Implicit(), FiniteDifference()], ids=repr)
def test_estimators_of_solutions_ask_for_a_proximal_term(estimator):
    with pytest.raises(ValueError, match=r"pass proximal=\.\.\. to MetaLearner"):
        make(estimator=estimator).backward(TASKS)
    make(estimator=estimator, proximal=1.0).backward(TASKS)


def test_reptile_with_sgd_moves_the_start_towards_the_adapted_parameters():
    learner = make(estimator=Reptile())
    start = copy.deepcopy(learner.model.state_dict())
    ends = [learner.adapt(one(TASKS, t).support).model.state_dict() for t in range(2)]
    learner.backward(TASKS)
    torch.optim.SGD(learner.parameters(), lr=0.25).step()
    for name, value in learner.model.state_dict().items():
        expected = start[name] + 0.25 * ((ends[0][name] + ends[1][name]) / 2 - start[name])
        assert torch.allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1, got 0"),
        ({"num_steps": 2.0}, TypeError, "num_steps must be an integer, got 2.0"),
        ({"estimator": Exact}, TypeError, "estimator must be one such as"),
        ({"estimator": "binomal"}, ValueError, "unknown estimator .binomal.; did you mean Binomial"),
        ({"loss": nn.MSELoss}, TypeError, "loss must be a function or a module, got the class MSELoss: write MSELoss"),
        ({"loss": 3}, TypeError, "loss must be a function or a module, got 3"),
        ({"metrics": {"error": nn.L1Loss}}, TypeError, "the metric 'error' must be a function or a module, got the"),
        ({"proximal": -1.0}, ValueError, "proximal .* must be greater than 0, got -1.0"),
        ({"model": nn.ReLU()}, ValueError, "the model ReLU has no trainable parameter"),
    ],
)
def test_arguments_that_make_no_sense(options, error, message):
    arguments = {"model": make_mlp(), "loss": LOSS, "rule": SGD(0.1), "num_steps": 3, "estimator": Exact()}
    with pytest.raises(error, match=message):
        MetaLearner(**(arguments | options))


def test_the_result_is_not_the_gradient_that_others_write_on():
    learner = make()
    result = learner.backward(TASKS)
    before = [leaf.clone() for leaf in result.gradient["model"].values()]
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1e-6)
    assert all(map(torch.equal, result.gradient["model"].values(), before))
