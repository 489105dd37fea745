"""What cannot be captured warns once and is evaluated as written; errors are those of the eager library."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import LOSS, Counting, Noisy, captured, make_mlp, make_tasks
from metagrad import SGD, Batch, Exact, FirstOrder, MetaLearner, Reptile, Task, tree
from metagrad.capture import Capture
from metagrad.prepared import NonFiniteError

TASKS = make_tasks((4,), tasks=1)
MODES = pytest.mark.parametrize("mode", ["whole", "pieces"])
PLAIN = {"task_chunk": 1, "link_chunk": 1}


class Branching(nn.Module):
    """Control flow that depends on data: a trace would follow one branch for ever."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.layer(inputs) if inputs.sum() > 0 else self.layer(-2 * inputs)


CALLS = 0


class CountingCalls(nn.Module):
    """Another number at each call, which it may read."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs):
        global CALLS
        CALLS += 1
        return self.layer(inputs)


class Refusing(nn.Module):
    """Has something of its own to say."""

    def __init__(self, error):
        super().__init__()
        self.layer, self.error = nn.Linear(4, 3), error

    def forward(self, inputs):
        if inputs.shape[-2] == 7:
            raise self.error
        return self.layer(inputs)


def refuse(graph, inputs):
    raise NotImplementedError("no compiler for this machine\nand a second line")


def make(mode, model, compiler=None, steps=1, estimator=None, loss=LOSS, **options):
    return captured(mode, compiler=compiler)(
        model.double(), loss, SGD(0.3), steps, estimator or FirstOrder(), **PLAIN, **options
    )


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


def recorded(learner, tasks):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = learner.meta_gradient(tasks)
    return result, caught


def equals_eager(learner, result, tasks):
    kept, learner.capture = learner.capture, Capture("off", otherwise=learner.capture.otherwise)
    assert torch.equal(flat(result), flat(learner.meta_gradient(tasks)))
    learner.capture = kept


@MODES
@pytest.mark.parametrize(
    ("model", "compiler", "reason"),
    [
        (Branching, None, "it could not be traced"),
        (make_mlp, refuse, "could not be compiled: NotImplementedError: no compiler for this machine. capture='off'"),
    ],
)
def test_one_warning_that_names_the_reason(mode, model, compiler, reason):
    learner = make(mode, model(), compiler)
    result, caught = recorded(learner, TASKS)
    assert [warning.category for warning in caught] == [RuntimeWarning]
    assert reason in str(caught[0].message)
    assert "capture='off' silences this" in str(caught[0].message)
    equals_eager(learner, result, TASKS)
    for seed in range(1, 4):
        tasks = make_tasks((4,), seed=seed)
        equals_eager(learner, learner.meta_gradient(tasks), tasks)


@MODES
def test_what_changes_at_every_call_reaches_the_limit(mode, monkeypatch):
    monkeypatch.setattr("metagrad.capture.capture.GRAPHS_AT_MOST", 3)
    counting = Counting()
    learner = make(mode, CountingCalls(), counting)
    warned = []
    for seed in range(6):
        tasks = make_tasks((4,), tasks=1, seed=seed)
        result, caught = recorded(learner, tasks)
        warned.append([str(warning.message) for warning in caught])
        equals_eager(learner, result, tasks)
    assert [len(messages) for messages in warned] == [0, 0, 0, 1, 0, 0]
    assert "was traced 3 times and would have to be again" in warned[3][0]
    assert "change from call to call" in warned[3][0]
    assert len(counting.graphs) == (3 if mode == "whole" else 6)


def test_a_fallback_inside_a_thread_is_the_same():
    learner = make("pieces", make_mlp(), refuse)
    learner.capture = Capture("pieces", 2, compiler=refuse)
    tasks = make_tasks((4,), tasks=4)
    result, caught = recorded(learner, tasks)
    assert len(caught) == 1
    equals_eager(learner, result, tasks)


@MODES
def test_models_that_draw_random_numbers_run_as_written_under_seeds(mode):
    learner = make(mode, Noisy())
    with pytest.warns(RuntimeWarning, match="draws random numbers") as caught:
        result = learner.meta_gradient(TASKS)
    assert any("cannot be captured" in str(warning.message) for warning in caught)
    equals_eager(learner, result, TASKS)


@MODES
@pytest.mark.parametrize("error", [ValueError("mine"), TypeError("mine"), KeyError("mine"), RuntimeError("mine")])
def test_errors_of_the_model_pass_through_and_capture_stays(mode, error):
    """One bad batch is no reason to stop capturing, nor to speak of it."""
    learner = make(mode, Refusing(error))
    learner.meta_gradient(TASKS)
    bad = make_tasks((4,), tasks=1, support=7)
    with pytest.raises(type(error), match="mine") as caught:
        MetaLearner(Refusing(error).double(), F.mse_loss, SGD(0.3), 1, FirstOrder()).meta_gradient(regression(bad))
    with pytest.raises(type(error), match="mine") as again:
        learner_of_regression(mode, error).meta_gradient(regression(bad))
    assert str(again.value) == str(caught.value)
    assert learner.capture.mode == mode


def regression(tasks):
    return type(tasks)(*(batch._replace(targets=torch.zeros(*batch.targets.shape, 3).double()) for batch in tasks))


def learner_of_regression(mode, error):
    learner = make(mode, Refusing(error), loss=F.mse_loss)
    learner.meta_gradient(regression(TASKS))
    return learner


@MODES
def test_a_bad_batch_does_not_switch_capture_off(mode):
    learner = learner_of_regression(mode, RuntimeError("mine"))
    with pytest.raises(RuntimeError, match="mine"):
        learner.meta_gradient(regression(make_tasks((4,), tasks=1, support=7)))
    assert learner.capture.mode == mode
    good = regression(make_tasks((4,), tasks=1, seed=3))
    equals_eager(learner, learner.meta_gradient(good), good)


@MODES
def test_errors_of_the_library_are_the_same(mode):
    for options in ({"estimator": Reptile(), "adapts": "layers.2"}, {"metrics": {"m": lambda p, t: p}}):
        messages = []
        for capture in (mode, "off"):
            learner = make(capture, make_mlp(), **options)
            with pytest.raises(ValueError, match=r"gives no gradient to|must return a 0-d tensor") as caught:
                learner.meta_gradient(TASKS)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        assert learner.capture.mode == "off"


@MODES
@pytest.mark.parametrize("target", ["loss", "data"])
def test_what_is_not_finite_is_named_as_without_capture(mode, target):
    def exploding(predictions, targets):
        return F.cross_entropy(predictions, targets) * (1e400 if target == "loss" else 1.0)

    tasks = make_tasks((4,), tasks=3)
    if target == "data":
        tasks.query.inputs[1, 0, 0] = float("nan")
    messages = []
    for capture in (mode, "off"):
        with pytest.raises(NonFiniteError) as caught:
            make(capture, make_mlp(), estimator=Exact(), loss=exploding).meta_gradient(tasks)
        messages.append((str(caught.value), caught.value.task))
    assert messages[0] == messages[1]


class Peeking(nn.Module):
    """Reads values of its input where a tracer does not see it."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(4, 3), how

    def forward(self, x):
        return self.layer(x * self.how(x))


