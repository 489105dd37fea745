"""Tasks in parallel threads: the same numbers to the bit, and nothing of the user's or torch's state moved."""

import time

import pytest
import torch
from torch import nn

from cases import LOSS, Counting, captured, generic, make_mlp, make_tasks, one
from metagrad import SGD, Exact, FiniteDifference, FirstOrder, MetaLearner, tree
from metagrad.capture import Capture, CaptureError
from metagrad.capture.executions import Pieces
from metagrad.capture.graphs import Graphs
from metagrad.networks import MLP


class Slow(nn.Module):
    """Waits between reading one parameter and the next, so that several threads are inside at once."""

    def __init__(self):
        super().__init__()
        self.layer = generic(MLP([4, 3, 3]))

    def forward(self, inputs):
        first, *others = self.layer.layers
        inputs = first(inputs)
        time.sleep(0.002)
        for layer in others:
            inputs = layer(inputs)
        return inputs


@pytest.fixture(autouse=True)
def _threads_restored():
    """A number of threads that streams have to change, and must put back."""
    torch.set_num_threads(2)
    yield
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 2


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


def make(model, streams, estimator=None, steps=2, **options):
    made = captured("pieces", streams=streams)
    return made(model.double(), LOSS, SGD(0.3), steps, estimator or Exact(), task_chunk=1, link_chunk=1, **options)


@pytest.mark.slow
def test_streams_equal_the_loop_to_the_bit():
    tasks = make_tasks((4,), tasks=7)
    model = make_mlp()
    alone, together = make(model, 1), make(model, 2)
    for _ in range(2):
        first, second = alone.meta_gradient(tasks), together.meta_gradient(tasks)
        assert torch.equal(flat(first), flat(second))
        assert torch.equal(first.loss, second.loss)
        assert torch.equal(first.diagnostics["support_loss"], second.diagnostics["support_loss"])
    assert torch.get_num_threads() == 2


@pytest.mark.slow
def test_ragged_tasks_come_back_in_the_order_given():
    sizes = [6, 3, 6, 9, 3, 6]
    tasks = [one(make_tasks((4,), 1, size, size + 1, seed=i), 0) for i, size in enumerate(sizes)]
    learner = make(make_mlp(), 2)
    result = learner.meta_gradient(tasks)
    learner.capture = Capture("off")
    expected = learner.meta_gradient(tasks)
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(flat(result), flat(expected), rtol=1e-10, atol=1e-14)
    assert len(set(result.loss.tolist())) == len(sizes)


def test_threads_are_restored_after_an_error_in_a_task():
    learner = make(make_mlp(), 2)
    pieces = Pieces(Graphs(Counting(), lambda message: None, 16), 2, False)
    pieces.derivatives(learner.loop)
    tasks = make_tasks((4,), tasks=6)
    chunks = [type(tasks)(*(type(b)(*(leaf[t : t + 1] for leaf in b)) for b in tasks)) for t in range(6)]
    seen = []

    def failing(meta, chunk):
        seen.append(torch.get_num_threads())
        if len(seen) == 3:
            raise CaptureError("the third")
        return {"x": chunk.support.inputs.sum()}

    with pytest.raises(CaptureError, match="the third"):
        pieces.run(failing, learner.meta(), chunks)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    results = pieces.run(failing, learner.meta(), chunks)
    expected = [chunk.support.inputs.sum() for chunk in chunks]
    assert [result["x"] for result in results] == expected


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        (Exact(), {}),
        (Exact(), {"reuse": 1}),
        (FiniteDifference(1e-2), {"proximal": 0.5}),
    ],
    ids=["traced", "reuse", "nudged"],
)
def test_threads_inside_one_module_have_parameters_of_their_own(estimator, options):
    """Tracing, kept graphs and nudged loops evaluate the module itself."""
    model = Slow()
    parameters = [id(p) for p in model.parameters()]
    tasks = make_tasks((4,), tasks=8)
    learner = make(model, 2, estimator, steps=1, **options)
    result = learner.meta_gradient(tasks)
    assert parameters == [id(p) for p in model.parameters()]
    expected = MetaLearner(model, LOSS, SGD(0.3), 1, estimator, **options).meta_gradient(tasks)
    torch.testing.assert_close(flat(result), flat(expected), rtol=1e-7, atol=1e-10)


def test_another_estimator_may_trace_in_a_thread():
    """The product is needed for the first time after all chunks were seen before."""
    model = Slow()
    learner = make(model, 2, FirstOrder(), steps=1)
    tasks = make_tasks((4,), tasks=6)
    learner.meta_gradient(tasks)
    learner.estimator = Exact()
    result = learner.meta_gradient(tasks)
    expected = MetaLearner(model, LOSS, SGD(0.3), 1, Exact()).meta_gradient(tasks)
    torch.testing.assert_close(flat(result), flat(expected), rtol=1e-10, atol=1e-14)
