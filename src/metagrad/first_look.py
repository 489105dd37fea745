"""What model and loss read that no meta-gradient reaches, and what they write on: found by one look at one task."""

import random
import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metagrad import tree
from metagrad.inner.learner import Learner
from metagrad.inner.randomness import putting_back
from metagrad.objectives import Metrics
from metagrad.structure import Data
from metagrad.task import Steps, Task
from metagrad.tree import Tree


@dataclass(frozen=True)
class SupportAlone:
    """Another learner where there is no query set: the loss measured is the one descended."""

    learner: Learner

    def initial(self, meta: Tree) -> Tree:
        """As the other learner."""
        return self.learner.initial(meta)

    def context(self, meta: Tree) -> Tree:
        """As the other learner."""
        return self.learner.context(meta)

    def start(self, meta: Tree) -> Tree:
        """As the other learner."""
        return self.learner.start(meta)

    def support_loss(self, adapted: Tree, meta: Tree, batch: Data) -> Tensor:
        """As the other learner."""
        return self.learner.support_loss(adapted, meta, batch)

    def query_loss(self, adapted: Tree, meta: Tree, batch: Data) -> tuple[Tensor, Metrics]:
        """The support loss."""
        return self.learner.support_loss(adapted, meta, batch), {}


class FirstLook:
    """Evaluates both losses of one task by plain autograd, on copies, before a kind of task is used.

    Whatever of their graph does not end in the parameters that were handed in would get no gradient, without a word.

    Args:
        model: whose parameters are handed in.
        loss: what is called with predictions and targets; a module's parameters have names.
    """

    def __init__(self, model: nn.Module, loss: object) -> None:
        self._model, self._loss = model, loss
        self._seen: set[Hashable] = set()

    def check(self, learner: Learner, meta: Tree, tasks: Task) -> None:
        """Refuse paths that no gradient takes, and tensors of the user's that are written on.

        Args:
            learner: of the losses.
            meta: the meta-parameters.
            tasks: leaves [T, ...]; the first is looked at, once for each kind.

        Raises:
            ValueError: names the parameter or tensor, and the way that works.

        Cost: a forward pass on one task, once, or two.
        """
        trained = tuple(parameter.requires_grad for parameter in self._model.parameters())
        kind = (type(learner), self._model.training, trained, *((leaf.dtype, leaf.shape[1:]) for leaf in tasks.leaves))
        if kind not in self._seen:
            self._look(learner, meta, tasks.take(0))
            self._seen.add(kind)

    def _look(self, learner: Learner, meta: Tree, task: Task) -> None:
        before = _drawn_elsewhere()
        losses, strangers = self._evaluated(learner, meta, task)
        drawn = before != _drawn_elsewhere()
        if strangers or drawn:
            # Leaves that forward makes by itself, to differentiate by them, are others each time.
            repeated, again = self._evaluated(learner, meta, task)
            if drawn and any(not torch.equal(a, b) for a, b in zip(losses, repeated, strict=True)):
                raise ValueError(
                    "model or loss draws from Python's or NumPy's random numbers, so each evaluation is of another "
                    "function; draw with torch, whose generators are seeded for each inner step"
                )
            for leaf in strangers:
                if any(leaf is other for other in again):
                    raise ValueError(self._unreached(leaf))

    def _evaluated(self, learner: Learner, meta: Tree, task: Task) -> tuple[list[Tensor], list[Tensor]]:
        """Both losses, and the leaves that their graph ends in beside the parameters that were handed in."""
        with torch.inference_mode(False), torch.enable_grad(), putting_back(), _NoData():
            task = task.map(torch.clone)
            support = task.support.at(0) if isinstance(task.support, Steps) else task.support
            fresh = tree.map(_fresh, meta)
            watched = [*tree.items(fresh), *_shared(self._model)]
            versions = [tensor._version for _, tensor in watched]
            adapted = learner.start(fresh)
            losses = [learner.support_loss(adapted, fresh, support), learner.query_loss(adapted, fresh, task.query)[0]]
        for (name, tensor), version in zip(watched, versions, strict=True):
            if tensor._version != version:
                raise ValueError(
                    f"the model writes on {name} in place when it is called, so it is no function of its parameters; "
                    "write out of place, or keep the tensor as a buffer, of which each call has a copy"
                )
        given = {id(leaf) for leaf in tree.leaves(fresh)}
        for name, loss in zip(("support", "query"), losses, strict=True):
            if not any(id(leaf) in given for leaf in _ends([loss])):
                raise ValueError(
                    f"the {name} loss depends on no parameter, so it has no gradient; look for .detach(), .item(), "
                    "no_grad() or a hard decision such as argmax in the model and the loss"
                )
        return [loss.detach() for loss in losses], [leaf for leaf in _ends(losses) if id(leaf) not in given]

    def _unreached(self, leaf: Tensor) -> str:
        way = "give an Objective(inner), a function of (model, batch) whose model holds the adapted parameters"
        for name, parameter in self._model.named_parameters():
            if parameter is leaf:
                return (
                    f"the loss reads parameter {name!r} of the model as it was before adaptation, where no gradient "
                    f"passes (or the model does, through a global or an object of another class); {way}, or call "
                    ".detach() on what is meant as a constant"
                )
        if isinstance(self._loss, nn.Module):
            for name, parameter in self._loss.named_parameters():
                if parameter is leaf:
                    return (
                        f"the loss has a parameter of its own, {name!r}, which no meta-gradient reaches; hand it over "
                        "as hyper= with an Objective(inner), or freeze it with requires_grad_(False)"
                    )
        return (
            f"model or loss reads a tensor of shape {list(leaf.shape)} that requires a gradient and is no parameter of "
            "the model, so no meta-gradient reaches it; register it as a parameter, or call .detach() on it"
        )


class _NoData(TorchFunctionMode):
    """Refuses `.data` of what is differentiated: outside of a graph for plain autograd, and not for `torch.func`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at the call, then make it."""
        if func == _DATA and args[0].requires_grad:
            raise ValueError("model or loss reads .data of a tensor that requires a gradient; write .detach()")
        return func(*args, **(kwargs or {}))


_DATA = torch.Tensor.data.__get__  # pyright: ignore[reportAttributeAccessIssue] -- a getter, written in C


def _drawn_elsewhere() -> Hashable:
    """The states of the generators that torch does not seed."""
    numpy = sys.modules.get("numpy")
    of_numpy = () if numpy is None else numpy.random.get_state(legacy=True)
    return random.getstate(), *(part.tobytes() if hasattr(part, "tobytes") else part for part in of_numpy)


def _fresh(leaf: Tensor) -> Tensor:
    return leaf.detach().clone().requires_grad_(leaf.is_floating_point())


def _shared(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The user's own tensors that a call sees: frozen parameters, and attributes that are no buffers."""
    for path, part in model.named_modules():
        prefix = f"{path}." if path else ""
        frozen = {name: p for name, p in part.named_parameters(recurse=False) if not p.requires_grad}
        for name, value in {**frozen, **vars(part)}.items():
            if isinstance(value, Tensor) and not value.is_inference():
                yield prefix + name, value


def _ends(losses: list[Tensor]) -> Iterator[Tensor]:
    """The leaves that the graph of some tensors ends in."""
    yield from (loss for loss in losses if loss.requires_grad and loss.grad_fn is None)
    waiting = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            yield variable
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
