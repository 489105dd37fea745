"""What a trace would freeze: sizes and numbers that Python gets from the values of tensors. Either ends tracing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode, has_proxy_slot
from torch.utils._python_dispatch import TorchDispatchMode


class CaptureError(RuntimeError):
    """A computation could not be traced or compiled; the cause is in the message, or chained."""


class NoValuesRead(TorchDispatchMode):
    """While a function is traced: raises where the size of a result, or a number, depends on values.

    A trace would replay the size or number of the first batch ever after. Which operations these are, torch's own tags
    say. Python values of tensors that are traced torch refuses itself; those of others, such as constants of a loss, it
    would hand out.

    Raises:
        CaptureError: at such an operation.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at the operation, then do it."""
        if torch.Tag.dynamic_output_shape in func.tags and _size_depends(func, args):
            raise CaptureError(
                f"the size of what {func.overloadpacket} returns depends on values, which a trace cannot follow"
            )
        if torch.Tag.data_dependent_output in func.tags and not _traced(args[0]):
            raise CaptureError(f"it reads a value with {func.overloadpacket}, which a trace cannot follow")
        return func(*args, **(kwargs or {}))


def _size_depends(operation: Any, arguments: tuple[Any, ...]) -> bool:
    """Indexing has the tag in any case; by positions its size is known, by a mask not."""
    if operation is not torch.ops.aten.index.Tensor:
        return True
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in arguments[1])


def _traced(tensor: Tensor) -> bool:
    mode = get_proxy_mode()
    return mode is not None and has_proxy_slot(tensor, mode.tracer)


# They hand out values where no mode of dispatch sees it.
_DATA = torch.Tensor.data.__get__  # pyright: ignore[reportAttributeAccessIssue] -- a getter, written in C
_HANDING_OUT = frozenset({"tolist", "numpy", "__array__", "__dlpack__", "storage", "untyped_storage", "data_ptr"})


def refuse_hidden_values(function: Callable[..., Any]) -> None:
    """Refuse a function of torch that reads values below its own dispatch.

    Raises:
        CaptureError: it is one.
    """
    name = "data" if function == _DATA else getattr(function, "__name__", "")
    if name == "data" or name in _HANDING_OUT:
        raise CaptureError(f"it reads the values of a tensor with .{name}, which a trace cannot follow")
