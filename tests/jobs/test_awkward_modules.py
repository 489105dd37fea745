"""What vmap or `torch.func` cannot do and plain PyTorch can: job 20 of a user, against plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from jobs.by_hand import by_hand, check, one_warning
from metagrad import SGD, Binomial, Exact, MetaLearner, Objective, Task
from metagrad.inner.loop import QUERY
from metagrad.inner.randomness import seeded, task_seed
from rules.by_hand import sgd

K, LR = 3, 0.3


def error(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"])


def points(examples=6):
    return {"x": torch.randn(examples, 4).double(), "y": torch.randint(0, 3, (examples,))}


def tasks():
    return [Task(points(), points()) for _ in range(2)]


def around(middle):
    return nn.Sequential(nn.Linear(4, 5), middle, nn.Linear(5, 3)).double()


def compare(net, given, oracle=None, inner=error, estimator=None, **options):
    """`Exact` of a network against plain autograd, of another one that is the same function where that is needed."""
    result = MetaLearner(net, Objective(inner), SGD(LR), K, estimator or Exact(), **options).meta_gradient(given)
    check(result, [by_hand(oracle or net, inner, inner, t.support, t.query, K, sgd(LR)) for t in given])


class Checkpointed(nn.Module):
    def __init__(self, part, reentrant):
        super().__init__()
        self.part, self.reentrant = part, reentrant

    def forward(self, inputs):
        return checkpoint(self.part, inputs, use_reentrant=self.reentrant)


def test_checkpoint():
    torch.manual_seed(3)
    part, given = nn.Sequential(nn.Linear(5, 5), nn.Tanh()), tasks()
    net = around(Checkpointed(part, reentrant=False))
    plain = nn.Sequential(net[0], nn.ModuleDict({"part": part}), net[2])  # the same names
    plain[1].forward = part.forward
    with one_warning("derivatives='autograd' silences this"):
        compare(net, given, plain)
    for estimator in (Exact(), Binomial(K)):
        compare(net, given, plain, estimator=estimator, derivatives="autograd")


def test_checkpoint_of_the_kind_that_cannot_be_differentiated_twice():
    net = around(Checkpointed(nn.Sequential(nn.Linear(5, 5), nn.Tanh()), reentrant=True))
    with pytest.raises(RuntimeError, match="use_reentrant=True") as raised:
        compare(net, tasks())
    assert "use_reentrant=False" in raised.value.__notes__[0]


def test_dropout_inside_a_checkpoint_draws_the_same_mask_again():
    part = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Dropout(0.4))
    net, (task,) = around(Checkpointed(part, reentrant=False)), tasks()[:1]
    learner = MetaLearner(net, Objective(error), SGD(LR), K, Exact(), derivatives="autograd", seed=0)
    plain = nn.Sequential(net[0], nn.ModuleDict({"part": part}), net[2])
    plain[1].forward = part.forward
    seed = task_seed(task, 0)
    masks = {"around": lambda k: seeded(seed, QUERY if k < 0 else k)}
    check(learner.meta_gradient([task]), [by_hand(plain, error, error, task.support, task.query, K, sgd(LR), **masks)])


class OldCube(torch.autograd.Function):
    """x³ with everything in one `forward`."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * slope


class NewCube(torch.autograd.Function):
    """x³ with `setup_context`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * slope


class UnmappedCube(NewCube):
    """The same without a rule for vmap."""

    generate_vmap_rule = False


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


@pytest.mark.parametrize(
    ("function", "warning", "quiet"),
    [
        (OldCube, "derivatives='autograd' silences this", {"derivatives": "autograd"}),
        (NewCube, None, {}),
        (UnmappedCube, "task_chunk=1 and link_chunk=1 silence this", {"task_chunk": 1, "link_chunk": 1}),
    ],
)
def test_custom_functions(function, warning, quiet):
    net, cubed, given = around(Applied(function.apply)), around(Applied(lambda x: x**3)), tasks()
    cubed.load_state_dict(net.state_dict())
    if warning:
        with one_warning(warning):
            compare(net, given, cubed)
    compare(net, given, cubed, estimator=Binomial(K), **quiet)


class WrittenOutNorm(nn.Linear):
    """w = g·v/‖v‖ for each row: torch's own second derivative of its weight norm is wrong."""

    def __init__(self, gain, direction, bias):
        super().__init__(*direction.shape[::-1])
        del self.weight
        self.gain, self.direction, self.bias = nn.Parameter(gain), nn.Parameter(direction), nn.Parameter(bias)

    def forward(self, inputs):
        weight = self.direction * self.gain / self.direction.norm(dim=1, keepdim=True)
        return F.linear(inputs, weight, self.bias)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrap", [weight_norm, parametrizations.weight_norm], ids=["old", "new"])
