"""What is descended within a task and measured after it, as functions of the user's model and a batch."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from metagrad.structure import Data
from metagrad.task import Batch

Loss = Callable[[Tensor, Tensor], Tensor]
Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """The user's own functions of (model, batch), or of (model, batch, hyper).

        inner(model, batch) → 0-d tensor, or (0-d tensor, {metric name: 0-d tensor});   outer likewise

    `model` is the user's module, its parameters exchanged while the function runs: `model(**batch).loss`,
    `model.encoder(x)`, several passes, anything. `hyper` is a module too: weights of examples, a loss network, images;
    its parameters are meta-learned. Both are private copies: what the function does to them is gone afterwards.
    Read parameters from the arguments alone: those of a module from outside are the values before adaptation.

    Args:
        inner: what inner steps descend, on support data.
        outer: what meta-learning descends, on query data, with what is measured besides; None for the same as `inner`.

    Raises:
        TypeError: one of them is not a function; in use, a result that is no tensor.
        ValueError: in use, a result that is not 0-d.

    >>> import torch
    >>> objective = Objective(lambda model, batch: (model(batch["x"]) - batch["y"]).square().mean())
    >>> batch = {"x": torch.ones(3, 2), "y": torch.zeros(3, 1)}
    >>> objective.support_loss(torch.nn.Linear(2, 1), batch).shape
    torch.Size([])
    """

    inner: Callable[..., Any]
    outer: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        for name in ("inner", "outer"):
            function = getattr(self, name)
            missing = function is None and name == "outer"
            if not missing and (not callable(function) or isinstance(function, type)):
                raise TypeError(f"{name} of Objective must be a function of (model, batch), got {function!r}")

    def check(self, hyper: bool) -> None:
        """Require functions that can be called as they will be, with or without a hyper module.

        Raises:
            TypeError: one of them takes other arguments.
        """
        for name in ("inner", "outer"):
            function = getattr(self, name)
            try:
                signature = inspect.signature(function) if function is not None else None
            except ValueError:  # a builtin, which does not say
                signature = None
            try:
                _ = signature and signature.bind(*[None] * (3 if hyper else 2))
            except TypeError as error:
                wanted = "(model, batch, hyper), for hyper= is given" if hyper else "(model, batch), without hyper="
                raise TypeError(f"{name} of Objective must be a function of {wanted}: {error}") from None

    def support_loss(self, model: nn.Module, batch: Data, *hyper: nn.Module) -> Tensor:
        """What an inner step descends."""
        return _with_metrics("inner", self.inner(model, batch, *hyper))[0]

    def query_loss(self, model: nn.Module, batch: Data, *hyper: nn.Module) -> tuple[Tensor, Metrics]:
        """What meta-learning descends, and metrics."""
        name, function = ("inner", self.inner) if self.outer is None else ("outer", self.outer)
        return _with_metrics(name, function(model, batch, *hyper))


@dataclass(frozen=True)
class OfPredictions:
    """Losses of (predictions, targets) as an objective on a `Batch(inputs, targets)`.

    Args:
        loss: (predictions, targets) → 0-d tensor.
        query: the loss on the query set; None for the same.
        metrics: name → (predictions, targets) → 0-d tensor, measured on the query set.
    """

    loss: Loss
    query: Loss | None = None
    metrics: Mapping[str, Loss] = field(default_factory=dict[str, Loss])

    def support_loss(self, model: nn.Module, batch: Data) -> Tensor:
        """The loss on the support set."""
        batch = _paired(batch)
        return scalar("loss", self.loss(predictions(model, batch.inputs), batch.targets))

    def query_loss(self, model: nn.Module, batch: Data) -> tuple[Tensor, Metrics]:
        """The loss and metrics on the query set, of one forward pass."""
        batch = _paired(batch)
        predicted = predictions(model, batch.inputs)
        measured = {
            name: scalar(f"metric {name!r}", metric(predicted, batch.targets)) for name, metric in self.metrics.items()
        }
        return scalar("loss", (self.query or self.loss)(predicted, batch.targets)), measured


def predictions(model: Callable[..., Any], inputs: Data) -> Any:
    """The model's output: a mapping as keywords, a list or a plain tuple as arguments, anything else as one."""
    if isinstance(inputs, Mapping):
        return model(**cast(Mapping[str, Any], inputs))
    if isinstance(inputs, list) or type(inputs) is tuple:
        return model(*cast("list[Any]", inputs))
    return model(inputs)


def scalar(name: str, value: object) -> Tensor:
    """A 0-d tensor as it is.

    Raises:
        TypeError: it is no tensor.
        ValueError: it is not 0-d.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must return a 0-d tensor, got {type(value).__name__}; leave out .item() and the like")
    if value.ndim:
        raise ValueError(
            f"{name} must return a 0-d tensor, got shape {list(value.shape)}; average over examples (reduction='mean')"
        )
    return value


def _with_metrics(name: str, result: Any) -> tuple[Tensor, Metrics]:
    if not isinstance(result, tuple):
        return scalar(name, result), {}
    parts = cast("tuple[Any, ...]", result)
    if len(parts) != 2 or not isinstance(parts[1], Mapping):
        raise TypeError(f"{name} must return a loss or (loss, {{metric: value}}), got a tuple of {len(parts)}")
    metrics = cast(Mapping[str, object], parts[1])
    return scalar(name, parts[0]), {key: scalar(f"metric {key!r} of {name}", value) for key, value in metrics.items()}


def _paired(batch: Data) -> Batch:
    if not isinstance(batch, Batch):
        raise TypeError(
            f"a loss of (predictions, targets) needs a Batch(inputs, targets), got {type(batch).__name__}; for other "
            "data give an Objective(inner), a function of (model, batch)"
        )
    inputs, targets = batch
    if isinstance(inputs, Tensor) and isinstance(targets, Tensor) and inputs.shape[:1] != targets.shape[:1]:
        raise ValueError(f"inputs {list(inputs.shape)} and targets {list(targets.shape)} differ in their example axis")
    return batch
