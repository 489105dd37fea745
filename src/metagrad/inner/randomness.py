"""Dropout and its kin, made repeatable: what is drawn at step k of a task depends on the two alone."""

import threading
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metagrad.task import Task

Result = TypeVar("Result")
# There is one generator for each device, which every thread draws from.
_GENERATORS = threading.RLock()
_THIS_THREAD = threading.local()


class RandomModelError(ValueError):
    """A model that draws random numbers was evaluated without a seed, so not as one function."""

    def __init__(self) -> None:
        super().__init__(
            "the model draws random numbers, so it is not the same function each time it is evaluated along one "
            "trajectory; give a seed (seed=0), or switch the randomness off (dropout with p = 0 or model.eval())"
        )


def task_seed(task: Task, seed: int) -> int:
    """A seed from the values of one task [N, ...] and a number: equal tasks draw alike, wherever they stand.

    Cost: one pass over the data, on the host.
    """
    state = seed & 0xFFFFFFFF
    for leaf in task.leaves:
        values = leaf.detach().cpu().contiguous().flatten()
        state = zlib.crc32(values.view(torch.uint8).numpy().tobytes(), state)
    return state


@contextmanager
def seeded(seed: int, k: int) -> Generator[None]:
    """Torch's generators under a seed of (task, step), and afterwards as they were; one thread at a time."""
    with _GENERATORS, torch.random.fork_rng(devices=_devices()):
        torch.manual_seed((seed << 20) + k)
        outside, _THIS_THREAD.seeded = _is_seeded(), True
        try:
            yield
        finally:
            _THIS_THREAD.seeded = outside


def _is_seeded() -> bool:
    return getattr(_THIS_THREAD, "seeded", False)


def without_drawing(device: torch.device, evaluate: Callable[[], Result]) -> Result:
    """The result of an evaluation that must not draw, but under seeds.

    Raises:
        RandomModelError: it drew, or `vmap` refused to.
    """
    before = _states(device)
    try:
        result = evaluate()
    except RuntimeError as error:
        if "randomness" in str(error):  # `vmap` says so of every operation that draws
            raise RandomModelError from error
        raise
    if not all(torch.equal(a, b) for a, b in zip(before, _states(device), strict=True)):
        # Another thread may have drawn: look again, at this one alone.
        with Draws() as watched:
            result = evaluate()
        if watched.drawn:
            raise RandomModelError
    return result


def _states(device: torch.device) -> list[Tensor]:
    """The state of every generator that a model on this device may draw from."""
    states = [torch.random.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def _devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() and torch.cuda.is_initialized() else []


class Draws(TorchDispatchMode):
    """While in it, `drawn` says whether this thread has drawn but under seeds, whatever others draw meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at the operation, then do it."""
        self.drawn = self.drawn or (torch.Tag.nondeterministic_seeded in func.tags and not _is_seeded())
        return func(*args, **(kwargs or {}))


@contextmanager
def putting_back() -> Generator[None]:
    """Torch's generators afterwards as they were, if this thread has drawn from them; one thread at a time."""
    with _GENERATORS:
        devices = _devices()
        before, on_devices = torch.random.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
        with Draws() as watched:
            yield
        if watched.drawn:
            torch.random.set_rng_state(before)
            for device, state in zip(devices, on_devices, strict=True):
                torch.cuda.set_rng_state(state, device)