def test_weight_norm(wrap):
    net, given = around(wrap(nn.Linear(5, 5))), tasks()
    bias, gain, direction = (p.detach().clone() for p in net[1].parameters())
    written_out = nn.Sequential(net[0], WrittenOutNorm(gain, direction, bias), net[2])
    result = MetaLearner(net, Objective(error), SGD(LR), K, Exact()).meta_gradient(given)
    other = MetaLearner(written_out, Objective(error), SGD(LR), K, Exact()).meta_gradient(given)
    check(other, [by_hand(written_out, error, error, t.support, t.query, K, sgd(LR)) for t in given])
    theirs = ["0.weight", "0.bias", "1.bias", "1.gain", "1.direction", "2.weight", "2.bias"]
    for (ours, _), name in zip(net.named_parameters(), theirs, strict=True):
        wanted = other.gradient["model"][name]
        torch.testing.assert_close(result.gradient["model"][ours], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wrap", [spectral_norm, parametrizations.spectral_norm], ids=["old", "new"])
def test_spectral_norm_in_eval_mode(wrap):
    net = around(wrap(nn.Linear(5, 5)))
    with torch.no_grad():
        net(points()["x"])
    compare(net.eval(), tasks())


def test_lazy_layers_after_their_first_call():
    net = nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(3)).double()
    net(points()["x"])
    compare(net, tasks())


class Counted(nn.Module):
    """Writes a mean and a count into its buffers, and reads the mean."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, inputs):
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
        return torch.tanh(inputs - self.mean)


def test_buffers_written_in_forward():
    net = around(Counted())
    compare(net, tasks())
    assert net[1].calls == 0
    assert not net[1].mean.any()


@pytest.mark.parametrize("part", ["whole", "middle", "in-place", "function"])
def test_modules_that_are_compiled_already(part):
    net = around(nn.Sequential(nn.Linear(5, 5), nn.Tanh()))
    plain, given, compiled = around(nn.Sequential(nn.Linear(5, 5), nn.Tanh())), tasks(), net
    plain.load_state_dict(net.state_dict())
    if part == "whole":
        compiled = torch.compile(net, backend="eager")
    elif part == "middle":
        net[1] = torch.compile(net[1], backend="eager")
    elif part == "function":
        net[1][1] = Applied(torch.compile(torch.tanh, backend="aot_eager"))
    else:
        net.compile(backend="eager")
    learner = MetaLearner(compiled, Objective(error), SGD(LR), K, Exact())
    result = learner.meta_gradient(given)
    inside = {name.replace("_orig_mod.", ""): leaf for name, leaf in result.gradient["model"].items()}
    result.gradient["model"] = inside
    check(result, [by_hand(plain, error, error, t.support, t.query, K, sgd(LR)) for t in given])
    adapted = learner.adapt(given[0].support)
    assert adapted(given[0].query["x"]).shape == (6, 3)
    learner.backward(given)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("options", [{"task_chunk": 1, "link_chunk": 1}, {"derivatives": "autograd"}], ids=str)
@pytest.mark.parametrize("unrolled", [False, True], ids=["backward", "unroll"])
def test_outer_autocast(options, unrolled):
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 3))
    task = tasks()[0].map(lambda leaf: leaf.float() if leaf.is_floating_point() else leaf)
    learner = MetaLearner(net, Objective(error), SGD(LR), K, Exact(), **options)
    exact = learner.meta_gradient([task]).gradient["model"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, slopes = by_hand(net, error, error, task.support, task.query, K, sgd(LR))
        if unrolled:
            query = error(learner.unroll(task.support), task.query)
        else:
            learner.backward([task])
    if unrolled:
        query.backward()  # outside, as torch advises
    wanted = torch.cat([slopes[f"net.{name}"].flatten() for name, _ in net.named_parameters()])
    ours = torch.cat([p.grad.flatten() for p in net.parameters()])
    full = torch.cat([exact[name].flatten() for name, _ in net.named_parameters()])
    assert (ours - wanted).norm() <= 1e-5 * wanted.norm()
    assert (full - wanted).norm() >= 1e-3 * wanted.norm()  # so that bfloat16 was in use
