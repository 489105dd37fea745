"""The learners that there are: all parameters adapt, or some, or with an anchor in the inner loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from metagrad import checks, functional, structure
from metagrad.functional import Statistics
from metagrad.inner.learner import Learner
from metagrad.inner.precision import Precision, check_model, check_precision, forward_pass
from metagrad.inner.proximal import Proximal
from metagrad.objectives import Loss, Metrics, Objective, OfPredictions
from metagrad.structure import Data
from metagrad.tree import Tree


@dataclass(frozen=True, eq=False)
class ModelLearner(ABC):
    """A learner around one module and its losses; who adapts is left open.

    Args:
        model: any module; never modified.
        loss: (predictions, targets) → 0-d tensor on a `Batch`, or an `Objective`.
        metrics: name → (predictions, targets) → 0-d tensor, measured on the query set; an `Objective` returns its own.
        query_loss: (predictions, targets) → 0-d tensor on the query set; None for `loss`.
        hyper: a module that an `Objective` reads; its trainable parameters are meta-learned.
        learn_start: whether what adapts starts from meta-learned values; else it starts from the module's present ones.
        precision: in which arithmetic the model is evaluated; see `metagrad.inner.precision`.
        batch_statistics: by what batch norm normalises: "batch", "running", or None for what the module's mode says.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: nothing to train; in use, a loss or metric that is not a 0-d tensor.
    """

    model: nn.Module
    loss: Loss | Objective
    metrics: Mapping[str, Loss] = field(default_factory=dict[str, Loss], kw_only=True)
    query_loss_function: Loss | None = field(default=None, kw_only=True)
    hyper: nn.Module | None = field(default=None, kw_only=True)
    learn_start: bool = field(default=True, kw_only=True)
    precision: Precision = field(default="float32", kw_only=True)
    batch_statistics: Statistics = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(self.model).__name__}")
        check_precision(self.precision)
        functional.check_statistics(self.batch_statistics)
        functional.trainable(self.model)
        if isinstance(self.loss, Objective):
            if self.metrics or self.query_loss_function is not None:
                raise TypeError(
                    "metrics and query_loss go with a loss of (predictions, targets); an Objective's outer function "
                    "returns its own loss, or (loss, metrics)"
                )
            self.loss.check(hyper=self.hyper is not None)
        elif not callable(self.loss):
            raise TypeError(f"loss must be a function of (predictions, targets) or an Objective, got {self.loss!r}")
        if self.hyper is not None:
            if not isinstance(self.hyper, nn.Module):
                raise TypeError(f"hyper must be a torch.nn.Module, got {type(self.hyper).__name__}")
            if not isinstance(self.loss, Objective):
                raise TypeError("hyper needs an Objective: a function of (model, batch, hyper) that reads it")
            if not any(parameter.requires_grad for parameter in self.hyper.parameters()):
                raise ValueError(f"hyper {type(self.hyper).__name__} has no trainable parameter to learn")

    @abstractmethod
    def adapting(self) -> set[str]:
        """First names of the parameters that adapt."""

    def values(self) -> Tree:
        """The meta-parameters at their present values, which are shared; in "fixed" a start that is not learned."""
        adapting, trainable = self.adapting(), functional.trainable(self.model)
        learned: Tree = {name: p for name, p in trainable.items() if self.learn_start or name not in adapting}
        values: dict[str, Tree] = {"model": learned} if learned else {}
        if self.hyper is not None:
            values["hyper"] = {**functional.trainable(self.hyper)}
        if not self.learn_start:
            values["fixed"] = {name: p for name, p in trainable.items() if name in adapting}
        return values

    def initial(self, meta: Tree) -> Tree:
        """The parameters that adapt, where their start is learned."""
        return {"model": self.start(meta)} if self.learn_start else {}

    def context(self, meta: Tree) -> Tree:
        """The parameters that do not adapt, and those of the hyper module."""
        adapting = self.adapting()
        body: Tree = {name: p for name, p in _part(meta, "model").items() if name not in adapting}
        parts: dict[str, Tree] = {"model": body} if body else {}
        return parts if self.hyper is None else {**parts, "hyper": {**_part(meta, "hyper")}}

    def start(self, meta: Tree) -> Tree:
        """The parameters that adapt."""
        adapting = self.adapting()
        source = _part(meta, "model" if self.learn_start else "fixed")
        if not source:
            raise ValueError('the meta-parameters must be a dict with branch "model": names to tensors')
        return {name: p for name, p in source.items() if name in adapting}

    def parameters(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """The values of all trainable parameters, by dotted name."""
        return _part(meta, "model") | _flat(adapted)

    def support_loss(self, adapted: Tree, meta: Tree, batch: Data) -> Tensor:
        """The loss on support data."""
        return self._evaluate(self._losses.support_loss, adapted, meta, batch)

    def query_loss(self, adapted: Tree, meta: Tree, batch: Data) -> tuple[Tensor, Metrics]:
        """The loss and metrics on query data."""
        return self._evaluate(self._losses.query_loss, adapted, meta, batch)

    @property
    def _losses(self) -> Objective | OfPredictions:
        if isinstance(self.loss, Objective):
            return self.loss
        return OfPredictions(self.loss, self.query_loss_function, self.metrics)

    def _evaluate(self, function: Callable[..., Any], adapted: Tree, meta: Tree, batch: Data) -> Any:
        parameters = self.parameters(adapted, meta)
        first = next(iter(parameters.values()))
        check_model(self.precision, first.dtype, first.device)
        modules = [(self.model, parameters)]
        if self.hyper is not None:
            modules.append((self.hyper, _part(meta, "hyper")))
        own = structure.map(Tensor.clone, batch)  # on which model and objective may write
        with forward_pass(self.precision):
            return functional.evaluate(function, modules, own, statistics=self.batch_statistics)


@dataclass(frozen=True, eq=False)
class WholeModel(ModelLearner):
    """Every trainable parameter adapts, from the meta-learned initial values: MAML.

    Arguments and errors as `ModelLearner`.

    Example:
        >>> learner = WholeModel(nn.Linear(3, 1), nn.functional.mse_loss)
        >>> meta = {"model": {**functional.trainable(learner.model)}}
        >>> sorted(learner.start(meta)), learner.context(meta)
        (['bias', 'weight'], {})
    """

    def adapting(self) -> set[str]:
        """All."""
        return set(functional.trainable(self.model))


@dataclass(frozen=True, eq=False)
class PartOfModel(ModelLearner):
    """Some parameters adapt, the others are meta-learned and stay fixed within a task: ANIL, BOIL, adapters.

    The meta-gradient of the fixed part is its gradient through the query loss plus the mixed terms through every step.

    Args:
        adapts: what adapts: names or prefixes at a dot (`"head"` means `head.weight` and `head.bias`), patterns with
            `*` (`"*lora_*"`), or a predicate on dotted names; a tied parameter adapts if any of its names does.

    The other arguments and errors are those of `ModelLearner`.

    Raises:
        ValueError: a name matches no trainable parameter, or nothing adapts.

    Example:
        >>> learner = PartOfModel(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), nn.functional.mse_loss, adapts="1")
        >>> meta = {"model": {**functional.trainable(learner.model)}}
        >>> sorted(learner.start(meta)), sorted(learner.context(meta)["model"])
        (['1.bias', '1.weight'], ['0.bias', '0.weight'])
    """

    adapts: str | Sequence[str] | Callable[[str], bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        known = functional.aliases(self.model)
        for pattern in self._patterns():
            if not any(_matches(pattern, name) for names in known.values() for name in names):
                raise ValueError(
                    f"adapts={pattern!r} matches no trainable parameter of {type(self.model).__name__}; "
                    f"its parameters are {', '.join(known)}"
                )
        self.adapting()

    def _patterns(self) -> list[str]:
        if callable(self.adapts):
            return []
        return [self.adapts] if isinstance(self.adapts, str) else list(self.adapts)

    def adapting(self) -> set[str]:
        """First names of the parameters that adapt."""
        if callable(self.adapts):
            chosen = {n for n, names in functional.aliases(self.model).items() if any(map(self.adapts, names))}
        else:
            patterns = self._patterns()
            chosen = {
                first
                for first, names in functional.aliases(self.model).items()
                if any(_matches(pattern, name) for pattern in patterns for name in names)
            }
        if not chosen:
            raise ValueError("adapts selects no trainable parameter: the inner loop would have nothing to adapt")
        return chosen


def learner_of(
    model: nn.Module,
    loss: Loss | Objective,
    adapts: str | Sequence[str] | Callable[[str], bool] | None,
    proximal: float | None,
    **options: Any,
) -> Learner:
    """The learner of a model in which all adapts or a part, with or without an anchor.

    Args:
        model: any module.
        loss: as for `ModelLearner`.
        adapts: as for `PartOfModel`; None for all.
        proximal: strength of the anchor; None for none.
        options: further ones of `ModelLearner`.

    Raises:
        TypeError, ValueError: as these.
    """
    if not isinstance(loss, Objective):
        checks.function("loss", loss)
    metrics = options.get("metrics", {})
    if not isinstance(metrics, Mapping):
        raise TypeError(f"metrics must map names to functions, such as {{'accuracy': accuracy}}, got {metrics!r}")
    for name, metric in metrics.items():
        checks.function(f"the metric {name!r}", metric)
    if proximal is not None:
        checks.number("proximal (None for no anchor)", proximal, above=0)
    learner = WholeModel(model, loss, **options) if adapts is None else PartOfModel(model, loss, adapts, **options)
    return learner if proximal is None else Proximal(learner, proximal)


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or name.startswith(pattern + ".") or ("*" in pattern and fnmatchcase(name, pattern))


def _part(meta: Tree, branch: str) -> dict[str, Tensor]:
    return _flat(meta[branch]) if isinstance(meta, dict) and branch in meta else {}


def _flat(parameters: Tree) -> dict[str, Tensor]:
    if isinstance(parameters, Tensor):
        raise TypeError("the parameters of a model must be a dict from names to tensors, got one tensor")
    return {name: p for name, p in parameters.items() if isinstance(p, Tensor)}
