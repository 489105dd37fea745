"""Every layer of `torch.nn` and every loss of `torch.nn.functional`: its gradient and curvature product are right.

torch's own second derivatives are not all right, so autograd is no oracle here: differences of values and of gradients
are, in float64. A layer stands behind a factor for each of its inputs, and before a network that mixes its outputs.
"""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from layers import LAYERS
from losses import FIRST_ONLY, LOSSES
from metagrad import SGD, Batch, Binomial, Exact, FirstOrder, MetaLearner, Task, tree
from metagrad.admissible import REFUSED
from metagrad.capture import CaptureError
from metagrad.capture.formulas import Formulas
from metagrad.capture.trace import Traced, flatten, unflatten
from metagrad.inner.by_autograd import ByAutograd
from metagrad.inner.curvature import central_difference, reverse_over_reverse
from metagrad.inner.derivatives import Direct
from metagrad.inner.learners import WholeModel
from metagrad.inner.precision import ProductsInBfloat16
from metagrad.inner.randomness import RandomModelError

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning"),
]
ROWS = LAYERS | LOSSES
NUDGE = 1e-4
WITHIN = 1e-8  # of differences of fourth order; measured 1e-10 at worst where torch is right


class Behind(nn.Module):
    """A layer whose inputs have factors of their own, so that it lies between parameters and loss."""

    def __init__(self, layer, inputs):
        super().__init__()
        self.layer = layer
        self.factors = nn.Parameter(1 + 0.3 * torch.randn(inputs.shape)) if inputs.is_floating_point() else None

    def forward(self, inputs):
        return self.layer(inputs if self.factors is None else inputs * self.factors)


def mixing(outputs, targets):
    """A loss with curvature between all outputs."""
    if not outputs.ndim:
        return outputs
    rows = outputs.flatten(1) if outputs.ndim > 1 else outputs.unsqueeze(1)
    across = torch.arange(rows.shape[1] * 5, dtype=rows.dtype).view(-1, 5).sin() / rows.shape[1] ** 0.5
    along = torch.arange(rows.shape[0] * 3, dtype=rows.dtype).view(3, -1).cos() / rows.shape[0] ** 0.5
    return (along @ torch.tanh(rows @ across)).sin().sum() + (rows @ across).square().mean()


class Case:
    """One row with its parameters, a direction, and everything that is compared."""

    def __init__(self, row):
        make, shape = row
        draw = torch.Generator().manual_seed(1)
        inputs = shape if isinstance(shape, torch.Tensor) else torch.randn(shape, generator=draw, dtype=torch.float64)
        self.model = Behind(make(), inputs).double()
        self.at = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.direction = {
            name: torch.randn(p.shape, generator=draw, dtype=p.dtype) for name, p in self.model.named_parameters()
        }
        self.batch = Batch(inputs, torch.zeros(len(inputs), dtype=torch.float64))
        self.learner = WholeModel(self.model, mixing)
        self.derivatives = Direct(self.learner)
        self.meta = {"model": self.at}

    def moved(self, distance):
        return {name: value + distance * self.direction[name] for name, value in self.at.items()}

    def value(self, distance):
        with torch.no_grad():
            return self.learner.support_loss(self.moved(distance), self.meta, self.batch)

    def gradient(self, distance=0.0):
        return self.flat(self.derivatives.gradient(self.moved(distance), self.meta, self.batch)[0])

    def product(self):
        return self.flat(self.derivatives.product(self.at, self.meta, self.batch, self.direction)[0])

    def flat(self, tree):
        return torch.cat([tree[name].flatten() for name in self.at]).detach()

    def autograd(self):
        """Gradient and product without the library; the product of what torch differentiates as a function of all."""
        leaves = {name: value.clone().requires_grad_() for name, value in self.at.items()}
        with sdpa_kernel(SDPBackend.MATH):
            loss = mixing(functional_call(self.model, leaves, (self.batch.inputs.clone(),)), None)
        gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, materialize_grads=True)
        flat = torch.cat([g.flatten() for g in gradients])
        product = torch.zeros_like(flat)
        if flat.requires_grad:
            parts = torch.autograd.grad(flat @ self.flat(self.direction), list(leaves.values()), materialize_grads=True)
            product = torch.cat([p.flatten() for p in parts])
        return flat.detach(), product


def slope(of):
    """The derivative at 0, to fourth order in the nudge."""
    return (8 * (of(NUDGE) - of(-NUDGE)) - (of(2 * NUDGE) - of(-2 * NUDGE))) / (12 * NUDGE)


def close(actual, expected, scale, within=WITHIN):
    assert (actual - expected).norm() <= within * scale


def holds_first(case):
    gradient = case.gradient()
    assert gradient.any()
    close(gradient @ case.flat(case.direction), slope(case.value), gradient.norm() * case.flat(case.direction).norm())
    return gradient


@pytest.mark.parametrize("name", ROWS)
def test_gradient_and_product_equal_differences_and_autograd(name):
    case = Case(ROWS[name])
    gradient = holds_first(case)
    product, expected = case.product(), slope(case.gradient)
    scale = max(expected.norm(), gradient.norm())
    close(product, expected, scale)
    plainly = ByAutograd(case.learner, reverse_over_reverse)
    close(case.flat(plainly.product(case.at, case.meta, case.batch, case.direction)[0]), product, scale, 1e-10)
    by_autograd, product_by_autograd = case.autograd()
    close(gradient, by_autograd, gradient.norm(), 1e-12)
    if name.startswith("weight_norm") and name != "weight_norm old None":
        assert (product_by_autograd - expected).norm() > 0.01 * scale, "torch is right now: leave it to torch"
    else:
        close(product, product_by_autograd, scale, 1e-10)