@pytest.mark.parametrize("mode", ["whole", "pieces"])
@pytest.mark.parametrize("how", [lambda x: x.flatten().tolist()[0], lambda x: x.data.mean()], ids=["tolist", "data"])
def test_values_read_behind_the_tracers_back_are_not_baked_in(mode, how):
    torch.manual_seed(0)
    learner = MetaLearner(Peeking(how).double(), nn.functional.cross_entropy, SGD(0.1), 2, Exact(), task_chunk=1)
    expected = [learner.meta_gradient(drawn_for(seed)) for seed in (0, 1)]
    learner.capture = Capture(mode, compiler=lambda graph, inputs: graph, otherwise=learner.capture.otherwise)
    with pytest.warns(RuntimeWarning, match="cannot be captured"):
        first = learner.meta_gradient(drawn_for(0))
    for result, wanted in zip((first, learner.meta_gradient(drawn_for(1))), expected, strict=True):
        torch.testing.assert_close(result.gradient, wanted.gradient)


def drawn_for(seed):
    draw = torch.Generator().manual_seed(seed)
    batches = [
        Batch(torch.randn(2, 6, 4, dtype=torch.float64, generator=draw), torch.randint(0, 3, (2, 6), generator=draw))
        for _ in range(2)
    ]
    return Task(*batches)
