"""How a function of tasks that run side by side is evaluated; here as written, in `metagrad.capture` compiled."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from metagrad.inner.derivatives import Derivatives
from metagrad.inner.loop import InnerLoop
from metagrad.remedies import add_remedy
from metagrad.tasks.task import Task
from metagrad.tree import Tree

OfTask = Callable[[Tree, Task], Tree]

RANDOM = (
    "the model draws random numbers, so it is not the same function each time it is evaluated along one trajectory; "
    "switch the randomness off (dropout with p = 0 or model.eval())"
)


class Execution(Protocol):
    """How a function of tasks that run side by side is evaluated: as written, or traced once and replayed."""

    def derivatives(self, loop: InnerLoop) -> Derivatives:
        """Those that episodes are to use."""
        ...

    def run(self, fn: OfTask, meta: Tree, chunks: list[Task]) -> list[Tree]:
        """`fn(meta, chunk)` for each chunk of tasks [t, N, ...], in order; `fn` is pure."""
        ...


class Eager:
    """Evaluate as written, one chunk after another."""

    def derivatives(self, loop: InnerLoop) -> Derivatives:
        """The loop's own."""
        return loop.derivatives()

    def run(self, fn: OfTask, meta: Tree, chunks: list[Task]) -> list[Tree]:
        """Call `fn` on each; refuses models that draw random numbers."""
        return [self._run(fn, meta, chunk) for chunk in chunks]

    def _run(self, fn: OfTask, meta: Tree, chunk: Task) -> Tree:
        device = chunk.support.inputs.device
        before = _random_state(device)
        try:
            result = fn(meta, chunk)
        except RuntimeError as error:
            if "randomness" in str(error):
                raise ValueError(RANDOM) from error
            add_remedy(error)
            raise
        if not all(torch.equal(a, b) for a, b in zip(before, _random_state(device), strict=True)):
            raise ValueError(RANDOM)
        return result


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.random.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states
