"""In which arithmetic the model is evaluated; parameters, states, losses and sums stay in float32."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from metagrad.kernels import plain_attention
from metagrad.spelled_out import weighted_l1_loss

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def check_precision(precision: Precision) -> None:
    """Refuse a precision that does not exist.

    Raises:
        ValueError: it is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, got {precision!r}")


def check_model(precision: Precision, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a precision that this model cannot be evaluated in.

    Raises:
        ValueError: a reduced precision of a model that is not float32, or TF32 elsewhere than on CUDA.
    """
    if precision == "float32":
        return
    if dtype != torch.float32:
        raise ValueError(
            f"precision={precision!r} is for float32 models, and this one is {dtype}; convert it or leave precision out"
        )
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(f"precision='tf32' is a mode of CUDA kernels, and the model is on {device}; take 'float32'")


class ProductsInBfloat16(TorchFunctionMode):
    """Around a model call: matrix products and convolutions of factors rounded to 8 bits, accumulated in float32.

    All else, batch norm above all, stays in float32. The derivatives, of any order, follow from the casts that this
    leaves behind. `torch.autocast` would do the same for the call, but its mixed batch norm has no second derivative.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Cast around products; pass everything else through."""
        if func not in _PRODUCTS:
            weighted = weighted_l1_loss(func, args, kwargs or {})
            return func(*args, **(kwargs or {})) if weighted is None else weighted
        result = func(*map(_rounded, args), **{name: _rounded(value) for name, value in (kwargs or {}).items()})
        return result.to(torch.float32) if result.dtype == torch.bfloat16 else result


_PRODUCTS = frozenset(
    {
        *(F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        *(torch.conv1d, torch.conv2d, torch.conv3d, torch.mm, torch.bmm, torch.matmul, torch.addmm, torch.baddbmm),
        *(torch.Tensor.mm, torch.Tensor.bmm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.einsum),
    }
)


def _rounded(value: object) -> object:
    return value.to(torch.bfloat16) if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value


def forward_pass(precision: Precision) -> AbstractContextManager[object]:
    """Around a call of the model: its arithmetic."""
    return ProductsInBfloat16() if precision == "bf16" else nullcontext()


@contextmanager
def kernels(precision: Precision) -> Generator[None]:
    """Around a whole meta-gradient: whether CUDA kernels may round float32 factors to TF32's 10 bits.

    "float32" means it: torch allows TF32 in convolutions by default. The settings before are restored.
    """
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    wanted = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = wanted
    torch.backends.cudnn.allow_tf32 = wanted
    try:
        with plain_attention:  # here once, in place of at every call of the model
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32 = cudnn
