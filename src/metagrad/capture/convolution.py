"""Convolution of images as three bilinear maps that are each other's derivatives, each computed in the faster way.

    y = w ∗ x,    x̄ = wᵀ ∗ ȳ,    w̄ = x ∗ ȳ

Differentiating any of them gives the other two, so derivatives of every order consist of these three. torch's second
derivative of a convolution also calls convolutions of other shapes, with batch and channels exchanged, which are slow.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

PATCHES_AT_MOST = 2**20
"""Bytes of patches up to which a convolution is a matrix product. Beyond it patches leave a core's cache, and torch's
convolutions are as fast; below it they take up to five times the product."""


@dataclass(frozen=True)
class Geometry:
    """How windows lie on an image.

    Attributes:
        image: height and width of the image.
        kernel: height and width of a window.
        stride: rows and columns from a window to the next.
        padding: zeros on each side, rows and columns.
    """

    image: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def positions(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        rows, columns = (
            (side + 2 * pad - window) // step + 1
            for side, pad, window, step in zip(self.image, self.padding, self.kernel, self.stride, strict=True)
        )
        return rows, columns

    def patches(self, images: Tensor) -> Tensor:
        """The windows of images [N, C, H, W], [N·h·w, kh·kw·C]."""
        (down, across), (high, wide) = self.stride, self.padding
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, wide, wide, high, high))
        windows = padded.unfold(1, self.kernel[0], down).unfold(2, self.kernel[1], across)
        return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, self.kernel[0] * self.kernel[1] * images.shape[1])

    def suits_products(self, images: tuple[int, ...], item: int) -> bool:
        """Whether products with the patches of images [N, C, H, W] of `item` bytes an entry are the faster way."""
        rows, columns = self.positions
        entries = images[0] * rows * columns * self.kernel[0] * self.kernel[1] * images[1]
        return entries * item <= PATCHES_AT_MOST


def convolve(images: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
    """Images [N, C, H, W] under filters [O, C, kh, kw], [N, O, h, w]; no bias, no groups, no dilation."""
    return cast(Tensor, _Convolved.apply(images, filters, geometry))


def _torch_backward(
    wanted: list[bool], outputs: Tensor, images: Tensor, filters: Tensor, geometry: Geometry
) -> list[Tensor]:
    stride, padding = list(geometry.stride), list(geometry.padding)
    return torch.ops.aten.convolution_backward(
        outputs, images, filters, None, stride, padding, [1, 1], False, [0, 0], 1, wanted
    )


def _rows(outputs: Tensor) -> Tensor:
    """[N, O, h, w] → [N·h·w, O]."""
    return outputs.permute(0, 2, 3, 1).reshape(-1, outputs.shape[1])


def _flat(filters: Tensor) -> Tensor:
    """[O, C, kh, kw] → [O, kh·kw·C]."""
    return filters.permute(0, 2, 3, 1).reshape(filters.shape[0], -1)


class _Bilinear(Function):
    """A map of two tensors, linear in each."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Both factors are kept: each is the derivative by the other."""
        first, second, ctx.geometry = inputs
        ctx.save_for_backward(first, second)
        ctx.save_for_forward(first, second)


class _Convolved(_Bilinear):
    """Images, filters ↦ outputs."""

    @staticmethod
    def forward(images: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
        if not geometry.suits_products(tuple(images.shape), images.element_size()):
            stride, padding = list(geometry.stride), list(geometry.padding)
            return torch.ops.aten.convolution(images, filters, None, stride, padding, [1, 1], False, [0, 0], 1)
        rows, columns = geometry.positions
        flat = geometry.patches(images) @ _flat(filters).t()
        return flat.reshape(images.shape[0], rows, columns, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (outputs,) = grad_outputs
        images, filters = ctx.saved_tensors
        onto = _OnImages.apply(outputs, filters, ctx.geometry) if ctx.needs_input_grad[0] else None
        return onto, _OnFilters.apply(images, outputs, ctx.geometry) if ctx.needs_input_grad[1] else None, None

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Tensor | None) -> Any:
        return _tangent(_Convolved, ctx, *grad_inputs[:2])


class _OnImages(_Bilinear):
    """Cotangent on outputs, filters ↦ cotangent on images."""

    @staticmethod
    def forward(outputs: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
        shape = (outputs.shape[0], filters.shape[1], *geometry.image)
        # Never as a product: adding its rows up where they overlap takes what the product saves, and long to compile.
        return _torch_backward([True, False, False], outputs, outputs.new_empty(shape), filters, geometry)[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (images,) = grad_outputs
        outputs, filters = ctx.saved_tensors
        back = _Convolved.apply(images, filters, ctx.geometry) if ctx.needs_input_grad[0] else None
        return back, _OnFilters.apply(images, outputs, ctx.geometry) if ctx.needs_input_grad[1] else None, None

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Tensor | None) -> Any:
        return _tangent(_OnImages, ctx, *grad_inputs[:2])


class _OnFilters(_Bilinear):
    """Images, cotangent on outputs ↦ cotangent on filters."""

    @staticmethod
    def forward(images: Tensor, outputs: Tensor, geometry: Geometry) -> Tensor:
        shape = (outputs.shape[1], images.shape[1], *geometry.kernel)
        if not geometry.suits_products(tuple(images.shape), images.element_size()):
            return _torch_backward([False, True, False], outputs, images, images.new_empty(shape), geometry)[1]
        flat = _rows(outputs).t() @ geometry.patches(images)
        return flat.reshape(shape[0], *geometry.kernel, shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (filters,) = grad_outputs
        images, outputs = ctx.saved_tensors
        onto = _OnImages.apply(outputs, filters, ctx.geometry) if ctx.needs_input_grad[0] else None
        return onto, _Convolved.apply(images, filters, ctx.geometry) if ctx.needs_input_grad[1] else None, None

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Tensor | None) -> Any:
        return _tangent(_OnFilters, ctx, *grad_inputs[:2])


def _tangent(of: type[_Bilinear], ctx: Any, first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """d(ab) = da·b + a·db."""
    left, right = ctx.saved_tensors
    total: Tensor | None = None
    for part in ((first, right) if first is not None else None, (left, second) if second is not None else None):
        if part is not None:
            term = cast(Tensor, of.apply(*part, ctx.geometry))
            total = term if total is None else total + term
    return total
