"""Reduced precision: really rounded, near float32, twice differentiable, and nothing else touched."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cases import LOSS, MODELS, captured, make_conv, make_mlp, make_tasks
from metagrad import SGD, Batch, Exact, FirstOrder, MetaLearner, Proximal, Task, WholeModel, tree
from metagrad.inner.precision import PRECISIONS, ProductsInBfloat16, check_precision, kernels


def float_tasks(features, **options):
    return Task(*(Batch(b.inputs.float(), b.targets) for b in make_tasks(features, **options)))


def flat(result):
    return torch.cat([leaf.flatten() for leaf in tree.leaves(result.gradient)])


def make(model, precision, estimator=None, steps=2, learner=MetaLearner, **options):
    return learner(model.float(), LOSS, SGD(0.1), steps, estimator or Exact(), precision=precision, **options)


def error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("estimator", [Exact(), FirstOrder()], ids=repr)
@pytest.mark.parametrize(("model", "features"), [(make_mlp, (4,)), (make_conv, (1, 16, 16))], ids=["mlp", "conv4"])
def test_bfloat16_is_near_float32_and_rounds(model, features, estimator):
    network, tasks = model(), float_tasks(features, support=12)
    exact, rounded = (make(network, p, estimator, steps=1).meta_gradient(tasks) for p in ("float32", "bf16"))
    assert 1e-4 < error(flat(rounded), flat(exact)) < 0.5
    assert (rounded.loss - exact.loss).abs().max() > 1e-5
    leaves = [*tree.leaves(rounded.gradient), rounded.loss, rounded.diagnostics["support_loss"]]
    assert {leaf.dtype for leaf in leaves} == {torch.float32}


def test_second_derivatives_are_there():
    """`Exact` differs from `FirstOrder` by the same curvature as in float32."""
    network, tasks = make_mlp(), float_tasks((4,))
    parts = {
        precision: flat(make(network, precision, Exact()).meta_gradient(tasks))
        - flat(make(network, precision, FirstOrder()).meta_gradient(tasks))
        for precision in ("float32", "bf16")
    }
    assert error(parts["bf16"], parts["float32"]) < 0.2


@pytest.mark.parametrize("model_name", ["transformer", "batch-norm"])
def test_other_models_work(model_name):
    model, features = MODELS[model_name]
    network, tasks = model(), float_tasks(features)
    exact, rounded = (flat(make(network, p).meta_gradient(tasks)) for p in ("float32", "bf16"))
    assert 1e-4 < error(rounded, exact) < 0.5


def test_adapted_parameters_stay_in_float32():
    learner = make(make_mlp(), "bf16")
    support = Batch(*(leaf[0] for leaf in float_tasks((4,)).support))
    adapted = learner.adapt(support)
    assert {p.dtype for p in adapted.parameters()} == {torch.float32}
    assert learner.evaluate(float_tasks((4,))).loss.dtype == torch.float32


@pytest.mark.parametrize("mode", ["whole", "pieces"])
@pytest.mark.parametrize(
    ("model", "features"),
    [
        pytest.param(make_mlp, (4,), id="mlp"),
        pytest.param(make_conv, (1, 16, 16), id="conv4", marks=pytest.mark.slow),
    ],
)
def test_captured_equals_eager(mode, model, features):
    network, tasks = model(), float_tasks(features, tasks=1)
    options = {"steps": 1, "estimator": Exact(), "task_chunk": 1, "link_chunk": 1}
    eager = flat(make(network, "bf16", **options).meta_gradient(tasks))
    exact = flat(make(network, "float32", **options).meta_gradient(tasks))
    learner = make(network, "bf16", learner=captured(mode), **options)
    for _ in range(2):
        found = flat(learner.meta_gradient(tasks))
        if model is make_conv and mode == "pieces" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            # A CPU without bf16 sums a convolution otherwise than the products that it is spelled out as: as far off.
            assert error(found, exact) < 1.5 * error(eager, exact)
        else:
            assert error(found, eager) < 1e-6
    assert error(exact, eager) > 1e-4


def test_a_change_of_precision_is_not_stale():
    network, tasks = make_mlp(), float_tasks((4,))
    low = make(network, "bf16", FirstOrder(), 1, captured("pieces"))
    high = make(network, "float32", FirstOrder(), 1)
    before = flat(low.meta_gradient(tasks))
    low.loop = high.loop
    assert error(flat(low.meta_gradient(tasks)), flat(high.meta_gradient(tasks))) < 1e-5
    assert error(before, flat(high.meta_gradient(tasks))) > 1e-4


def test_refused():
    with pytest.raises(ValueError, match=r"precision must be one of 'float32', 'tf32', 'bf16', got 'fp8'"):
        check_precision("fp8")
    with pytest.raises(ValueError, match="got 'fp8'"):
        make(make_mlp(), "fp8")
    with pytest.raises(ValueError, match=r"precision='tf32' is a mode of CUDA kernels, and the model is on cpu"):
        make(make_mlp(), "tf32").meta_gradient(float_tasks((4,)))
    for precision in ("bf16", "tf32"):
        with pytest.raises(ValueError, match=f"precision='{precision}' is for float32 models.*torch.float64"):
            make(make_mlp(), precision).double().meta_gradient(make_tasks((4,)))
    make(make_mlp(), "float32").double().meta_gradient(make_tasks((4,)))


@pytest.mark.parametrize("mode", ["whole", "pieces"])
def test_refused_under_capture_too(mode):
    learner = make(make_mlp(), "tf32", learner=captured(mode))
    with pytest.raises(ValueError, match="precision='tf32' is a mode of CUDA kernels"):
        learner.meta_gradient(float_tasks((4,)))
    assert learner.capture.mode == mode


def flags():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(params=[(False, False), (True, True), (True, False), (False, True)], ids=str)
def users(request):
    before = flags()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_are_chosen_inside_and_restored(precision, users):
    with kernels(precision):
        assert flags() == (precision == "tf32",) * 2
    assert flags() == users
    with pytest.raises(KeyError), kernels(precision):
        raise KeyError
    assert flags() == users


def test_a_call_and_an_error_leave_the_flags_alone(users):
    seen = []

    def watching(predictions, targets):
        seen.append(flags())
        return F.cross_entropy(predictions, targets)

    def failing(predictions, targets):
        raise ZeroDivisionError

    tasks = float_tasks((4,))
    learner = MetaLearner(make_mlp(), watching, SGD(0.1), 1, FirstOrder())
    learner.meta_gradient(tasks)
    learner.evaluate(tasks)
    learner.adapt(Batch(*(leaf[0] for leaf in tasks.support)))
    assert set(seen) == {(False, False)}
    assert flags() == users
    learner = MetaLearner(make_mlp(), failing, SGD(0.1), 1, FirstOrder())
    for call in (learner.meta_gradient, learner.evaluate):
        with pytest.raises(ZeroDivisionError):
            call(tasks)
        assert flags() == users


@pytest.mark.parametrize(
    "product",
    [
        lambda a, b: a @ b,
        torch.matmul,
        torch.mm,
        lambda a, b: a.mm(b),
        lambda a, b: F.linear(a, b.T),
        lambda a, b: torch.addmm(torch.zeros(5), a, b),
        lambda a, b: torch.einsum("ij,jk->ik", a, b),
        lambda a, b: F.conv1d(a.unsqueeze(-1), b.T.unsqueeze(-1)).squeeze(-1),
        lambda a, b: torch.bmm(a.unsqueeze(0), b.unsqueeze(0)).squeeze(0),
    ],
)
def test_each_product_is_rounded_and_no_other_operation(product):
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    with ProductsInBfloat16():
        rounded, other = product(a, b), (a * 1.001).sum()
    assert rounded.dtype == torch.float32
    expected = a.bfloat16().float() @ b.bfloat16().float()
    torch.testing.assert_close(rounded, expected, rtol=1e-2, atol=1e-2)
    assert not torch.allclose(rounded, a @ b, rtol=1e-6, atol=1e-6)
    assert torch.equal(other, (a * 1.001).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_products_of_other_types_are_left_alone(dtype):
    a = torch.arange(12).view(3, 4).to(dtype) + 1000
    with ProductsInBfloat16():
        result = a @ a.T
    assert result.dtype == dtype
    assert torch.equal(result, a @ a.T)


def test_an_own_learner_keeps_its_arithmetic():
    model = nn.Linear(3, 1)
    own = Proximal(WholeModel(model, F.mse_loss, precision="bf16"), strength=1.0)
    learner = MetaLearner(model, learner=own, rule=SGD(0.1), num_steps=2, estimator=Exact(), precision="bf16")
    assert learner.precision == "bf16"
