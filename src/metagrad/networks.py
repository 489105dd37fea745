"""The two networks that few-shot papers use, and the metric that goes with them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from metagrad import checks


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Fraction of examples whose largest logit is the target's: logits [N, C], integer targets [N], a 0-d result.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        tensor(0.5000)
    """
    return (predictions.argmax(dim=-1) == targets).to(predictions.dtype).mean()


class MLP(nn.Module):
    """A fully connected network with ReLU between layers; `MLP([1, 40, 40, 1])` is MAML's sinusoid regressor.

    The last layer starts at zero, so that nothing is predicted before there is anything to adapt to.
    Shapes: inputs [N, widths[0]] to outputs [N, widths[-1]].

    Raises:
        ValueError: fewer than two widths, or a width below 1.

    Example:
        >>> import torch
        >>> MLP([1, 40, 40, 1])(torch.randn(10, 1)).shape
        torch.Size([10, 1])
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

    Example:
        >>> import torch
        >>> Conv4(ways=5, channels=3, filters=32, size=84, pooling="max")(torch.randn(2, 3, 84, 84)).shape
        torch.Size([2, 5])
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
