"""The same numbers however tasks and links are batched, for every estimator; and tasks that do not fit are refused."""

import re

import pytest
import torch

from cases import LOSS, MODELS, make_tasks, one
from metagrad import (
    SGD,
    Batch,
    Binomial,
    Exact,
    FiniteDifference,
    FirstOrder,
    Grouped,
    Hybrid,
    Implicit,
    InnerLoop,
    Learned,
    MetaLearner,
    Parallel,
    PartOfModel,
    Proximal,
    Reptile,
    Split,
    Task,
    Truncated,
    WholeModel,
    meta_gradient,
    tree,
)
from metagrad.estimators import ConjugateGradient, Neumann
from metagrad.estimators.base import Pullback
from metagrad.estimators.families import families
from metagrad.functional import trainable
from metagrad.memory import peak_bytes
from metagrad.prepared import NonFiniteError

STEPS = 4
LISTED = [
    Exact(),
    FirstOrder(),
    Truncated(2),
    Binomial(2),
    Binomial(2, scale="paper", center=0.1),
    Binomial(2, center="auto"),
    Parallel(3),
    Grouped(2),
    Hybrid(3, 2),
    Split(2, late=Binomial(1), early=Exact()),
    Implicit(ConjugateGradient(3)),
    Implicit(Neumann(3)),
    FiniteDifference(0.1),
    Reptile(),
]
ESTIMATORS = [*LISTED, *(one.usual for one in families() if type(one.usual) not in {type(each) for each in LISTED})]

LEARNED = SGD(lr=Learned(0.1, "element"))


def learner(estimator, model_name="mlp", **options):
    torch.manual_seed(3)
    make, features = MODELS[model_name]
    options = {"proximal": 0.5} | options
    return MetaLearner(make().double(), LOSS, SGD(0.1), STEPS, estimator, **options), features


def assert_same(result, expected, tolerance=1e-10):
    for (path, a), (_, b) in zip(tree.items(result.gradient), tree.items(expected.gradient), strict=True):
        assert (a - b).norm() <= tolerance * (1 + b.norm()), path
    assert torch.allclose(result.loss, expected.loss, rtol=tolerance)
    for name in expected.diagnostics:
        assert torch.allclose(result.diagnostics[name].double(), expected.diagnostics[name].double(), rtol=1e-6)


# What an estimator does with its links is the same on every network: the fast tests have two of them on images.
@pytest.mark.parametrize(
    ("model_name", "estimator"),
    [
        pytest.param(name, estimator, id=f"{estimator!r}-{name}", marks=[pytest.mark.slow] if slow else [])
        for name in ("mlp", "conv4")
        for estimator in ESTIMATORS
        for slow in [name == "conv4" and estimator not in (Exact(), Binomial(2))]
    ],
)
def test_vmapped_chunked_and_looped_tasks_and_links_agree(estimator, model_name):
    looped, features = learner(estimator, model_name, task_chunk=1, link_chunk=1)
    tasks = make_tasks(features, tasks=3)
    expected = looped.meta_gradient(tasks)
    assert expected.loss.shape == (3,)
    assert expected.diagnostics["support_loss"].shape == (3, STEPS)
    for options in ({}, {"task_chunk": 2}, {"link_chunk": 2}, {"task_chunk": 1}, {"link_chunk": 1}):
        assert_same(learner(estimator, model_name, **options)[0].meta_gradient(tasks), expected)


@pytest.mark.parametrize("task_chunk", [None, 1, 2])
def test_tasks_of_unequal_size_keep_their_order_and_equal_weight(task_chunk):
    subject, features = learner(Binomial(2), task_chunk=task_chunk)
    sizes = [(6, 9), (3, 6), (6, 9), (9, 3), (6, 9)]
    tasks = [one(make_tasks(features, 1, *size, seed=i), 0) for i, size in enumerate(sizes)]
    result = subject.meta_gradient(tasks)
    alone = [subject.meta_gradient([task]) for task in tasks]
    assert torch.allclose(result.loss, torch.cat([r.loss for r in alone]), rtol=1e-12)
    for path, leaf in tree.items(result.gradient):
        mean = sum(dict(tree.items(r.gradient))[path] for r in alone) / len(alone)
        assert torch.allclose(leaf, mean, rtol=1e-9, atol=1e-12), path


