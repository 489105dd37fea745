"""A pure function of any `nn.Module`, and the two networks that few-shot papers use."""

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

from metagrad import checks

# A call puts other parameters into the module's slots for a while: one thread at a time.
_CALLS = threading.RLock()


def call(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Predictions of `module` with `parameters` in place of its own: pure, twice differentiable, the module untouched.

    Parameters that are not named keep the module's values. Batch norm always normalises by the statistics of `inputs`,
    in train and eval mode alike (the convention of MAML), and neither reads nor writes running ones; other buffers are
    read from a copy. Attention runs on the math backend, because the fused kernels have no second derivative, and
    recurrent layers outside cuDNN for the same reason.

    Args:
        module: any module of one input tensor.
        parameters: dotted names as in `module.named_parameters()`; tied parameters under their first name.
        inputs: [N, ...].
    """
    with _CALLS:
        return _call(module, parameters, inputs)


def _call(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    given = {id(p): parameters[name] for name, p in module.named_parameters() if name in parameters}
    swapped: dict[str, Tensor | None] = {}
    copies: dict[int, Tensor] = {}
    recurrent = False
    # Slot by slot, each module once: `functional_call` could not restore a slot that it swaps under two names.
    for path, part in module.named_modules():
        recurrent = recurrent or isinstance(part, nn.RNNBase)
        prefix = f"{path}." if path else ""
        for name, parameter in part.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) in given:
                swapped[prefix + name] = given[id(parameter)]
        for name, buffer in part.named_buffers(recurse=False, remove_duplicate=False):
            if isinstance(part, _BatchNorm) and name in ("running_mean", "running_var"):
                swapped[prefix + name] = None  # without running statistics batch norm takes the batch's
            else:
                swapped[prefix + name] = copies.setdefault(id(buffer), buffer.clone())
    with _twice_differentiable_kernels(recurrent):
        return functional_call(module, swapped, (inputs,), tie_weights=False)  # pyright: ignore[reportArgumentType]


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that require a gradient, by dotted name, tied ones once.

    Raises:
        ValueError: there are none.
    """
    found: dict[str, Tensor] = {
        name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad
    }
    if not found:
        raise ValueError(
            f"the model {type(module).__name__} has no trainable parameter: nothing could be meta-learned; "
            "give it parameters or unfreeze some with requires_grad_(True)"
        )
    return found


def aliases(module: nn.Module) -> dict[str, list[str]]:
    """All dotted names of each trainable parameter, by its first: more than one where weights are tied."""
    first = {id(p): name for name, p in trainable(module).items()}
    names: dict[str, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            names.setdefault(first[id(parameter)], []).append(name)
    return names


def check(module: nn.Module) -> None:
    """Refuse layers that a pure, repeatable model cannot have.

    Raises:
        ValueError: active dropout (its mask would differ each time the model is evaluated along one trajectory), or
            an instance norm that would use running statistics. Names the module and the way out.
    """
    for path, part in module.named_modules():
        name = f"{type(part).__name__} {path!r}" if path else type(part).__name__
        rate = (
            part.p
            if isinstance(part, _DropoutNd)
            else part.dropout
            if isinstance(part, nn.MultiheadAttention | nn.RNNBase)
            else 0.0
        )
        if part.training and rate > 0:
            raise ValueError(
                f"{name} drops activations at random (p = {rate:g}), so the model is not a function of its parameters; "
                "set p = 0, or call model.eval() (batch norm uses the batch's statistics in eval mode too)"
            )
        if isinstance(part, _InstanceNorm) and part.track_running_stats:
            raise ValueError(f"{name} keeps running statistics; build it with track_running_stats=False")


@contextmanager
def _twice_differentiable_kernels(recurrent: bool) -> Generator[None]:
    fastpath, cudnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    # This flag alone: `torch.backends.cudnn.flags` would reset the user's choices of determinism and TF32.
    torch.backends.cudnn.enabled = cudnn and not recurrent
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        torch.backends.cudnn.enabled = cudnn


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Fraction of examples whose largest logit is the target's: logits [N, C], integer targets [N], a 0-d result."""
    return (predictions.argmax(dim=-1) == targets).to(predictions.dtype).mean()


class MLP(nn.Module):
    """A fully connected network with ReLU between layers; `MLP([1, 40, 40, 1])` is MAML's sinusoid regressor.

    The last layer starts at zero, so that nothing is predicted before there is anything to adapt to.
    Shapes: inputs [N, widths[0]] to outputs [N, widths[-1]].

    Raises:
        ValueError: fewer than two widths, or a width below 1.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"widths must name at least an input and an output width, got {list(widths)}")
        for width in widths:
            checks.integer("every width", width, least=1)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        _zero(layers[-2])

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layers."""
        return self.layers(inputs)


class Conv4(nn.Module):
    """Four blocks of 3×3 convolution, batch norm, ReLU and halving, then one linear layer: the few-shot backbone.

    `pooling="stride"` halves in the convolution (MAML's Omniglot network), `"max"` by 2×2 max-pooling (its
    miniImageNet network). The head starts at zero: class numbers mean nothing before adaptation, so no class is to be
    preferred. Shapes: inputs [N, channels, size, size] to logits [N, ways].

    Raises:
        ValueError: a size below 16 with max-pooling (nothing would be left after four halvings), or a count below 1.
    """

    def __init__(
        self,
        ways: int,
        channels: int = 1,
        filters: int = 64,
        size: int = 28,
        pooling: Literal["stride", "max"] = "stride",
    ) -> None:
        super().__init__()
        for name, value in (("ways", ways), ("channels", channels), ("filters", filters), ("size", size)):
            checks.integer(name, value, least=1)
        if pooling not in ("stride", "max"):
            raise ValueError(f"pooling must be 'stride' or 'max', got {pooling!r}")
        blocks: list[nn.Module] = []
        side = size
        for fan_in in (channels, filters, filters, filters):
            stride = 2 if pooling == "stride" else 1
            blocks += [
                nn.Conv2d(fan_in, filters, kernel_size=3, stride=stride, padding=1),
                nn.BatchNorm2d(filters, track_running_stats=False),
                nn.ReLU(),
            ]
            if pooling == "max":
                blocks.append(nn.MaxPool2d(2))
            side = (side + 1) // 2 if pooling == "stride" else side // 2
        if side < 1:
            raise ValueError(f"size must be at least 16 with max-pooling, got {size}")
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(filters * side * side, ways)
        _zero(self.head)

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply blocks and head."""
        return self.head(self.features(inputs).flatten(1))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
