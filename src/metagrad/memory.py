"""Peak memory of a computation, in bytes of live tensors."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(compute: Callable[[], object], device: torch.device) -> int:
    """The most that `compute` holds at once beyond what was there before.

    On CUDA, what the allocator reports. Elsewhere, the sizes of the tensors that operations return while they live:
    workspaces inside an operation are not seen.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        compute()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with LiveTensors() as live:
        compute()
    return live.peak


class LiveTensors(TorchDispatchMode):
    """While active, counts the bytes of storages made by operations and not yet freed; `peak` is their maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation; what comes in unknown was there before, what goes out unknown is new."""
        for leaf in tree_leaves((args, kwargs)):
            self._meet(leaf, counted=False)
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            self._meet(leaf, counted=True)
        return result

    def _meet(self, leaf: object, *, counted: bool) -> None:
        if not isinstance(leaf, torch.Tensor):
            return
        storage = leaf.untyped_storage()
        key = storage._cdata  # pyright: ignore[reportPrivateUsage] -- the address of the storage itself
        if key in self._known:
            return
        size = storage.nbytes() if counted else 0
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
