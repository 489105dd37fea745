"""Peak bytes of one run, counted inside the child.

*Saved for backward*: every tensor that autograd saves, by the hooks it offers, while its graph lives; storages are
counted once, and the network's parameters and the tasks not at all, since they are there anyway. `torch.func` refuses
such hooks; here it is kept from refusing, which changes no number, as is checked.

*Live*: everything that operations return, while it lives. It includes what is saved, states and gradients of
the inner loop, and temporaries.
"""

import contextlib
import weakref
from collections import Counter
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.contenders.base import Running, flat
from benchmarks.contenders.on_torch import OnTorch
from metagrad.memory import peak_bytes


def count(running: Running) -> dict[str, int | None]:
    """Saved, live, allocated on CUDA, and what metagrad keeps of the trajectory; None for what does not apply."""
    if not isinstance(running, OnTorch):
        return {"saved": None, "live": None, "trajectory": None}
    usual = flat(running.gradient())
    saved = _saved(running)
    if not np.array_equal(flat(running.gradient()), usual):
        raise RuntimeError("counting changed the meta-gradient, so the count means nothing")
    live = peak_bytes(running.run, running.device)
    trajectory = getattr(running, "trajectory_bytes", None)
    return {"saved": saved, "live": live, "trajectory": trajectory() if trajectory else None}


class SavedTensors:
    """Counts the bytes of distinct storages that are saved at a time; `peak` is the maximum."""

    def __init__(self, known: list[Tensor]) -> None:
        self._ours = {_storage(tensor)._cdata for tensor in known}
        self._holders: Counter[int] = Counter()
        self.now = 0
        self.peak = 0

    def pack(self, tensor: Tensor) -> "Saved":
        """Called when autograd saves a tensor."""
        storage = _storage(tensor)
        held, key, size = Saved(tensor), storage._cdata, storage.nbytes()
        if key not in self._ours:
            if self._holders[key] == 0:
                self.now += size
                self.peak = max(self.peak, self.now)
            self._holders[key] += 1
            weakref.finalize(held, self._forget, key, size)
        return held

    def _forget(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            self.now -= size


class Saved:
    """What the graph holds in place of the tensor, so that its end can be seen."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = _cut(tensor)


def _cut(tensor: Tensor) -> Tensor:
    """The tensor without its own graph, which autograd joins again on its way out.

    A graph that held its own result would never be freed. Under `grad` that must not cut the graphs of the levels
    below, which `detach` would: a new wrapper around the same inside cuts this level alone.
    """
    functorch = torch._C._functorch
    if functorch.is_gradtrackingtensor(tensor):
        return functorch._wrap_for_grad(functorch.get_unwrapped(tensor), functorch.maybe_get_level(tensor))
    return tensor if functorch.is_functorch_wrapped_tensor(tensor) else tensor.detach()


def _saved(running: OnTorch) -> int:
    counted = SavedTensors([*running.parameters.values(), *running.tasks.support, *running.tasks.query])
    unrefused = mock.patch.object(
        torch.autograd.graph, "disable_saved_tensors_hooks", return_value=contextlib.nullcontext()
    )
    with unrefused, torch.autograd.graph.saved_tensors_hooks(counted.pack, lambda held: held.tensor):
        running.run()
        running.wait()
    return counted.peak


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    """The storage below whatever `vmap` and `grad` have wrapped around it."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor.untyped_storage()