def test_functional_form_equals_the_learner():
    subject, features = learner(Binomial(2))
    tasks = make_tasks(features)
    loop = InnerLoop(Proximal(WholeModel(subject.model, LOSS), 0.5), SGD(0.1), STEPS)
    meta = {"model": {**trainable(subject.model)}}
    result = meta_gradient(loop, Binomial(2), meta, tasks)
    assert_same(result, subject.meta_gradient(tasks), tolerance=1e-14)
    assert not any(leaf.requires_grad for leaf in tree.leaves(result.gradient))
    assert all(p.grad is None for p in subject.model.parameters())


@pytest.mark.parametrize(
    ("make_learner", "rule", "estimator", "message"),
    [
        (WholeModel, SGD(0.1), Implicit(), "Implicit found no dependence of the inner loss on the meta-parameters"),
        (WholeModel, SGD(0.1), FiniteDifference(), "FiniteDifference found no dependence of the inner loss"),
        (
            WholeModel,
            LEARNED,
            Reptile(),
            r"Reptile\(\) gives no gradient to rule.lr.layers.0.weight",
        ),
        (
            lambda *a: Proximal(WholeModel(*a), 1.0),
            LEARNED,
            Implicit(),
            "gives no gradient to rule",
        ),
        (
            lambda *a: Proximal(WholeModel(*a), 1.0),
            LEARNED,
            FiniteDifference(),
            "gives no gradient to rule",
        ),
        (lambda *a: PartOfModel(*a, "layers.2"), SGD(0.1), Reptile(), "gives no gradient to model.layers.0.weight"),
        (lambda *a: PartOfModel(*a, "layers.2"), SGD(0.1), Implicit(), "gives no gradient to model.layers.2.weight"),
    ],
)
def test_combinations_that_make_no_sense_say_what_to_do(make_learner, rule, estimator, message):
    model = MODELS["mlp"][0]().double()
    inner = make_learner(model, LOSS)
    loop = InnerLoop(inner, rule, STEPS)
    meta = {"model": {**trainable(model)}}
    rates = rule.initial_meta(inner.start(meta), STEPS)
    if tree.leaves(rates):
        meta["rule"] = rates
    with pytest.raises(ValueError, match=message):
        meta_gradient(loop, estimator, meta, make_tasks((4,)))


@pytest.mark.parametrize("rule", [SGD(0.1), SGD(0.1, 0.5), LEARNED], ids=repr)
@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if isinstance(e, Pullback)], ids=repr)
def test_every_pullback_serves_every_rule_and_learner(estimator, rule):
    for options in ({}, {"adapts": "layers.2"}, {"proximal": 0.5}, {"adapts": "layers.0", "proximal": 0.5}):
        model = MODELS["mlp"][0]().double()
        result = MetaLearner(model, LOSS, rule, STEPS, estimator, **options).meta_gradient(make_tasks((4,)))
        assert all(leaf.isfinite().all() and leaf.norm() > 0 for leaf in tree.leaves(result.gradient))


def broken(change):
    tasks = make_tasks((4,))
    (xs, ys), (xq, yq) = tasks
    return change(xs.clone(), ys.clone(), xq.clone(), yq.clone())


def build(xs, ys, xq, yq):
    return Task(Batch(xs, ys), Batch(xq, yq))


def poisoned(value, part):
    def change(xs, ys, xq, yq):
        (xs if part == "support" else xq)[1, 2, 0] = value
        return build(xs, ys, xq, yq)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda xs, ys, xq, yq: build(xs[:, :0], ys[:, :0], xq, yq), "the support set is empty"),
        (lambda xs, ys, xq, yq: build(xs[:0], ys[:0], xq[:0], yq[:0]), "the support set is empty"),
        (lambda xs, ys, xq, yq: build(xs, ys, xq[:, :0], yq[:, :0]), "the query set is empty"),
        (lambda xs, ys, xq, yq: build(xs, ys, xq[:1], yq[:1]), "support inputs have 2 tasks and query inputs 1"),
        (lambda xs, ys, xq, yq: build(xs, ys[:, :3], xq, yq), "differ in their example axis"),
        (lambda xs, ys, xq, yq: build(xs[0, 0], ys, xq, yq), "inputs need axes"),
        (lambda xs, ys, xq, yq: build(xs.sum(), ys, xq, yq), "inputs need axes"),
        (lambda xs, ys, xq, yq: build(xs.float(), ys, xq, yq), "support inputs are torch.float32 and the model is"),
        (lambda xs, ys, xq, yq: build(xs, ys + 1, xq, yq), r"support targets must lie in 0\.\.2.*, got 3"),
        (lambda xs, ys, xq, yq: build(xs, ys, xq, yq - 1), r"query targets must lie in 0\.\.2.*, got -1"),
        (lambda xs, ys, xq, yq: build(xs.to("meta"), ys, xq, yq), "support inputs are on meta and the model on cpu"),
        (poisoned(float("nan"), "support"), "support inputs of task 1 hold NaN or infinite values"),
        (poisoned(float("inf"), "query"), "query inputs of task 1 hold NaN or infinite values"),
    ],
)
def test_tasks_that_do_not_fit_are_refused_before_any_gradient(change, message):
    subject, _ = learner(Exact())
    for call in (subject.backward, subject.evaluate):
        with pytest.raises(ValueError, match=message):
            call(broken(change))
    assert all(p.grad is None for p in subject.parameters())


