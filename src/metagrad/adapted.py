"""A model after adaptation to one task: the inner loop run once, and its last parameters in a copy of the module."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metagrad import functional, tree
from metagrad.batching import Eager, evaluated
from metagrad.functional import Statistics
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.loop import InnerLoop
from metagrad.inner.of_one_task import LastState
from metagrad.prepared import NonFiniteError, Prepared
from metagrad.tree import Tree


class AdaptedModel(nn.Module):
    """A copy of the user's model with adapted values. They require no gradient: `MetaLearner.unroll` has those that do.

    Args:
        model: the user's module.
        adapted: values by dotted name.
        statistics: by what batch norm normalises: "batch", "running", or None for what the module's mode says.
    """

    def __init__(self, model: nn.Module, adapted: Mapping[str, Tensor], statistics: Statistics = None) -> None:
        super().__init__()
        with torch.inference_mode(False), torch.no_grad():
            with _Detaching():
                self.model = copy.deepcopy(model)
            self.model.zero_grad(set_to_none=True)
            self.model.requires_grad_(False)
            for name, value in adapted.items():
                self.model.get_parameter(name).copy_(value)
        self._statistics: Statistics = statistics

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the user's module."""
        return functional.called(self.model, self._statistics, args, kwargs)


class _Detaching(TorchFunctionMode):
    """Has `deepcopy` take the values of tensors that hang on a graph, such as those that a module keeps of a call."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Detach before copying; torch copies leaves alone."""
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


def adapted_values(loop: InnerLoop, meta: Tree, task: Prepared, num_steps: int, execution: Eager) -> dict[str, Tensor]:
    """The parameters φ_S that `loop` adapts to the support set of one task, by dotted name.

    Args:
        loop: learner and rule.
        meta: the meta-parameters.
        task: one task, with a task axis of length 1; its query set is not read.
        num_steps: S; 0 gives the start.
        execution: how it is evaluated.

    Raises:
        NonFiniteError: an adapted parameter is not finite.
    """

    def last(loop: InnerLoop, derivatives: Derivatives) -> LastState:
        return LastState(loop, derivatives, num_steps)

    values = {name: value.squeeze(0) for name, value in tree.items(evaluated(last, loop, meta, task, execution))}
    for name, value in values.items():
        if not value.isfinite().all():
            raise NonFiniteError(f"{name} is not finite after {num_steps} inner steps; try a smaller inner lr", 0)
    return values
