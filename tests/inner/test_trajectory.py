"""Recomputed trajectories: equal to the stored one to the bit, at the documented work and memory.

Most of it is on a small problem whose derivatives are written out, so that thousands of inner steps cost nothing.
"""

import gc
import random
import weakref
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch

from cases import LOSS, MODELS, RULES, make_tasks, one
from metagrad import (
    SGD,
    Batch,
    Binomial,
    Exact,
    FirstOrder,
    Grouped,
    Hybrid,
    Implicit,
    InnerLoop,
    Learned,
    Parallel,
    Proximal,
    Split,
    Task,
    Truncated,
    WholeModel,
    meta_gradient,
    tree,
)
from metagrad.batching import Chunk
from metagrad.estimators.implicit import ConjugateGradient, Neumann
from metagrad.inner.derivatives import Direct, Outer
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.trajectory import Logarithmic, Slots, SquareRoot, Stored
from metagrad.memory import LiveTensors
from oracle import exact_meta_gradient

RECOMPUTED = [SquareRoot(), Logarithmic(), Slots(1), Slots(2), Slots(3), Slots(50)]
OF_EACH_KIND = [SquareRoot(), Logarithmic()]
STEPS = [1, 2, 3, 7, 16, 17]
RULE = {"sgd": SGD(0.1), "momentum": SGD(0.1, 0.8), "rates": SGD(lr=Learned(0.1, "element"))}
ANCHOR = 0.3


class Bowl:
    """A learner: Σ log cosh(A·φ − y) + λ/2·‖φ − θ‖², so that curvature differs from state to state."""

    def initial(self, meta):
        return {"model": meta["model"]}

    context = initial

    def start(self, meta):
        return meta["model"]

    def support_loss(self, adapted, meta, batch):
        anchor = (adapted["w"] - meta["model"]["w"]).square().sum()
        return (batch.inputs @ adapted["w"] - batch.targets).cosh().log().sum() + ANCHOR / 2 * anchor

    def query_loss(self, adapted, meta, batch):
        return (batch.inputs @ adapted["w"] - batch.targets).cosh().log().sum(), {}


class BowlDerivatives:
    """Those of `Bowl`, written out; counts its inner gradients, and refuses at one of them if told."""

    def __init__(self):
        self.gradients = 0
        self.refuses_at = None

    def gradient(self, adapted, meta, support):
        self.gradients += 1
        if self.gradients == self.refuses_at:
            raise RuntimeError("no memory left")
        residual = support.inputs @ adapted["w"] - support.targets
        away = adapted["w"] - meta["model"]["w"]
        loss = residual.cosh().log().sum() + ANCHOR / 2 * (away * away).sum()
        return {"w": support.inputs.mT @ residual.tanh() + ANCHOR * away}, loss

    def product(self, adapted, meta, support, direction):
        slope = (support.inputs @ adapted["w"] - support.targets).tanh()
        curved = support.inputs.mT @ ((1 - slope * slope) * (support.inputs @ direction["w"]))
        return {"w": curved + ANCHOR * direction["w"]}, {"model": {"w": -ANCHOR * direction["w"]}}

    def outer(self, adapted, meta, query):
        residual = query.inputs @ adapted["w"] - query.targets
        return Outer({"w": query.inputs.mT @ residual.tanh()}, {}, residual.cosh().log().sum(), {})


@cache
def bowls(size=4, tasks=3):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def batch():
        return Batch(draw(tasks, 5, size) / size**0.5, draw(tasks, 5))

    return {"w": draw(size)}, Task(batch(), batch())


def setting(rule, size=4):
    start, tasks = bowls(size)
    rates = rule.initial_meta(start, 3)
    meta = {"model": start} | ({"rule": rates} if tree.leaves(rates) else {})
    return meta, tasks


def episode(loop, task_index=0, derivatives=None, size=4):
    meta, tasks = setting(loop.rule, size)
    return TaskEpisode(loop, meta, one(tasks, task_index), derivatives or BowlDerivatives())


def estimators(steps):
    return [
        Exact(),
        FirstOrder(),
        *(Truncated(window) for window in (0, steps - 1, steps, steps + 1)),
        Split(2, Exact(), Binomial(1)),
        Split(3, Binomial(2), FirstOrder()),
        Hybrid(5, 2),
        Binomial(0),
        Binomial(1),
        Binomial(3, center=0.5),
        Binomial(3, center="auto"),
        Parallel(3),
        Grouped(2),
        Implicit(ConjugateGradient(3)),
        Implicit(Neumann(2)),
    ]


def same(first, second):
    pairs = zip(tree.items(first), tree.items(second), strict=True)
    return all(path == other and torch.equal(a, b) for (path, a), (other, b) in pairs)


