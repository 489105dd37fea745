"""Arguments, the choice of "auto", announcements, copies, and the memory layout of what comes back."""

import copy
import importlib
import pickle
from dataclasses import replace

import pytest
import torch

from cases import LOSS, Counting, captured, make_conv, make_mlp, make_tasks
from metagrad import SGD, Batch, Binomial, Exact, FirstOrder, MetaLearner, SquareRoot, Task, Truncated, tree
from metagrad.batching import Chunk
from metagrad.capture import MODES, Capture
from metagrad.inner.curvature import forward_over_reverse
from metagrad.networks import MLP, Conv4

TASKS = make_tasks((4,), tasks=1)


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "graph"}, r"capture must be one of 'auto', 'off', 'pieces', 'whole', got 'graph'"),
        ({"mode": True}, r"capture must be one of .*, got True"),
        ({"mode": "pieces", "streams": 0}, r"streams \(None for as many as pay off\) must be .* 1.* got 0"),
        ({"mode": "pieces", "streams": 1.5}, r"streams .* must be an integer, got 1\.5"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Capture(**arguments)
    options = {"capture" if name == "mode" else name: value for name, value in arguments.items()}
    with pytest.raises((ValueError, TypeError), match=message):
        MetaLearner(make_mlp(), LOSS, SGD(0.1), 2, Exact(), **options)
    assert set(MODES) == {"auto", "off", "pieces", "whole"}


@pytest.mark.parametrize(
    ("model", "features", "steps", "chosen"),
    [
        (MLP([4, 8, 8, 3]), (4,), 5, "whole"),
        (MLP([4, 8, 8, 3]), (4,), 11, "pieces"),  # 6 parameter tensors, 64 links at most
        (MLP([4, 400, 400, 3]), (4,), 1, "pieces"),
        (Conv4(3, filters=2, size=16), (1, 16, 16), 1, "pieces"),
    ],
    ids=["small", "long", "large", "convolutions"],
)
def test_auto_chooses_and_says_so_once(model, features, steps, chosen):
    said = []
    learner = MetaLearner(model.double(), LOSS, SGD(0.1), steps, FirstOrder(), task_chunk=1)
    learner.capture = Capture("auto", announce=said.append, compiler=Counting())
    tasks = make_tasks(features, tasks=1)
    for _ in range(2):
        learner.meta_gradient(tasks)
    assert learner.capture.mode == chosen
    assert said[0] == f"capture: {chosen}"
    assert sum(message.startswith("capture:") for message in said) == 1
    what = ["the meta-gradient"] if chosen == "whole" else ["the inner gradient", "the outer gradient"]
    began = [message for message in said if message.startswith("compiling ")]
    ended = [message for message in said if message.startswith("compiled ")]
    assert [name for name in what if f"compiling {name} …" in began] == what
    assert len(began) == len(ended) == len(said[1:]) // 2
    assert said[1].startswith("compiling")
    assert said[2].startswith("compiled")
    assert said[2].endswith(" s")


def test_off_is_as_written():
    counting = Counting()
    learner = captured("off", compiler=counting)(make_mlp().double(), LOSS, SGD(0.1), 2, Exact())
    learner.meta_gradient(TASKS)
    assert not counting.graphs
    assert MetaLearner(make_mlp(), LOSS, SGD(0.1), 2, Exact()).capture.mode == "off"


@pytest.mark.parametrize("mode", [pytest.param("whole", marks=pytest.mark.slow), "pieces"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda learner: pickle.loads(pickle.dumps(learner))])
def test_copies_are_independent_and_capture_again(mode, duplicate):
    learner = captured(mode)(make_mlp().double(), LOSS, SGD(0.3), 1, Exact())
    before = learner.meta_gradient(TASKS)
    twin = duplicate(learner)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.mul_(2)
    assert twin.capture.mode == mode
    traced = len(learner.capture._compiler.graphs)
    torch.testing.assert_close(flat(twin.meta_gradient(TASKS)), flat(before), rtol=1e-12, atol=0)
    assert not torch.allclose(flat(learner.meta_gradient(TASKS)), flat(before))
    assert len(learner.capture._compiler.graphs) == traced
    assert len(twin.capture._compiler.graphs) > 0
    assert twin.capture._compiler is not learner.capture._compiler


def test_the_default_capture_can_be_pickled():
    learner = MetaLearner(make_mlp(), LOSS, SGD(0.3), 1, Exact(), capture="pieces", streams=2)
    assert pickle.loads(pickle.dumps(learner)).capture.mode == "pieces"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [pytest.param("whole", marks=pytest.mark.slow), "pieces"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_have_the_layout_of_their_parameters(mode, layout):
    model = make_conv().double().to(memory_format=layout)
    learner = captured(mode, task_chunk=1)(model, LOSS, SGD(0.1), 1, FirstOrder())
    tasks = make_tasks((1, 16, 16), tasks=1)
    for _ in range(2):
        result = learner.backward(tasks)
        for name, parameter in model.named_parameters():
            assert result.gradient["model"][name].stride() == parameter.stride(), name
            if parameter.ndim == 4:
                assert parameter.grad.is_contiguous(memory_format=layout), name
    learner.capture = Capture("off")
    torch.testing.assert_close(flat(result), flat(learner.meta_gradient(tasks)), rtol=1e-10, atol=1e-13)


def test_pieces_hold_images_channels_last():
    counting = Counting()
    model = Conv4(3, channels=2, filters=2, size=16).double()
    learner = captured("pieces", compiler=counting)(model, LOSS, SGD(0.1), 1, FirstOrder())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 2, 16, 16, generator=generator, dtype=torch.float64)
    batch = Batch(images, torch.arange(3).repeat(2, 1))
    seen = []
    learner.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].stride()))
    learner.meta_gradient(Task(batch, batch))
    assert set(seen) >= {(2 * 256, 1, 32, 2)}
    assert counting.graphs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "options", "expected"),
    [
        (Exact(), {}, 3),
        (Truncated(2), {}, 2),
        (Truncated(5), {}, 3),
        (Binomial(2), {}, 0),
        (Exact(), {"reuse": 1}, 1),
        (Exact(), {"trajectory": SquareRoot()}, 0),
        (Exact(), {"curvature": forward_over_reverse}, 0),
    ],
)
def test_a_whole_small_network_reuses_gradients_that_meet_one_product(estimator, options, expected, monkeypatch):
    """Numbers are those of the oracles; here is what was asked for, and that what users chose stays."""
    seen = []

    def recorded(of_task):
        seen.append(of_task.loop.reuse)
        return Chunk(of_task)

    monkeypatch.setattr(importlib.import_module("metagrad.capture.capture"), "Chunk", recorded)
    learner = MetaLearner(make_mlp().double(), LOSS, SGD(0.3), 3, estimator)
    learner.loop = replace(learner.loop, **options)
    learner.capture = Capture("whole", compiler=Counting())
    learner.meta_gradient(make_tasks((4,), tasks=2))
    assert seen == [expected]
