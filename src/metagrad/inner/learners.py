"""The learners that there are: all parameters adapt, or some, or with an anchor in the inner loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from metagrad import checks, functional, tree
from metagrad.inner.learner import Learner, Loss, Metrics
from metagrad.inner.precision import Precision, check_model, check_precision, forward_pass
from metagrad.structure import Data
from metagrad.task import Batch
from metagrad.tree import Tree


@dataclass(frozen=True, eq=False)
class ModelLearner(ABC):
    """A learner around one module and one loss; who adapts is left open."""

    model: nn.Module
    loss: Loss
    precision: Precision = field(default="float32", kw_only=True)

    @property
    @abstractmethod
    def measures(self) -> Mapping[str, Loss]:
        """Metrics of the query set: name → (predictions, targets) → 0-d tensor."""

    @abstractmethod
    def parameters(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """The values of all trainable parameters, by dotted name."""

    def support_loss(self, adapted: Tree, meta: Tree, batch: Data) -> Tensor:
        """The loss on the support set."""
        paired = _paired(batch)
        return _scalar("loss", self.loss(self._predict(adapted, meta, paired), paired.targets))

    def query_loss(self, adapted: Tree, meta: Tree, batch: Data) -> tuple[Tensor, Metrics]:
        """The loss and metrics on the query set."""
        batch = _paired(batch)
        predictions = self._predict(adapted, meta, batch)
        measured = {
            name: _scalar(f"metric {name!r}", metric(predictions, batch.targets))
            for name, metric in self.measures.items()
        }
        return _scalar("loss", self.loss(predictions, batch.targets)), measured

    def _predict(self, adapted: Tree, meta: Tree, batch: Batch) -> Tensor:
        parameters = self.parameters(adapted, meta)
        first = next(iter(parameters.values()))
        check_model(self.precision, first.dtype, first.device)
        with forward_pass(self.precision):
            return functional.call(self.model, parameters, batch.inputs)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(self.model).__name__}")
        if not callable(self.loss):
            raise TypeError(f"loss must be a function of (predictions, targets), got {self.loss!r}")
        check_precision(self.precision)
        functional.trainable(self.model)


@dataclass(frozen=True, eq=False)
class WholeModel(ModelLearner):
    """Every trainable parameter adapts, from the meta-learned initial values: MAML.

    Args:
        model: any module of one input tensor; never modified.
        loss: (predictions, targets) → 0-d tensor.
        metrics: name → (predictions, targets) → 0-d tensor, measured on the query set.
        precision: in which arithmetic the model is evaluated; see `metagrad.inner.precision`.

    Raises:
        TypeError: `model` is not a module or `loss` not a function.
        ValueError: the model has no trainable parameter; in use, a loss or metric that is not a 0-d tensor.
    """

    metrics: Mapping[str, Loss] = field(default_factory=dict[str, Loss])

    @property
    def measures(self) -> Mapping[str, Loss]:
        """The metrics."""
        return self.metrics

    def initial(self, meta: Tree) -> Tree:
        """All trainable parameters."""
        return {"model": {**_model_part(meta)}}

    def context(self, meta: Tree) -> Tree:
        """Nothing: the losses read the adapted parameters alone."""
        return {}

    def start(self, meta: Tree) -> Tree:
        """All trainable parameters."""
        return {**_model_part(meta)}

    def parameters(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """The adapted parameters are all there are."""
        return _flat(adapted)


@dataclass(frozen=True, eq=False)
class PartOfModel(ModelLearner):
    """Some parameters adapt, the others are meta-learned and stay fixed within a task: ANIL, BOIL, adapters.

    The meta-gradient of the fixed part is its gradient through the query loss plus the mixed terms through every step.

    Args:
        model: any module of one input tensor; never modified.
        loss: (predictions, targets) → 0-d tensor.
        adapts: what adapts: names or prefixes at a dot (`"head"` means `head.weight` and `head.bias`), or a predicate
            on dotted names; a tied parameter adapts if any of its names does.
        metrics: name → (predictions, targets) → 0-d tensor, measured on the query set.
        precision: in which arithmetic the model is evaluated; see `metagrad.inner.precision`.

    Raises:
        TypeError: `model` is not a module or `loss` not a function.
        ValueError: a name matches no trainable parameter, or nothing adapts; in use, as `WholeModel`.
    """

    adapts: str | Sequence[str] | Callable[[str], bool]
    metrics: Mapping[str, Loss] = field(default_factory=dict[str, Loss])

    def __post_init__(self) -> None:
        super().__post_init__()
        known = functional.aliases(self.model)
        for pattern in self._patterns():
            if not any(_matches(pattern, name) for names in known.values() for name in names):
                raise ValueError(
                    f"adapts={pattern!r} matches no trainable parameter of {type(self.model).__name__}; "
                    f"its parameters are {', '.join(known)}"
                )
        self._adapting()

    @property
    def measures(self) -> Mapping[str, Loss]:
        """The metrics."""
        return self.metrics

    def initial(self, meta: Tree) -> Tree:
        """The parameters that adapt."""
        return {"model": self.start(meta)}

    def context(self, meta: Tree) -> Tree:
        """The parameters that do not."""
        adapting = self._adapting()
        body: Tree = {name: p for name, p in _model_part(meta).items() if name not in adapting}
        return {"model": body} if body else {}

    def start(self, meta: Tree) -> Tree:
        """The parameters that adapt."""
        adapting = self._adapting()
        return {name: p for name, p in _model_part(meta).items() if name in adapting}

    def parameters(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """The body of the meta-parameters and the adapted part."""
        return _model_part(meta) | _flat(adapted)

    def _patterns(self) -> list[str]:
        if callable(self.adapts):
            return []
        return [self.adapts] if isinstance(self.adapts, str) else list(self.adapts)

    def _adapting(self) -> set[str]:
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


@dataclass(frozen=True, eq=False)
class Proximal:
    """Another learner with an anchor in its inner loss: support loss + (λ/2)·‖φ − start(m)‖².

    Makes the solution of the inner problem depend on the start, which implicit and finite-difference estimators need.

    Raises:
        ValueError: `strength` (λ) is not positive.
    """

    learner: Learner
    strength: float

    def __post_init__(self) -> None:
        checks.number("strength", self.strength, above=0)

    def initial(self, meta: Tree) -> Tree:
        """As the inner learner."""
        return self.learner.initial(meta)

    def context(self, meta: Tree) -> Tree:
        """What the inner learner reads, and what the anchor is made of."""
        return tree.union(self.learner.context(meta), self.learner.initial(meta))

    def start(self, meta: Tree) -> Tree:
        """As the inner learner."""
        return self.learner.start(meta)

    def support_loss(self, adapted: Tree, meta: Tree, batch: Data) -> Tensor:
        """The inner learner's loss and the anchor."""
        away = tree.subtract(adapted, self.learner.start(meta))
        return self.learner.support_loss(adapted, meta, batch) + 0.5 * self.strength * tree.dot(away, away)

    def query_loss(self, adapted: Tree, meta: Tree, batch: Data) -> tuple[Tensor, Metrics]:
        """As the inner learner: the query loss has no anchor."""
        return self.learner.query_loss(adapted, meta, batch)


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or name.startswith(pattern + ".")


def _model_part(meta: Tree) -> dict[str, Tensor]:
    if not isinstance(meta, dict) or "model" not in meta:
        raise ValueError('the meta-parameters must be a dict with branch "model": names to tensors')
    return _flat(meta["model"])


def _flat(parameters: Tree) -> dict[str, Tensor]:
    if isinstance(parameters, Tensor):
        raise TypeError("the parameters of a model must be a dict from names to tensors, got one tensor")
    return {name: p for name, p in parameters.items() if isinstance(p, Tensor)}


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


def _scalar(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must return a 0-d tensor, got {type(value).__name__}; leave out .item() and the like")
    if value.ndim:
        raise ValueError(
            f"{name} must return a 0-d tensor, got shape {list(value.shape)}; average over examples (reduction='mean')"
        )
    return value
