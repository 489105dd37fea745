"""What users hold: a module that meta-learns the parameters of their own module."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from metagrad import admissible, checks, functional, structure, tree
from metagrad.adapted import AdaptedModel, adapted_model
from metagrad.batching import Eager, MetaGradient, branch, evaluated, meta_gradient
from metagrad.capture import Capture, Mode
from metagrad.choosing import Auto, Chooser, Decision
from metagrad.choosing.auto import wanted
from metagrad.estimators.base import Estimator
from metagrad.estimators.families import warn_if_exact
from metagrad.inner.curvature import CurvatureProduct, reverse_over_reverse
from metagrad.inner.learner import Learner, Loss, Metrics
from metagrad.inner.learners import PartOfModel, Proximal, WholeModel
from metagrad.inner.loop import AdaptationCurve, InnerLoop
from metagrad.inner.precision import Precision, kernels
from metagrad.inner.trajectory import Stored, Trajectory
from metagrad.prepared import NonFiniteError, Prepared, prepare
from metagrad.probing import Probe, TaskProbe, first_tasks
from metagrad.rules import UpdateRule
from metagrad.task import Batch, Task
from metagrad.tree import Tree
from metagrad.validity import TaskChecks, require_finite

__all__ = ["AdaptedModel", "Evaluation", "MetaLearner", "NonFiniteError"]


@dataclass(frozen=True)
class Evaluation:
    """Query loss [T, S + 1] and metrics (name → [T, S + 1]) of T tasks after 0, 1, … S inner steps."""

    loss: Tensor
    metrics: Metrics


class MetaLearner(nn.Module):
    """Meta-learns the initial parameters of `model` (and the rates of a rule that learns them).

        min over m of the mean over tasks of  query loss(φ_K(m)),   φ_{k+1} = rule(φ_k, ∇ support loss(φ_k))

    Its parameters are the model's own, so any torch optimizer, scheduler, clipping or `state_dict` works as usual.
    The model is only read: batch norm uses the statistics of each support or query set (the convention of MAML) and
    writes no running ones.

    Args:
        model: any module of one input tensor [N, ...].
        loss: (predictions, targets) → 0-d tensor, for support and query alike.
        rule: `SGD(lr=…)`, `Momentum(…)` or `LearnedRates(…)`.
        num_steps: K, inner steps in meta-training, at least 1.
        estimator: how the meta-gradient goes back through them: `Exact()`, which is MAML, `Binomial(order=2)`, or a
            name, such as "maml" or "fomaml"; `Auto(tolerance=0.1)`, which is "auto", chooses by measured errors.
        adapts: what adapts within a task: names, prefixes at a dot or a predicate on dotted names; None for all.
        proximal: λ of an anchor (λ/2)·‖φ − start‖² in the inner loss; None for none.
        metrics: name → (predictions, targets) → 0-d tensor, measured on the query set.
        curvature: how one curvature product is done, from `metagrad.inner.curvature`.
        task_chunk: how many tasks run side by side; None for all, 1 for a plain loop.
        link_chunk: how many inner steps' products run side by side in one round; None for all.
        trajectory: which inner states are kept and which recomputed on the way back, from
            `metagrad.inner.trajectory`: `SquareRoot()` or `Logarithmic()` for long inner loops; None for `Stored()`.
        reuse: of how many of the last inner steps the graph of the gradient is kept for the curvature products. Memory:
            that many graphs; saves a gradient a product.
        capture: "off" evaluates as written; "auto", "whole" or "pieces" trace and compile at the first call, for half a
            minute, and replay from then on: see `metagrad.capture.Capture`.
        streams: threads that work on tasks at once under "pieces"; None as many as pay off.
        precision: "float32"; "tf32" on CUDA; or "bf16", which rounds the factors of matrix products and convolutions.
            Parameters, states, losses and sums stay in float32.

    Raises:
        ValueError: an argument out of range, active dropout, a model with nothing to train.
        TypeError: an argument of the wrong kind.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        rule: UpdateRule,
        num_steps: int,
        estimator: Estimator | Auto | str,
        *,
        adapts: str | Sequence[str] | Callable[[str], bool] | None = None,
        proximal: float | None = None,
        metrics: Mapping[str, Loss] | None = None,
        curvature: CurvatureProduct = reverse_over_reverse,
        task_chunk: int | None = None,
        link_chunk: int | None = None,
        trajectory: Trajectory | None = None,
        reuse: int = 0,
        capture: Mode = "off",
        streams: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        policy = wanted(estimator)
        if isinstance(policy, Estimator):
            warn_if_exact(policy, num_steps)
        checks.function("loss", loss)
        for name, metric in (metrics or {}).items():
            checks.function(f"the metric {name!r}", metric)
        if proximal is not None:
            checks.number("proximal (None for no anchor)", proximal, above=0)
        learner: Learner
        if adapts is None:
            learner = WholeModel(model, loss, metrics or {}, precision=precision)
        else:
            learner = PartOfModel(model, loss, adapts, metrics or {}, precision=precision)
        if proximal is not None:
            learner = Proximal(learner, proximal)
        admissible.check(model)
        self.loop = InnerLoop(
            learner, rule, num_steps, curvature, link_chunk, reuse, Stored() if trajectory is None else trajectory
        )
        self.capture = Capture(capture, streams, otherwise=Eager(task_chunk))
        self.precision: Precision = precision
        self.model = model
        self._loss = loss  # if it is a module, it moves with the rest
        self.estimator = policy
        self.chooser = Chooser(policy, num_steps) if isinstance(policy, Auto) else None
        settings = rule.initial_meta(learner.start({"model": {**functional.trainable(model)}}), num_steps)
        self._settings = settings = tree.detach(settings)
        self.rates = nn.ParameterList([nn.Parameter(value) for value in tree.leaves(settings)])
        self._checks = TaskChecks(model, loss)

    @property
    def task_chunk(self) -> int | None:
        """How many tasks run side by side; None for all."""
        return self.capture.otherwise.task_chunk

    def learned_settings(self) -> dict[str, Tensor]:
        """What the rule has learned, by dotted name: "lr" for one rate, "lr.head.weight" for one of many."""
        return dict(tree.items(self._own()))

    def _own(self) -> Tree:
        """The rule's part of the meta-parameters."""
        values = iter(self.rates)
        return tree.map(lambda _: next(values), self._settings)

    def meta(self) -> Tree:
        """The meta-parameters as a tree that shares the values: {"model": …} and, where rates are learned, "rule".

        Raises:
            ValueError: parameters were frozen or thawed since the rates were made.
        """
        meta: dict[str, Tree] = {"model": {**functional.trainable(self.model)}}
        if not len(self.rates):
            return meta
        start = self.loop.learner.start(meta)
        now = {path for path, _ in tree.items(self.loop.rule.initial_meta(start, self.loop.num_steps))}
        then = {path for path, _ in tree.items(self._settings)}
        if now != then:
            changed = ", ".join(sorted({path.partition(".")[2] or path for path in now ^ then}))
            raise ValueError(
                f"{changed} was frozen or thawed since the learned settings were made; make a new MetaLearner"
            )
        meta["rule"] = self._own()
        return meta

    def meta_gradient(self, tasks: Task | Iterable[Task]) -> MetaGradient:
        """The mean meta-gradient over `tasks`, without touching any `.grad`; under "auto" it counts as a meta-step.

        Args:
            tasks: leaves [T, N, ...], or a list of tasks with leaves [N, ...] whose sizes may differ.

        Raises:
            ValueError: tasks that are empty, out of range or of another kind than the model.
            NonFiniteError: NaN or infinity in the data, a loss or the meta-gradient; names the task.
        """
        return self._mean_over(tasks, self.meta())

    def _mean_over(self, tasks: Task | Iterable[Task], meta: Tree) -> MetaGradient:
        prepared = self._prepare(tasks, meta)
        with kernels(self.precision):
            if self.chooser is None:
                return self._meta_gradient(cast(Estimator, self.estimator), meta, prepared)
            proposal = self.chooser.propose(self.loop, meta, prepared, self.task_chunk)
            result = self._meta_gradient(proposal.estimator, meta, prepared)
        self.chooser.commit(proposal, result.diagnostics)
        return result

    def _meta_gradient(self, estimator: Estimator, meta: Tree, prepared: Prepared) -> MetaGradient:
        result = meta_gradient(self.loop, estimator, meta, prepared, execution=self.capture)
        require_finite(result, self.loop, meta, prepared, self._loss)
        return result

    @property
    def in_use(self) -> Estimator | None:
        """The estimator of the latest meta-gradient; under "auto" None before the first."""
        return cast(Estimator, self.estimator) if self.chooser is None else self.chooser.in_use

    @property
    def decision(self) -> Decision | None:
        """What "auto" decided at the latest meta-gradient, and why; None where it did not have to."""
        return None if self.chooser is None else self.chooser.decision

    def backward(self, tasks: Task | Iterable[Task]) -> MetaGradient:
        """Add the mean meta-gradient over `tasks` to `.grad` of this module's parameters.

        Nothing is added when an error is raised. Arguments and errors as for `meta_gradient`.
        """
        meta = self.meta()
        result = self._mean_over(tasks, meta)
        gradients = dict(tree.items(result.gradient))
        for path, parameter in tree.items(meta):
            if parameter.requires_grad:  # rates can be frozen like any parameter
                gradient = gradients[path].to(parameter.dtype)
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return result

    def probe(self, tasks: Task | Iterable[Task]) -> Probe:
        """The true relative error of the estimator on the first of `tasks`, against `Exact` on the same task.

            error = ‖estimate − exact‖ / ‖exact‖

        Touches no `.grad`, no random generator and no captured graph. For `Implicit`, `FiniteDifference` and `Reptile`,
        which estimate something else, the error includes the difference to that.

        Cost: one inner loop, K products for Exact and those of the estimator, uncompiled, one after another.

        Raises:
            ValueError, NonFiniteError: as `meta_gradient` for the tasks; or "auto" has not chosen yet. An error that is
                not finite is returned.
        """
        meta = self.meta()
        (task,) = first_tasks(self._prepare(tasks, meta), 1)
        if self.in_use is None:
            raise ValueError(f"{self.estimator!r} has not chosen an estimator yet; take a meta-gradient first")
        with kernels(self.precision):
            return TaskProbe(self.loop, meta, task).measure(self.in_use)

    def evaluate(self, tasks: Task | Iterable[Task], num_steps: int | None = None) -> Evaluation:
        """Query loss and metrics after 0, 1, … S inner steps; works under `no_grad` and `inference_mode`.

        Args:
            tasks: as for `meta_gradient`.
            num_steps: S, as in training by default; 0 measures the start alone.

        Raises:
            ValueError: as `meta_gradient`. A loss that is not finite is returned, not raised: it is a measurement.
        """
        steps = self._steps(num_steps)
        meta = self.meta()

        with kernels(self.precision):
            measured = evaluated(
                lambda loop, derivatives: AdaptationCurve(loop, derivatives, steps),
                self.loop,
                meta,
                self._prepare(tasks, meta),
                self.capture.otherwise,
            )
        return Evaluation(cast(Tensor, branch(measured, "loss")), cast(Metrics, branch(measured, "metrics")))

    def adapt(self, support: Batch, num_steps: int | None = None) -> AdaptedModel:
        """A module adapted to one task, ready to predict.

        Args:
            support: inputs [N, ...] and targets [N, ...], no task axis.
            num_steps: inner steps, as in training by default; 0 gives the start.

        Raises:
            ValueError: as `meta_gradient`.
        """
        steps = self._steps(num_steps)
        meta = self.meta()
        alone = structure.map(lambda leaf: leaf.unsqueeze(0), support)
        prepared = self._prepare(Task(alone, alone), meta, single=True)
        with kernels(self.precision):
            return adapted_model(self.model, self.loop, meta, prepared, steps, self.capture.otherwise)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions [N, ...] of the model before adaptation, batch norm by the batch's statistics."""
        return functional.call(self.model, functional.trainable(self.model), inputs)

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """`DistributedDataParallel` asks for this first. Its averages belong to torch's own backward pass alone."""
        raise ValueError(
            "DistributedDataParallel around a MetaLearner would average nothing, for `backward(tasks)` is no backward "
            "pass of torch's; leave it out, and average .grad across processes after learner.backward(tasks)"
        )

    def _steps(self, num_steps: int | None) -> int:
        if num_steps is None:
            return self.loop.num_steps
        checks.integer("num_steps", num_steps, least=0)
        return num_steps

    def _prepare(self, tasks: Task | Iterable[Task], meta: Tree, single: bool = False) -> Prepared:
        admissible.check(self.model)
        prepared = prepare(tasks, meta)
        with kernels(self.precision):
            self._checks.check(prepared, isinstance(tasks, Task) and not single, self.loop.learner, meta)
        return prepared
