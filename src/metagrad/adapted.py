"""A model after adaptation to one task: the inner loop run once, and its last parameters in a copy of the module."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metagrad import functional, tree
from metagrad.batching import Eager, evaluated
from metagrad.inner.loop import InnerLoop, LastState
from metagrad.prepared import NonFiniteError, Prepared
from metagrad.tree import Tree


class AdaptedModel(nn.Module):
    """A copy of the user's model with adapted parameters; normalises by the statistics of each batch it is given."""

    def __init__(self, model: nn.Module, adapted: Mapping[str, Tensor]) -> None:
        super().__init__()
        with _Detaching():
            self.model = copy.deepcopy(model)
        self.model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in adapted.items():
                self.model.get_parameter(name).copy_(value)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions [N, ...]."""
        return functional.call(self.model, dict(self.model.named_parameters()), inputs)


class _Detaching(TorchFunctionMode):
    """Has `deepcopy` take the values of tensors that hang on a graph, such as those that a module keeps of a call."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Detach before copying; torch copies leaves alone."""
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


def adapted_model(
    model: nn.Module, loop: InnerLoop, meta: Tree, task: Prepared, num_steps: int, execution: Eager
) -> AdaptedModel:
    """A copy of `model` with the parameters φ_S that `loop` adapts to the support set of `task`.

    Args:
        model: the module that `loop` adapts.
        loop: learner and rule.
        meta: the meta-parameters.
        task: one task, with a task axis of length 1; its query set is not read.
        num_steps: S; 0 gives the start.
        execution: how it is evaluated.

    Raises:
        NonFiniteError: an adapted parameter is not finite.
    """
    adapted_values = evaluated(
        lambda loop, derivatives: LastState(loop, derivatives, num_steps), loop, meta, task, execution
    )
    values = {name: value.squeeze(0) for name, value in tree.items(adapted_values)}
    for name, value in values.items():
        if not value.isfinite().all():
            raise NonFiniteError(f"{name} is not finite after {num_steps} inner steps; try a smaller inner lr", 0)
    with torch.inference_mode(False):
        return AdaptedModel(model, values)
