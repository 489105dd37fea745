"""Formulas that a compiler makes more of than of torch's own operations, swapped in while a function is traced."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metagrad.capture.convolution import Geometry, convolve
from metagrad.capture.values import refuse_hidden_values
from metagrad.spelled_out import weighted_l1_loss


class Formulas(TorchFunctionMode):
    """While active, max-pooling of tiles and convolutions are computed our way, and values cannot be read unseen."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace `conv2d` and `max_pool2d` on the CPU where it can be; `F`'s pooling hides torch's from a mode."""
        kwargs = kwargs or {}
        weighted = weighted_l1_loss(func, args, kwargs)
        if weighted is not None:
            return weighted
        refuse_hidden_values(func)
        if func is torch.max_pool2d or (func is F.max_pool2d and not kwargs.get("return_indices")):
            return _max_pool2d(*args, **{name: value for name, value in kwargs.items() if name != "return_indices"})
        if func is torch.conv2d:
            return _conv2d(*args, **kwargs)
        return func(*args, **kwargs)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] | list[int] = 1,
    padding: str | int | tuple[int, ...] | list[int] = 0,
    dilation: int | tuple[int, ...] | list[int] = 1,
    groups: int = 1,
) -> Tensor:
    plain = input.ndim == 4 and groups == 1 and _pair(dilation) == (1, 1)
    # Sums of bfloat16 are rounded on the way, and would be otherwise in another order.
    precise = input.device.type == "cpu" and input.dtype in (torch.float32, torch.float64)
    if isinstance(padding, str) or not plain or not precise:
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)  # pyright: ignore
    image, kernel = (input.shape[2], input.shape[3]), (weight.shape[2], weight.shape[3])
    outputs = convolve(input, weight, Geometry(image, kernel, _pair(stride), _pair(padding)))
    return outputs if bias is None else outputs + bias.view(-1, 1, 1)


def _max_pool2d(
    input: Tensor,
    kernel_size: int | tuple[int, ...] | list[int],
    stride: int | tuple[int, ...] | list[int] | None = None,
    padding: int | tuple[int, ...] | list[int] = 0,
    dilation: int | tuple[int, ...] | list[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    kernel = _pair(kernel_size)
    tiles = not stride or _pair(stride) == kernel
    plain = _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not ceil_mode
    fits = input.shape[-2] >= kernel[0] and input.shape[-1] >= kernel[1]
    if not (tiles and plain and fits) or input.device.type != "cpu":
        return torch.max_pool2d(input, kernel_size, stride or kernel_size, padding, dilation, ceil_mode)
    return tiled_max_pool2d(input, kernel)


def tiled_max_pool2d(inputs: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Max-pooling of tiles [..., H, W] → [..., H/kh, W/kw], equal to torch's, ties and NaN included.

    Which entry of its tile wins is found once, without derivative; the rest is a masked sum, whose derivatives of any
    order are masked copies and masked sums. torch's own backward searches each window again for each entry when it is
    compiled, and its second derivative gathers by index: together more than half the time of a curvature product of
    Conv4 on a CPU.
    """
    high, wide = kernel
    rows, columns = inputs.shape[-2] // high, inputs.shape[-1] // wide
    inputs = inputs[..., : rows * high, : columns * wide]
    values = inputs.detach()
    best = values[..., ::high, ::wide]
    winner = torch.zeros_like(best)
    for place in range(1, high * wide):
        entry = values[..., place // wide :: high, place % wide :: wide]
        # The first of equals wins, and the first NaN: as in torch.
        wins = ((entry > best) | (entry != entry)) & (best == best)
        best = torch.where(wins, entry, best)
        winner = torch.where(wins, float(place), winner)
    places = torch.arange(high * wide, dtype=winner.dtype, device=winner.device).view(high, 1, wide)
    mask = winner.unsqueeze(-1).unsqueeze(-3) == places
    tiles = inputs.unflatten(-2, (rows, high)).unflatten(-1, (columns, wide))
    pooled = torch.where(mask, tiles, 0.0).sum((-3, -1))
    # Where channels are last they stay so: else the compiler lays out the sum with its channels first, and copies them
    # to the end again for each convolution that reads it.
    last = inputs.ndim == 4 and inputs.stride(1) == 1
    return pooled.contiguous(memory_format=torch.channels_last) if last else pooled


def _pair(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    sides = tuple(value)
    return (sides[0], sides[-1])
