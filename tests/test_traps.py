"""What users of other libraries trip over, and what a careless refactoring here would break."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import LOSS, RULES, Noisy, Shared, TiedAndFrozen, make_mlp, make_tasks, one
from metagrad import (
    SGD,
    Batch,
    Binomial,
    Exact,
    FiniteDifference,
    FirstOrder,
    Hybrid,
    Implicit,
    InnerLoop,
    Learned,
    MetaLearner,
    Reptile,
    Task,
    Truncated,
    UpdateRule,
    WholeModel,
    meta_gradient,
    tree,
)
from metagrad.estimators import ConjugateGradient
from metagrad.inner.curvature import reverse_over_reverse
from metagrad.prepared import NonFiniteError

TASKS = make_tasks((4,))
LEARNERS = [{}, {"adapts": "layers.2"}, {"proximal": 0.5}, {"adapts": "layers.0", "proximal": 0.5}]


def make(model=None, estimator=None, rule=None, loss=LOSS, steps=3, **options):
    model = make_mlp() if model is None else model
    return MetaLearner(model.double(), loss, rule or SGD(0.1), steps, estimator or Exact(), **options)


class Forgetful(UpdateRule):
    def step(self, state, gradient, meta, k):
        return state["adapted"]


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


@pytest.mark.parametrize("options", LEARNERS, ids=str)
@pytest.mark.parametrize("rule", RULES.values(), ids=repr)
def test_binomial_of_full_order_is_exact_under_every_rule_and_learner(rule, options):
    """The oracle of `Exact` carries over to side-by-side products, mixed terms and rates."""
    model = make_mlp()
    expected = flat(make(model, Exact(), rule, **options).meta_gradient(TASKS))
    for estimator in (Binomial(3), Binomial(5, center=0.3), Binomial(3, scale="paper"), Hybrid(3, 3), Truncated(4)):
        actual = flat(make(model, estimator, rule, **options).meta_gradient(TASKS))
        assert (actual - expected).norm() <= 1e-10 * expected.norm(), estimator
    lower = flat(make(model, Binomial(2), rule, **options).meta_gradient(TASKS))
    assert (lower - expected).norm() > 1e-6 * expected.norm()


@pytest.mark.parametrize(
    "estimator",
    [
        Implicit(ConjugateGradient(30)),
        pytest.param(FiniteDifference(1e-3, "fourth"), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_estimators_of_solutions_include_the_direct_part_of_a_fixed_body(estimator):
    options = {"adapts": "layers.2", "proximal": 1.0, "rule": SGD(0.3), "steps": 150}
    model = make_mlp()
    expected = make(model, Exact(), **options).meta_gradient(TASKS)
    actual = make(model, estimator, **options).meta_gradient(TASKS)
    for name, leaf in expected.gradient["model"].items():
        assert (actual.gradient["model"][name] - leaf).norm() <= 1e-6 * leaf.norm(), name


@pytest.mark.parametrize("link_chunk", [1, None])
@pytest.mark.parametrize("estimator", [Exact(), Truncated(2), Binomial(2), Hybrid(3, 2), FirstOrder()], ids=repr)
def test_products_counted_on_a_real_loop_equal_the_cost(estimator, link_chunk):
    products = 0

    def counting(loss, adapted, context, direction):
        nonlocal products
        products += 1
        return reverse_over_reverse(loss, adapted, context, direction)

    learner = make(estimator=estimator, steps=4, curvature=counting, task_chunk=1, link_chunk=link_chunk)
    cost = learner.meta_gradient(one_task()).cost
    # Side by side, the products of a round are one mapped call.
    assert products == (cost.products if link_chunk == 1 else cost.rounds)


def one_task():
    return [one(TASKS, 0)]


def test_a_module_under_two_names_stays_whole():
    model = Shared().double()
    before = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    learner = make(model, Binomial(2))
    learner.backward(TASKS)
    learner.evaluate(TASKS)
    learner.adapt(one(TASKS, 0).support)
    after = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert all(p.grad is not None for p in model.parameters())
    assert model(TASKS.query.inputs[0]).isfinite().all()


def test_synchronised_batch_norm_works():
    learner = make(nn.Sequential(nn.Linear(4, 5), nn.SyncBatchNorm(5), nn.Linear(5, 3)))
    learner.backward(TASKS)
    assert learner.model[1].num_batches_tracked == 0


def test_the_users_cudnn_choices_hold_inside_the_model():
    seen = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs):
            cudnn = torch.backends.cudnn
            seen.append((cudnn.enabled, cudnn.deterministic, cudnn.benchmark))
            return self.layer(inputs)

    with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=True):
        make(Watching()).backward(TASKS)
    assert set(seen) == {(True, True, True)}


def test_tied_weights_adapt_under_any_of_their_names():
    model = TiedAndFrozen().double()
    by_first = make(copy.deepcopy(model), adapts=["first.weight"]).meta_gradient(TASKS)
    by_second = make(copy.deepcopy(model), adapts=["second.weight"]).meta_gradient(TASKS)
    assert torch.equal(flat(by_first), flat(by_second))


def test_gradients_come_in_the_order_of_the_models_parameters():
    learner = make(adapts="layers.0")
    result = learner.meta_gradient(TASKS)
    assert list(result.gradient["model"]) == [name for name, _ in learner.model.named_parameters()]


def test_gradients_whose_sum_overflows_are_finite():
    model = nn.Linear(1, 8)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    learner = MetaLearner(model, lambda p, t: p.sum() * 1e38, SGD(1e-44), 1, FirstOrder())
    ones = Batch(torch.ones(1, 1, 1), torch.ones(1, 1, 1))
    learner.backward(Task(ones, ones))
    assert model.weight.grad.isfinite().all()
    assert model.weight.grad.sum().isinf()


def test_the_bad_task_of_an_unequal_list_is_named_by_its_position():
    tasks = [one(make_tasks((4,), 1, support, seed=i), 0) for i, support in enumerate([3, 3, 6, 6, 3])]
    tasks[3].query.inputs[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="query inputs of task 3 hold NaN") as caught:
        make().backward(tasks)
    assert caught.value.task == 3
    tasks[3] = Task(tasks[3].support, Batch(tasks[3].query.inputs.numpy(), tasks[3].query.targets))
    with pytest.raises(TypeError, match=r"query inputs of task 3 in the list must be a torch.Tensor, got ndarray"):
        make().backward(tasks)


def test_a_missing_or_extra_task_axis_is_noticed():
    single = Batch(torch.rand(10, 1, dtype=torch.float64), torch.rand(10, 1, dtype=torch.float64))
    learner = MetaLearner(nn.Linear(1, 1).double(), F.mse_loss, SGD(0.1), 2, Exact())
    with pytest.raises(ValueError, match=r"got \[10, 1\] and \[10, 1\]; give one task in a list"):
        learner.backward(Task(single, single))
    several = Batch(*(leaf.expand(3, 10, 1) for leaf in single))
    learner.backward(Task(several, several))
    with pytest.raises(ValueError, match="without a task axis; examples here have 2 axes and in batches of tasks 1"):
        learner.adapt(several)
    with pytest.raises(ValueError, match="without a task axis"):
        learner.backward([Task(several, several)])


def test_adapting_to_infinity_is_an_error():
    with pytest.raises(NonFiniteError, match=r"layers.\d.\w+ is not finite after 3 inner steps"):
        make(rule=SGD(1e200), loss=lambda p, t: p.square().mean()).adapt(one(TASKS, 0).support)


def test_what_is_made_under_inference_mode_serves_outside_it():
    learner = make()
    with torch.inference_mode():
        adapted = learner.adapt(one(TASKS, 0).support)
        learner.backward(make_tasks((4,)))
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1e-3)
    adapted.requires_grad_(True)(TASKS.query.inputs[0]).sum().backward()
    assert all(p.grad is not None for p in adapted.parameters())


def binary(predictions, targets):
    return F.binary_cross_entropy_with_logits(predictions[:, 0], targets.to(predictions.dtype))


def test_integer_targets_that_are_no_class_numbers_are_left_alone():
    binary_tasks = Task(*(Batch(b.inputs, b.targets.clamp(max=1)) for b in TASKS))
    make(nn.Linear(4, 1), loss=binary).backward(binary_tasks)


@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, nn.CrossEntropyLoss(), partial(F.cross_entropy, label_smoothing=0.1)],
    ids=["function", "module", "partial"],
)
def test_class_numbers_are_checked_and_ignored_ones_are_not(loss):
    learner = make(loss=loss)
    padded = Task(Batch(TASKS.support.inputs, TASKS.support.targets.clone()), TASKS.query)
    padded.support.targets[:, 0] = -100
    learner.backward(padded)
    padded.support.targets[:, 0] = 7
    with pytest.raises(ValueError, match=r"support targets must lie in 0\.\.2.* got 7"):
        learner.backward(padded)
    with pytest.raises(ValueError, match=r"query targets are torch.float64, and cross-entropy needs class numbers"):
        learner.backward(Task(TASKS.support, Batch(TASKS.query.inputs, TASKS.query.targets.double())))


def test_a_loss_with_weights_moves_with_the_learner():
    learner = make(loss=nn.CrossEntropyLoss(weight=torch.ones(3, dtype=torch.float64))).float()
    assert learner.loop.learner.loss.weight.dtype == torch.float32


def test_a_new_head_is_noticed():
    learner = make()
    learner.backward(TASKS)
    learner.model.layers[2] = nn.Linear(6, 2).double()
    with pytest.raises(ValueError, match=r"targets must lie in 0\.\.1"):
        learner.backward(TASKS)


def test_frozen_rates_are_used_and_left_alone():
    learner = make(rule=SGD(lr=Learned(0.1, "tensor")))
    learner.rates.requires_grad_(False)
    learner.backward(TASKS)
    assert all(rate.grad is None for rate in learner.rates)
    assert all(p.grad is not None for p in learner.model.parameters())


def test_a_parameter_of_any_name_can_have_a_rate():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.all, self.keys = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.zeros(3))

        def forward(self, inputs):
            return inputs @ self.all.T + self.keys

    learner = make(Odd(), rule=SGD(lr=Learned(0.1, "tensor")))
    learner.backward(TASKS)
    assert list(learner.learned_settings()) == ["lr.all", "lr.keys"]
    assert all(rate.grad is not None for rate in learner.rates)


def test_thawing_after_rates_were_made_is_an_error():
    model = make_mlp()
    model.layers[0].weight.requires_grad_(False)
    learner = make(model, rule=SGD(lr=Learned(0.1, "tensor")))
    model.layers[0].weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"layers.0.weight was frozen or thawed since the learned settings were made"):
        learner.backward(TASKS)


def test_freezing_all_that_adapts_is_an_error():
    learner = make(adapts="layers.2")
    learner.model.layers[2].requires_grad_(False)
    with pytest.raises(ValueError, match="adapts selects no trainable parameter"):
        learner.backward(TASKS)


@pytest.mark.parametrize("link_chunk", [None, 1])
def test_hidden_randomness_is_found_in_links_too(link_chunk):
    with pytest.warns(RuntimeWarning, match="Noisy draws random numbers"):
        make(Noisy(), Binomial(2), task_chunk=1, link_chunk=link_chunk).backward(TASKS)


def test_a_model_that_vmap_cannot_map_runs_in_a_loop():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs):
            return self.layer(inputs) if inputs.sum() > -1e9 else self.layer(-inputs)

    learner = make(Branching())
    with pytest.warns(RuntimeWarning, match="Branching cannot run side by side .* task_chunk=1"):
        learner.backward(TASKS)
    learner.backward(TASKS)
    make(Branching(), task_chunk=1, link_chunk=1).backward(TASKS)


def test_tasks_may_come_from_a_generator():
    learner = make()
    assert torch.equal(learner.backward(one(TASKS, t) for t in range(2)).loss, learner.backward(TASKS).loss)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make(loss=partial(LOSS, reduction="none")).backward(TASKS),
            ValueError,
            r"loss must return a 0-d tensor",
        ),
        (
            lambda: make(metrics={"m": lambda p, t: p}).backward(TASKS),
            ValueError,
            "metric 'm' must return a 0-d tensor",
        ),
        (lambda: make(metrics={"m": lambda p, t: 1.0}).backward(TASKS), TypeError, "metric 'm' must .* got float"),
        (lambda: make(metrics=["accuracy"]), TypeError, "metrics must map names to functions"),
        (
            lambda: make(rule=Forgetful()).backward(TASKS),
            TypeError,
            "Forgetful.step must return a dict with 'adapted' in it, got a dict of ",
        ),
        (
            lambda: Task.stack([one(make_tasks((4,), 1, n), 0) for n in (3, 4)]),
            ValueError,
            "tasks of different sizes cannot be stacked",
        ),
        (lambda: make(rule=SGD), TypeError, "rule must be an update rule such as metagrad.SGD"),
        (
            lambda: make(rule=torch.optim.SGD([torch.ones(1)])),
            TypeError,
            r"got SGD \( Param.{,60}$",
        ),
        (lambda: make(rule=0.1), TypeError, "rule must be an update rule such as metagrad.SGD"),
        (lambda: make().backward(5), TypeError, "a list of Tasks, got 5"),
        (lambda: make().backward(Task((1, 2), (3, 4))), TypeError, "support must hold at least one torch.Tensor"),
        (lambda: make().adapt(Batch([1.0], [2.0])), TypeError, "support inputs must be a torch.Tensor, got list"),
        (lambda: make().adapt(TASKS.support.inputs), TypeError, r"needs a Batch\(inputs, targets\), got Tensor"),
    ],
)
def test_arguments_of_the_wrong_kind(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_numpy_integers_are_integers():
    assert Binomial(np.int64(2)).cost(5) == Binomial(2).cost(5)


def test_functional_rates_that_are_missing_are_named():
    model = make_mlp().double()
    loop = InnerLoop(WholeModel(model, LOSS), SGD(lr=Learned(0.1, "element")), 2)
    with pytest.raises(ValueError, match="the trees differ in structure"):
        meta_gradient(loop, Exact(), {"model": dict(model.named_parameters())}, TASKS)


def test_reptile_says_how_to_reach_the_rest():
    with pytest.raises(ValueError, match=r"Reptile\(\) gives no gradient to model.layers.0.weight.*freeze those"):
        make(estimator=Reptile(), adapts="layers.2").backward(TASKS)