def test_bad_data_names_its_task():
    subject, _ = learner(Exact())
    with pytest.raises(NonFiniteError) as caught:
        subject.backward(broken(poisoned(float("nan"), "support")))
    assert caught.value.task == 1


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ([], ValueError, "the list of tasks is empty"),
        ([1], TypeError, "a list of Tasks, got int"),
    ],
)
def test_what_is_no_task(tasks, error, message):
    with pytest.raises(error, match=message):
        learner(Exact())[0].backward(tasks)


def test_task_chunk_below_one():
    with pytest.raises(ValueError, match="task_chunk must be at least 1, got 0"):
        learner(Exact(), task_chunk=0)
    with pytest.raises(ValueError, match="link_chunk must be at least 1, got 0"):
        learner(Exact(), link_chunk=0)
    subject, features = learner(Exact())
    meta = {"model": {**trainable(subject.model)}}
    with pytest.raises(ValueError, match="task_chunk must be at least 1, got 0"):
        meta_gradient(subject.loop, Exact(), meta, make_tasks(features), task_chunk=0)
    with pytest.raises(TypeError, match="estimator must be one such as"):
        meta_gradient(subject.loop, "exact", meta, make_tasks(features))


class Wide(torch.nn.Module):
    """So many parameters that memory decides. [N, 4] to [N, 3]."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 200), torch.nn.Tanh(), torch.nn.Linear(200, 200))
        self.head = torch.nn.Linear(200, 3)

    def forward(self, inputs):
        return self.head(self.layers(inputs))


@pytest.mark.parametrize("estimator", [Exact(), Binomial(2), Binomial(2, center="auto"), Truncated(2)], ids=repr)
def test_what_runs_side_by_side_keeps_to_the_budget(estimator):
    tasks, budget = make_tasks((4,), tasks=6), 24 * 2**20
    planned, unlimited, alone = (
        MetaLearner(Wide().double(), LOSS, SGD(0.1), STEPS, estimator, **options)
        for options in ({"side_by_side": budget}, {"side_by_side": 1e12}, {"task_chunk": 1, "link_chunk": 1})
    )
    planned.load_state_dict(alone.state_dict())
    assert_same(planned.meta_gradient(tasks), alone.meta_gradient(tasks), tolerance=1e-10)
    unlimited.meta_gradient(tasks)
    peaks = [
        peak_bytes(lambda learner=learner: learner.meta_gradient(tasks), torch.device("cpu"))
        for learner in (planned, unlimited)
    ]
    assert peaks[0] <= 1.25 * budget < peaks[1]
    assert re.fullmatch(r"\d of 6 tasks.* side by side: .* and 24 MiB may stand side by side", planned.plan)


def test_small_models_run_side_by_side_and_convolutions_on_a_cpu_one_by_one():
    for name, sentence in (("mlp", "everything side by side"), ("conv4", "one task and one inner step at a time")):
        make, features = MODELS[name]
        learner = MetaLearner(make().double(), LOSS, SGD(0.1), STEPS, Exact())
        learner.meta_gradient(make_tasks(features))
        assert learner.plan.startswith(sentence)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"seed": 0}, "the model draws random numbers"), ({"derivatives": "autograd"}, "by torch.autograd")],
)
def test_the_plan_says_why_nothing_runs_side_by_side(options, reason):
    learner = MetaLearner(MODELS["mlp"][0]().double(), LOSS, SGD(0.1), STEPS, Exact(), **options)
    assert learner.plan == "nothing has run yet"
    learner.meta_gradient(make_tasks((4,)))
    assert learner.plan == f"one task and one inner step at a time: {reason}"