def everything(estimate, of):
    measured = {"losses": torch.stack(of.support_losses), "loss": of.loss, "displacement": of.displacement()}
    return {"gradient": estimate.gradient, "diagnostics": estimate.diagnostics, **measured}


def in_a_loop(loop, estimator):
    of = episode(loop)
    return everything(estimator.estimate(of), of)


def side_by_side(loop, estimator):
    def of_one(meta, task):
        of = TaskEpisode(loop, meta, task, BowlDerivatives())
        return {"each": everything(estimator.estimate(of), of)}

    return Chunk(of_one)(*setting(loop.rule))["each"]


def test_written_out_derivatives_are_those_of_the_learner():
    meta, tasks = setting(SGD(0.1))
    task, learner, direction = one(tasks, 0), Bowl(), {"w": torch.randn(4, dtype=torch.float64)}
    ours, automatic = BowlDerivatives(), Direct(learner)
    at = tree.map(lambda leaf: leaf + 0.1, meta["model"])
    pairs = [
        (d.gradient(at, meta, task.support), d.product(at, meta, task.support, direction)) for d in (ours, automatic)
    ]
    torch.testing.assert_close(pairs[0], pairs[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("run", "steps", "trajectories"),
    [
        *(pytest.param(in_a_loop, steps, OF_EACH_KIND, id=f"in-a-loop-{steps}") for steps in (1, 2, 3, 17)),
        pytest.param(side_by_side, 7, OF_EACH_KIND, id="side-by-side-7"),
        *(
            pytest.param(run, steps, RECOMPUTED, id=f"{run.__name__}-{steps}-all", marks=pytest.mark.slow)
            for run in (in_a_loop, side_by_side)
            for steps in STEPS
        ),
    ],
)
@pytest.mark.parametrize("rule", RULE)
def test_every_estimator_gives_the_same_bits_as_on_the_stored_trajectory(rule, steps, run, trajectories):
    loop = InnerLoop(Bowl(), RULE[rule], steps)
    for estimator in estimators(steps):
        expected = run(loop, estimator)
        for trajectory in trajectories:
            actual = run(replace(loop, trajectory=trajectory), estimator)
            assert same(actual, expected), f"{estimator!r} on {trajectory!r}"


@pytest.mark.parametrize("link_chunk", [1, 3, 30])
@pytest.mark.parametrize("trajectory", OF_EACH_KIND, ids=repr)
def test_link_chunks_give_the_same_bits(trajectory, link_chunk):
    loop = InnerLoop(Bowl(), SGD(0.1), 17, link_chunk=link_chunk)
    for run in (in_a_loop, side_by_side):
        for estimator in (Binomial(2), Split(4, Binomial(3), Binomial(1))):
            assert same(run(replace(loop, trajectory=trajectory), estimator), run(loop, estimator))


@pytest.mark.parametrize("trajectory", RECOMPUTED, ids=repr)
def test_links_can_be_asked_for_in_any_order_and_by_several_windows(trajectory):
    loop = InnerLoop(Bowl(), SGD(0.1, 0.8), 17)
    stored, recomputed = episode(loop).chain, episode(replace(loop, trajectory=trajectory)).chain
    u = {"w": torch.randn(4, dtype=torch.float64)}
    order = random.Random(0).choices(range(17), k=60)
    window, expected = recomputed.window(3, 12).window(1, 7), stored.window(3, 12).window(1, 7)
    assert len(window) == len(expected) == 6
    for k in order:
        assert same(recomputed.direct(k, {"adapted": u})._asdict(), stored.direct(k, {"adapted": u})._asdict())
        assert all(map(same, window.curvature(k % 6, u), expected.curvature(k % 6, u)))
    for start, stop in ((0, 17), (2, 9), (4, 4), (17, 17), (0, 0)):
        ahead, reference = recomputed.window(start, stop).beyond(), stored.window(start, stop).beyond()
        assert len(ahead) == 1
        assert all(map(same, ahead.curvature(0, u), reference.curvature(0, u)))
        assert all(map(same, ahead.window(1, 1).beyond().curvature(0, u), reference.beyond().curvature(0, u)))
    for chain in (recomputed, window):
        with pytest.raises(IndexError):
            chain.curvature(len(chain), u)


@pytest.mark.parametrize("trajectory", RECOMPUTED, ids=repr)
def test_a_recomputation_that_failed_leaves_nothing_half_done(trajectory):
    loop, derivatives = InnerLoop(Bowl(), SGD(0.1), 17), BowlDerivatives()
    expected = Exact().estimate(episode(loop)).gradient
    broken = episode(replace(loop, trajectory=trajectory), derivatives=derivatives)
    for ahead in (1, 3, 6):
        derivatives.refuses_at = derivatives.gradients + ahead
        with pytest.raises(RuntimeError, match="no memory left"):
            Exact().estimate(broken)
    assert same(Exact().estimate(broken).gradient, expected)


@pytest.mark.parametrize("reuse", [1, 4, 12])
@pytest.mark.parametrize("trajectory", RECOMPUTED, ids=repr)
def test_links_with_kept_products_follow_those_that_are_recomputed(trajectory, reuse):
    loop = InnerLoop(Bowl(), SGD(0.1), 9, reuse=reuse)
    meta, tasks = setting(loop.rule)
    for estimator in (Exact(), Binomial(2), Truncated(3)):
        stored, recomputed = (
            estimator.estimate(TaskEpisode(chosen, meta, one(tasks, 0))).gradient
            for chosen in (loop, replace(loop, trajectory=trajectory))
        )
        assert same(recomputed, stored)


@pytest.mark.parametrize("task_chunk", [1, None])
@pytest.mark.parametrize("trajectory", [SquareRoot(), Slots(2)], ids=repr)
def test_a_network_through_the_public_function(trajectory, task_chunk):
    make, features = MODELS["mlp"]
    learner, tasks = Proximal(WholeModel(make().double(), LOSS), 0.7), make_tasks(features)
    meta = {"model": {name: p.detach() for name, p in learner.learner.model.named_parameters()}}
    for estimator in (Exact(), Binomial(2), Implicit()):
        loop = InnerLoop(learner, RULES["nesterov"], 7, link_chunk=3)
        expected = meta_gradient(loop, estimator, meta, tasks, task_chunk)
        actual = meta_gradient(replace(loop, trajectory=trajectory), estimator, meta, tasks, task_chunk)
        assert same(actual.gradient, expected.gradient)
        assert same(actual.diagnostics, expected.diagnostics)
        assert torch.equal(actual.loss, expected.loss)


@pytest.mark.parametrize("trajectory", RECOMPUTED, ids=repr)
def test_equals_autograd_through_the_whole_loop(trajectory):
    make, features = MODELS["mlp"]
    model, tasks = make().double(), make_tasks(features, tasks=1)
    meta = {"model": {name: p.detach() for name, p in model.named_parameters()}}
    loop = InnerLoop(WholeModel(model, LOSS), SGD(0.1, 0.8), 11, trajectory=trajectory)
    loss, gradient, _ = exact_meta_gradient(model, LOSS, one(tasks, 0), lr=0.1, steps=11, momentum=0.8)
    result = meta_gradient(loop, Exact(), meta, tasks)
    torch.testing.assert_close(dict(tree.items(result.gradient["model"])), gradient, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result.loss[0], loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize("trajectory", [Stored(), *RECOMPUTED], ids=repr)
def test_inner_gradients_are_those_of_the_formula(trajectory):
    for steps in (1, 2, 3, 4, 5, 7, 9, 10, 15, 16, 17, 26, 60):
        recomputed = trajectory.cost(steps).recomputed
        # First-order links of plain gradient descent look at no state, so that none is recomputed for them.
        for estimator, most in (
            (Exact(), recomputed),
            (Split(5, Exact(), FirstOrder()), recomputed),
            (FirstOrder(), 0),
        ):
            derivatives = BowlDerivatives()
            of = episode(InnerLoop(Bowl(), SGD(0.1), steps, trajectory=trajectory), derivatives=derivatives)
            assert derivatives.gradients == steps
            estimator.estimate(of)
            again = derivatives.gradients - steps
            assert again <= most if isinstance(estimator, Split) and steps > 5 else again == most


def test_formulas_are_the_documented_ones():
    assert Stored().cost(1000) == (1001, 1000, 0)
    assert SquareRoot().cost(1000) == (32 + 32, 32, 32 * 31)
    assert SquareRoot().cost(16) == (4 + 4, 4, 12)
    assert SquareRoot().cost(17) == (4 + 5, 5, 15)
    assert Slots(10).cost(1000) == Logarithmic().cost(1000) == (12, 1, 3636)
    assert Slots(44).cost(1000).recomputed == 1954
    assert Slots(1).cost(1000).recomputed == 1000 * 999 // 2
    assert Slots(1000).cost(1000).recomputed == Slots(5000).cost(1000).recomputed == 999
    assert Logarithmic().cost(10**6).recomputed == pytest.approx(6.8e6, rel=0.01)
    for steps in range(1, 2000):
        assert sum(SquareRoot().cost(steps)[:2]) <= 3 * ((steps - 1) ** 0.5 // 1 + 1)
        assert SquareRoot().cost(steps).recomputed < steps
        assert Logarithmic().cost(steps).recomputed < steps * steps.bit_length()


def test_slots_recompute_as_few_steps_as_any_schedule_can():
    @cache
    def fewest(steps, slots):
        if steps == 1 or slots == 1:
            return steps * (steps - 1) // 2
        return min(ahead + fewest(steps - ahead, slots - 1) + fewest(ahead, slots) for ahead in range(1, steps))

    for slots in range(1, 8):
        for steps in range(1, 60):
            assert Slots(slots).cost(steps).recomputed == fewest(steps, slots)


class Alive:
    """How many of the tensors that it was shown are alive, now and at most."""

    def __init__(self):
        self.now = self.most = 0

    def show(self, tensor):
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(tensor, self._gone)

    def _gone(self):
        self.now -= 1


@dataclass(frozen=True)
class WatchedSGD(SGD):
    """Shows every state that it makes."""

    alive: Alive | None = None

    def step(self, state, gradient, meta, k):
        after = super().step(state, gradient, meta, k)
        self.alive.show(after["adapted"]["w"])
        return after


class WatchedDerivatives(BowlDerivatives):
    """Shows every inner gradient."""

    def __init__(self):
        super().__init__()
        self.alive = Alive()

    def gradient(self, adapted, meta, support):
        gradient, loss = super().gradient(adapted, meta, support)
        self.alive.show(gradient["w"])
        return gradient, loss


def most_alive(trajectory, estimator, steps):
    """States and gradients."""
    gc.collect()
    states, derivatives = Alive(), WatchedDerivatives()
    loop = InnerLoop(Bowl(), WatchedSGD(0.05, alive=states), steps, trajectory=trajectory, link_chunk=4)
    of = episode(loop, derivatives=derivatives)
    estimator.estimate(of)
    return states.most, derivatives.alive.most


@pytest.mark.parametrize("estimator", [Exact(), Truncated(30), FirstOrder(), Split(20, Binomial(1), Exact())], ids=repr)
@pytest.mark.parametrize("trajectory", [SquareRoot(), Logarithmic(), Slots(3)], ids=repr)
def test_no_more_is_alive_than_documented(trajectory, estimator):
    steps = 300 if isinstance(estimator, Exact) and trajectory != Slots(3) else 70
    states, gradients = most_alive(trajectory, estimator, steps)
    cost = trajectory.cost(steps)
    # Beside them: the state after a step and the gradient before it, the copies that a pullback of the rule makes, and
    # the states of a round.
    assert cost.states - 3 <= states <= cost.states + 2 + (4 if isinstance(estimator, Split) else 0)
    assert cost.gradients <= gradients <= cost.gradients + 1


@pytest.mark.slow
def test_memory_grows_like_the_square_root_and_the_logarithm():
    few, many = (most_alive(SquareRoot(), Exact(), steps) for steps in (100, 900))
    assert sum(many) / sum(few) == pytest.approx(3, rel=0.1)
    few, many = (most_alive(Logarithmic(), Exact(), steps) for steps in (100, 900))
    assert sum(many) - sum(few) <= 4
    assert sum(most_alive(Stored(), Exact(), 100)) >= 200


@pytest.mark.slow
@pytest.mark.parametrize(("trajectory", "copies"), [(SquareRoot(), 96), (Logarithmic(), 13)])
def test_bytes_of_a_thousand_steps(trajectory, copies):
    size = 2000
    loop = InnerLoop(Bowl(), SGD(0.05), 1000, trajectory=trajectory)
    episode(replace(loop, num_steps=2), size=size)  # the data are made outside
    with LiveTensors() as live:
        Exact().estimate(episode(loop, size=size))
    cost = trajectory.cost(1000)
    assert cost.states + cost.gradients == copies
    # What one step and one product need, and a thousand scalars.
    assert live.peak <= (copies + 12) * size * 8 + 1000 * 8


@pytest.mark.parametrize("count", [0, -3])
def test_too_few_slots_are_refused(count):
    with pytest.raises(ValueError, match=rf"count of Slots .*Logarithmic\(\).* must be at least 1, got {count}"):
        Slots(count)


@pytest.mark.parametrize("count", [True, 2.0, None, "3"])
def test_slots_that_are_no_number_are_refused(count):
    with pytest.raises(TypeError, match=f"count of Slots .* must be an integer, got {count!r}"):
        Slots(count)


@pytest.mark.parametrize("trajectory", [SquareRoot, "sqrt", None, 3])
def test_what_is_no_trajectory_is_refused(trajectory):
    with pytest.raises(TypeError, match=r"trajectory must be Stored\(\), SquareRoot\(\), .* got "):
        InnerLoop(Bowl(), SGD(0.1), 3, trajectory=trajectory)


def test_choices_are_values():
    assert [repr(choice) for choice in (Stored(), SquareRoot(), Logarithmic(), Slots(3))] == [
        "Stored()",
        "SquareRoot()",
        "Logarithmic()",
        "Slots(count=3)",
    ]
    assert Slots(3) == Slots(3) != Slots(4)
    assert InnerLoop(Bowl(), SGD(0.1), 3).trajectory == Stored()
    with pytest.raises(AttributeError):
        Slots(3).count = 4
