"""What a learner refuses: a forgotten task axis, classes without an output, meta-gradients that are not finite."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metagrad import functional, tree
from metagrad.batching import MetaGradient, branch
from metagrad.first_look import FirstLook
from metagrad.inner.learner import Learner, learned
from metagrad.inner.loop import InnerLoop
from metagrad.inner.randomness import seeded
from metagrad.not_finite import explanation
from metagrad.prepared import NonFiniteError, Prepared
from metagrad.structure import Data
from metagrad.task import Batch, Task
from metagrad.tree import Tree


class TaskChecks:
    """All that is required of the tasks of one learner before anything is computed on them.

    Args:
        model: the module that adapts.
        loss: (predictions, targets) → 0-d tensor.
    """

    def __init__(self, model: nn.Module, loss: object) -> None:
        self._model = model
        self._axes, self._classes, self._look = ExampleAxes(), ClassTargets(loss), FirstLook(model, loss)

    def check(self, tasks: Prepared, batched: bool, learner: Learner, meta: Tree) -> None:
        """Refuse what would give wrong numbers, or none.

        Args:
            tasks: they.
            batched: whether they came with a task axis.
            learner: of the losses.
            meta: the meta-parameters.

        Raises:
            ValueError: a forgotten task axis, classes without an output, or paths that no gradient takes.
        """
        for _, group in tasks.groups:
            if batched:
                self._axes.learn(group)
            else:
                self._axes.check(group)
            self._classes.check(group, self._model)
            self._look.check(learner, meta, group)


class ExampleAxes:
    """The axes of one example, learned from batches of tasks, and required of tasks that come one by one.

    A list of tasks that were left their task axis looks like valid tasks with other examples: only batches tell.
    """

    def __init__(self) -> None:
        self._known: int | None = None

    def learn(self, tasks: Task) -> None:
        """Take them from a batch of tasks [T, N, ...]."""
        self._known = _axes(tasks)

    def check(self, tasks: Task) -> None:
        """Refuse single tasks, joined to [T, N, ...], whose examples differ from those of batches.

        Raises:
            ValueError: they do.
        """
        if self._known not in (None, _axes(tasks)):
            raise ValueError(
                f"one task has inputs [examples, …] without a task axis; examples here have {_axes(tasks)} axes and in "
                f"batches of tasks {self._known}"
            )


def _axes(tasks: Task) -> int:
    return tasks.leaves[0].ndim - 2


class ClassTargets:
    """Holds the targets of a classification loss against the outputs of the model; any other loss it lets pass.

    How many outputs there are is found by one forward pass for each kind of input, when first needed.

    Args:
        loss: (predictions, targets) → 0-d tensor.
    """

    def __init__(self, loss: object) -> None:
        self._loss = loss
        self._outputs: dict[tuple[object, ...], int | None] = {}

    def check(self, tasks: Task, model: nn.Module) -> None:
        """Refuse classes without a logit: a kernel would read past the end, and a GPU would lose its context.

        Args:
            tasks: leaves [T, N, ...].
            model: inputs [N, ...] → predictions [N, ...].

        Raises:
            ValueError: class numbers of another type than torch.long, or out of range.
        """
        for part, batch in zip(("support", "query"), tasks, strict=True):
            self._check(part, batch, model)

    def _check(self, part: str, batch: Data, model: nn.Module) -> None:
        ignored = _ignored_class(self._loss)
        known = isinstance(batch, Batch) and isinstance(batch.inputs, Tensor) and isinstance(batch.targets, Tensor)
        if ignored is None or not known:
            return
        classes = self._number_of_classes(batch, model)
        if classes is None:
            return
        if batch.targets.dtype != torch.long:
            raise ValueError(
                f"{part} targets are {batch.targets.dtype}, and cross-entropy needs class numbers of torch.long; "
                "convert them with .long()"
            )
        valid = batch.targets[batch.targets != ignored]
        if not valid.numel():
            return
        low, high = (int(bound) for bound in valid.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"{part} targets must lie in 0..{classes - 1}, one for each of the model's {classes} outputs, got "
                f"{low if low < 0 else high}"
            )

    def _number_of_classes(self, batch: Batch, model: nn.Module) -> int | None:
        """C where targets are class numbers: [N] of logits [N, C], [N, H, W] of [N, C, H, W]. None elsewhere."""
        kind = (batch.targets.ndim, batch.inputs.shape[2:], batch.inputs.dtype, *(p.shape for p in model.parameters()))
        if kind not in self._outputs:
            # With gradients, for models that differentiate by themselves.
            with torch.inference_mode(False), torch.enable_grad(), seeded(0, 0):
                copies = {name: p.detach().clone().requires_grad_() for name, p in functional.trainable(model).items()}
                predictions: object = functional.call(model, copies, batch.inputs[0])
            numbered = isinstance(predictions, Tensor) and predictions.ndim == batch.targets.ndim
            self._outputs[kind] = predictions.shape[1] if isinstance(predictions, Tensor) and numbered else None
        return self._outputs[kind]


def _ignored_class(loss: object) -> int | None:
    """The class number that a classification loss leaves out; None for any other loss."""
    options: dict[str, int] = {}
    if isinstance(loss, partial):
        options, loss = loss.keywords, loss.func
    if loss in (F.cross_entropy, F.nll_loss):
        return options.get("ignore_index", -100)
    return loss.ignore_index if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) else None


def require_something_learned(meta: Tree) -> None:
    """Refuse a learner of whom everything is given.

    Raises:
        ValueError: no start, no hyper module and no setting of the rule is meta-learned.
    """
    if not tree.leaves(learned(meta)):
        raise ValueError(
            "learn_start=False leaves nothing to learn: give hyper=..., a Learned setting of the rule, or adapts=..."
        )


def require_hyper(result: MetaGradient, estimator: object) -> None:
    """Refuse a gradient of zero on a hyper module from an estimator that takes no product, and so drops the true one.

    Raises:
        ValueError: nothing but the query loss could reach the hyper module, and it does not read it.
    """
    hyper = tree.items(branch(result.gradient, "hyper"))
    if result.cost.products or result.cost.solves or (slopes := dict(hyper)) == {}:
        return
    if not any(slope.any() for slope in slopes.values()):
        raise ValueError(
            f"{estimator!r} gives no gradient to hyper.{next(iter(slopes))}: it takes no curvature product, so nothing "
            "reaches what only the inner loss reads; take Exact() or Binomial(order=2)"
        )


def require_finite(result: MetaGradient, loop: InnerLoop, meta: Tree, tasks: Prepared, loss: object) -> None:
    """Refuse a meta-gradient with NaN or infinity, by the first task that has some, where it arose and what is typical.

    Args:
        result: the meta-gradient.
        loop: the inner loop that it was taken through.
        meta: the meta-parameters.
        tasks: its tasks.
        loss: as for `ClassTargets`.

    Raises:
        NonFiniteError: a loss or the meta-gradient of a task is not finite.

    Cost: one look at a flag a task; on an error, the loop of one task once more.
    """
    bad = ~result.diagnostics["finite"]
    if not bad.any():
        return
    position = int(bad.nonzero()[0])
    task = next(group.take(where.index(position)) for where, group in tasks.groups if position in where)
    why = _all_ignored(task, loss) or explanation(loop, meta, task)
    raise NonFiniteError(f"task {position} of {len(bad)}: {why}", position)


def _all_ignored(task: Task, loss: object) -> str | None:
    """A sentence if a classification loss has nothing to average over."""
    ignored = _ignored_class(loss)
    for part, batch in task.parts:
        labelled = isinstance(batch, Batch) and isinstance(batch.targets, Tensor) and ignored is not None
        if labelled and not (batch.targets != ignored).any():
            return (
                f"all its {part} targets are {ignored}, which the loss ignores, so it averages over nothing; leave "
                "such tasks out"
            )
    return None