# `vmap` cannot map these: it says so, and a plain loop takes over.
UNMAPPABLE = ("RReLU", "AdaptiveLogSoftmaxWithLoss", "gaussian_nll_loss")


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("name", ROWS)
def test_side_by_side_gives_the_same_or_an_error(name):
    case = Case(ROWS[name])
    points = {key: torch.stack([value, value + 0.1 * case.direction[key]]) for key, value in case.at.items()}
    data = case.batch._replace(inputs=torch.stack([case.batch.inputs, case.batch.inputs.flip(0)]))
    directions = {key: torch.stack([value, 2 * value.flip(0)]) for key, value in case.direction.items()}

    def product(at, inputs, direction):
        return case.derivatives.product(at, case.meta, case.batch._replace(inputs=inputs), direction)[0]

    if name.startswith(UNMAPPABLE):
        with pytest.raises(RuntimeError):
            vmap(product)(points, data.inputs, directions)
        return
    together = vmap(product)(points, data.inputs, directions)
    for t in range(2):
        alone = product(tree.pick(points, t), data.inputs[t], tree.pick(directions, t))
        close(case.flat(tree.pick(together, t)), case.flat(alone), case.flat(alone).norm() + 1e-12, 1e-10)


# The rows with which tracing was wrong are fast: a function of torch that loses an argument under a mode.
TRACED = [pytest.param(name, marks=[] if name.startswith("l1_loss") else pytest.mark.slow) for name in ROWS]


@pytest.mark.parametrize("name", TRACED)
def test_a_traced_product_is_the_same_or_not_made(name):
    case = Case(ROWS[name])
    leaves, shape = flatten((case.at, case.batch.inputs, case.direction))

    def product(at, inputs, direction):
        return case.derivatives.product(at, case.meta, case.batch._replace(inputs=inputs), direction)[0]

    try:
        traced = Traced(product, leaves, shape, [], lambda graph, inputs: graph)
    except (CaptureError, RandomModelError):
        assert name.startswith(UNMAPPABLE)
        return
    replayed = case.flat(unflatten(traced(leaves, []), traced.structure))
    close(replayed, case.product(), case.product().norm() + 1e-12, 1e-10)


@pytest.mark.parametrize("name", FIRST_ONLY)
def test_without_a_second_derivative_the_error_names_the_two_ways_out(name):
    case = Case(FIRST_ONLY[name])
    holds_first(case)
    tasks = [Task(case.batch, case.batch)]

    def meta_gradient(estimator, **options):
        return MetaLearner(case.model, mixing, SGD(1e-3), 2, estimator, **options).meta_gradient(tasks)

    with pytest.raises(RuntimeError, match=r"derivative for .* is not implemented") as caught:
        meta_gradient(Exact())
    (note,) = caught.value.__notes__
    assert "central_difference" in note
    assert "FirstOrder()" in note
    assert "task_chunk" not in note
    meta_gradient(FirstOrder())
    if "inf" not in name and "max" not in name:
        first, second = (meta_gradient(estimator, curvature=central_difference) for estimator in (Exact(), Binomial(2)))
        for one, other in zip(tree.leaves(first.gradient), tree.leaves(second.gradient), strict=True):
            torch.testing.assert_close(one, other)


NO_LAYERS = {
    *("Module", "Container", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"),
    *(
        "RNNBase",
        "RNNCellBase",
        "LinearCrossEntropyOptions",
        "DataParallel",
        "Parameter",
        "UninitializedParameter",
        "UninitializedBuffer",
        "Buffer",
    ),
}
# The loss modules call the functions of the same name.
FUNCTION_OF = {
    "CrossEntropyLoss": "cross_entropy",
    "LinearCrossEntropyLoss": "linear_cross_entropy",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "CTCLoss": "ctc_loss",
    "KLDivLoss": "kl_div",
    "L1Loss": "l1_loss",
    "MSELoss": "mse_loss",
    "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss",
    "NLLLoss": "nll_loss",
    "NLLLoss2d": "nll_loss",
    "PoissonNLLLoss": "poisson_nll_loss",
    "GaussianNLLLoss": "gaussian_nll_loss",
    "SmoothL1Loss": "smooth_l1_loss",
}


def test_no_layer_and_no_loss_of_torch_is_missing():
    covered = {name.split()[0] for name in ROWS | FIRST_ONLY}
    refused = " ".join(refusal.what for refusal in REFUSED)
    missing = []
    for name, kind in vars(nn).items():
        if not isinstance(kind, type) or name in NO_LAYERS or name.startswith("Lazy") or "Dropout" in name:
            continue
        function = FUNCTION_OF.get(name, re.sub("(?<!^)(?=[A-Z])", "_", name).lower())
        if name not in covered and function not in covered and f"`{name}`" not in refused:
            missing.append(name)
    losses = [name for name in vars(F) if name.endswith(("_loss", "cross_entropy", "with_logits"))]
    assert not missing + [name for name in losses if not name.startswith("_") and name not in covered]


@pytest.mark.parametrize("mode", [Formulas, ProductsInBfloat16])
@pytest.mark.parametrize("name", [name for name in LOSSES if "_loss weight" in name])
def test_no_weight_is_lost_under_a_mode(name, mode):
    """Capture and bfloat16 work under one, and torch's own `l1_loss` does not hand it its weight."""
    loss, inputs = LOSSES[name][0](), torch.linspace(-1, 1, 20, dtype=torch.float64).view(5, 4)
    with mode():
        actual = loss(inputs)
    assert torch.equal(actual, loss(inputs))
