"""What users hold: a module that meta-learns the parameters of their own module."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from metagrad import admissible, checks, functional, structure, tree
from metagrad.adapted import AdaptedModel, adapted_values
from metagrad.batching import Eager, MetaGradient, branch, evaluated, meta_gradient
from metagrad.batching.execution import Backend
from metagrad.capture import Capture, Mode
from metagrad.choosing import Auto, Chooser, Decision
from metagrad.choosing.auto import wanted
from metagrad.estimators.base import Estimator
from metagrad.estimators.families import warn_if_exact
from metagrad.first_look import SupportAlone
from metagrad.functional import Statistics
from metagrad.inner.curvature import CurvatureProduct, reverse_over_reverse
from metagrad.inner.learner import HasValues, Learner, learned
from metagrad.inner.learners import learner_of
from metagrad.inner.loop import InnerLoop
from metagrad.inner.motion import Evidence
from metagrad.inner.of_one_task import AdaptationCurve
from metagrad.inner.precision import Precision, kernels
from metagrad.inner.trajectory import Stored, Trajectory
from metagrad.meta_module import MetaModule
from metagrad.node import Stretch
from metagrad.objectives import Loss, Metrics, Objective
from metagrad.prepared import NonFiniteError, Prepared, prepare
from metagrad.probing import Probe, TaskProbe, first_tasks
from metagrad.rules import UpdateRule
from metagrad.structure import Data
from metagrad.task import Steps, Task
from metagrad.tree import Tree
from metagrad.unrolled import CarriedState, UnrolledModel, Unrolling, pullback
from metagrad.untouched import Untouched
from metagrad.validity import TaskChecks, require_finite, require_hyper, require_something_learned

__all__ = ["AdaptedModel", "Evaluation", "MetaLearner", "NonFiniteError"]


@dataclass(frozen=True)
class Evaluation:
    """Query loss [T, S + 1] and metrics (name → [T, S + 1]) of T tasks after 0, 1, … S inner steps."""

    loss: Tensor
    metrics: Metrics


class MetaLearner(MetaModule):
    """Meta-learns what adapting `model` to a task depends on: its start, its rule's settings, a hyper module.

        min over m of the mean over tasks of  query loss(φ_K(m), m),   φ_{k+1} = rule(φ_k, ∇ support loss(φ_k, m), m, k)

    Its parameters are the model's own, so any torch optimizer, scheduler, clipping or `state_dict` works as usual.
    The model is only read. What the constructor was given does not change afterwards: make a new learner.

    Args:
        model: any module; where `learner` is given, by default that learner's own.
        loss: (predictions, targets) → 0-d tensor on tasks of `Batch`; or an `Objective`, functions of (model, batch).
        rule: how an inner step moves the parameters: `SGD(lr=…)`, `AdamW(…)`, any `UpdateRule`.
        num_steps: K, inner steps in meta-training, at least 1.
        estimator: how the meta-gradient goes back through them: `Exact()`, which is MAML, `Binomial(order=2)`, or a
            name, such as "maml" or "fomaml"; `Auto(tolerance=0.1)`, which is "auto", chooses by measured errors.
        query_loss: (predictions, targets) → 0-d tensor on the query set; None for `loss`.
        metrics: name → (predictions, targets) → 0-d tensor, measured on the query set.
        hyper: a module that the `Objective` reads as its third argument; its parameters are meta-learned.
        learn_start: whether the start of what adapts is meta-learned; if not, it is the model's present values.
        adapts: what adapts within a task: names, prefixes at a dot, patterns with `*`, or a predicate on dotted names;
            None for all.
        proximal: λ of an anchor (λ/2)·‖φ − start‖² in the inner loss; None for none.
        learner: a `Learner` of your own in place of `loss`, `query_loss`, `metrics`, `adapts` and `proximal`.
        batch_statistics: by what batch norm normalises: "batch", "running", or None for what the module's mode says:
            in train mode each batch, running ones untouched (the convention of MAML); in eval mode the running ones.
        curvature: how one curvature product is done, from `metagrad.inner.curvature`.
        task_chunk: how many tasks run side by side, 1 for a plain loop; None for what suits the model: `learner.plan`.
        link_chunk: how many inner steps' products run side by side in one round; None likewise.
        side_by_side: most bytes that tasks and steps side by side may hold where these are None; None for 64 MiB on a
            CPU and a quarter of a GPU.
        trajectory: which inner states are kept and which recomputed on the way back, from
            `metagrad.inner.trajectory`: `SquareRoot()` or `Logarithmic()` for long inner loops; None for `Stored()`.
        reuse: of how many of the last inner steps the graph of the gradient is kept for the curvature products. Memory:
            that many graphs; saves a gradient a product.
        micro_batches: into how many parts a batch is divided, for the memory of a part. Losses must be means over
            examples, the first axis of every tensor; batch norm takes the statistics of each part.
        derivatives: "autograd" differentiates by `torch.autograd` from the start, "auto" where `torch.func` fails.
        seed: of models that draw random numbers, such as dropout in train mode: each inner step of each task draws
            under a seed made of this number, the task's values and the step. None for 0, with a warning where no layer
            says that it draws.
        capture: "off" evaluates as written; "auto", "whole" or "pieces" trace and compile at the first call, for half a
            minute, and replay from then on: see `metagrad.capture.Capture`.
        streams: threads that work on tasks at once under "pieces"; None as many as pay off.
        precision: "float32"; "tf32" on CUDA; or "bf16", which rounds the factors of matrix products and convolutions.
            Parameters, states, losses and sums stay in float32.

    Raises:
        ValueError: an argument out of range, a model with nothing to train or that cannot be a pure function.
        TypeError: an argument of the wrong kind.

    Example:
        >>> import metagrad, torch
        >>> from metagrad.data.regression import Sinusoids
        >>> model = metagrad.networks.MLP([1, 40, 40, 1])
        >>> learner = MetaLearner(model, nn.functional.mse_loss, metagrad.SGD(lr=0.01), 5, metagrad.Exact())
        >>> tasks = Sinusoids().sample(4, torch.Generator().manual_seed(0))
        >>> result = learner.backward(tasks)  # adds the mean meta-gradient to .grad
        >>> result.loss.shape, result.cost
        (torch.Size([4]), Cost(products=5, rounds=5, solves=0))
        >>> adapted = learner.adapt(tasks.take(0).support)
        >>> adapted(torch.zeros(3, 1)).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        loss: Loss | Objective | None = None,
        rule: UpdateRule | None = None,
        num_steps: int | None = None,
        estimator: Estimator | Auto | str | None = None,
        *,
        query_loss: Loss | None = None,
        metrics: Mapping[str, Loss] | None = None,
        hyper: nn.Module | None = None,
        learn_start: bool = True,
        adapts: str | Sequence[str] | Callable[[str], bool] | None = None,
        proximal: float | None = None,
        learner: Learner | None = None,
        batch_statistics: Statistics = None,
        curvature: CurvatureProduct = reverse_over_reverse,
        task_chunk: int | None = None,
        link_chunk: int | None = None,
        side_by_side: float | None = None,
        trajectory: Trajectory | None = None,
        reuse: int = 0,
        micro_batches: int = 1,
        derivatives: Backend = "auto",
        seed: int | None = None,
        capture: Mode = "off",
        streams: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        if rule is None or num_steps is None or estimator is None:
            missing = [n for n, v in (("rule", rule), ("num_steps", num_steps), ("estimator", estimator)) if v is None]
            raise TypeError(f"MetaLearner needs {' and '.join(missing)}")
        if learner is None:
            if model is None or loss is None:
                raise TypeError("MetaLearner needs a model and a loss, or a learner")
            learner = learner_of(
                model,
                loss,
                adapts,
                proximal,
                metrics=metrics or {},
                query_loss_function=query_loss,
                hyper=hyper,
                learn_start=learn_start,
                precision=precision,
                batch_statistics=batch_statistics,
            )
        elif any(given is not None for given in (loss, query_loss, metrics, adapts, proximal)):
            raise TypeError("a learner of your own has its own losses: leave out loss, query_loss, metrics and adapts")
        elif not learn_start or (precision == "bf16" and getattr(learner, "precision", None) != precision):
            said = "learn_start=False" if not learn_start else f"precision={precision!r}"
            raise TypeError(f"a learner of your own knows its start and arithmetic: give {said} to it")
        path = Stored() if trajectory is None else trajectory
        loop = InnerLoop(learner, rule, num_steps, curvature, link_chunk, reuse, path, seed, micro_batches)
        super().__init__(loop, model if model is not None else getattr(learner, "model", None), hyper)
        policy = wanted(estimator)
        if isinstance(policy, Estimator):
            warn_if_exact(policy, num_steps)
        self.capture = Capture(capture, streams, otherwise=Eager(task_chunk, derivatives, side_by_side))
        self.precision: Precision = precision
        self.batch_statistics: Statistics = batch_statistics
        self._loss = loss  # if it is a module, it moves with the rest
        self.estimator = policy
        self.chooser = Chooser(policy, num_steps) if isinstance(policy, Auto) else None
        self._checks = TaskChecks(self.model, loss)
        self.complete()

    @property
    def task_chunk(self) -> int | None:
        """How many tasks run side by side; None where the plan says it."""
        return self.capture.otherwise.task_chunk

    @property
    def plan(self) -> str:
        """How the latest call was evaluated, and why, as a sentence."""
        return self.capture.plan

    def meta_gradient(self, tasks: Task | Iterable[Task]) -> MetaGradient:
        """The mean meta-gradient over `tasks`, without touching any `.grad`; under "auto" it counts as a meta-step.

        Args:
            tasks: every tensor with a leading task axis, [T, N, ...]; or a list of tasks with leaves [N, ...] whose
                sizes may differ.

        Raises:
            ValueError: tasks that are empty, out of range or of another kind than the model.
            NonFiniteError: NaN or infinity in the data, a loss or the meta-gradient; names the task.
        """
        return self._mean_over(tasks, self.meta())

    def _mean_over(self, tasks: Task | Iterable[Task], meta: Tree) -> MetaGradient:
        require_something_learned(meta)
        prepared, loop = self._prepare(tasks, meta), self._loop()
        with kernels(self.precision):
            proposal = self.chooser and self.chooser.propose(loop, meta, prepared, self.task_chunk)
            estimator = cast(Estimator, self.estimator) if proposal is None else proposal.estimator
            result = meta_gradient(loop, estimator, meta, prepared, execution=self.capture)
            require_finite(result, loop, meta, prepared, self._loss)
            require_hyper(result, estimator)
        if self.chooser is not None and proposal is not None:
            self.chooser.commit(proposal, result.diagnostics)
        return result

    def _loop(self) -> InnerLoop:
        """The inner loop, with a seed where layers of the model draw random numbers at present."""
        drawing = self.loop.seed is None and admissible.draws(self.model)
        return replace(self.loop, seed=0) if drawing else self.loop

    @property
    def in_use(self) -> Estimator | None:
        """The estimator of the latest meta-gradient; under "auto" None before the first."""
        return cast(Estimator, self.estimator) if self.chooser is None else self.chooser.in_use

    def _chosen(self) -> Estimator:
        if self.in_use is None:
            raise ValueError(f"{self.estimator!r} has not chosen an estimator yet; take a meta-gradient first")
        return self.in_use

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
        with torch.inference_mode(False):
            for path, parameter in tree.items(learned(meta)):
                if parameter.requires_grad:  # rates can be frozen like any parameter
                    gradient = gradients[path].to(parameter.dtype)
                    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient
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
        estimator = self._chosen()
        with kernels(self.precision):
            return TaskProbe(self._loop(), meta, task).measure(estimator)

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
                self._loop(),
                meta,
                self._prepare(tasks, meta),
                self.capture.otherwise,
            )
        return Evaluation(cast(Tensor, branch(measured, "loss")), cast(Metrics, branch(measured, "metrics")))

    def adapt(self, support: Data, num_steps: int | None = None) -> AdaptedModel:
        """A module adapted to one task, ready to predict: values, through which no gradient passes.

        Its parameters require no gradient; what is to be differentiated through the inner steps is `unroll`.

        Args:
            support: data without a task axis, such as `Batch(inputs [N, ...], targets [N, ...])`.
            num_steps: inner steps, as in training by default; 0 gives the start.

        Raises:
            ValueError: as `meta_gradient`.
        """
        steps = self._steps(num_steps)
        meta = self.meta()
        prepared = self._alone(support, meta)
        with kernels(self.precision):
            values = adapted_values(self._loop(), meta, prepared, steps, self.capture.otherwise)
        return AdaptedModel(self.model, values, self.batch_statistics)

    def unroll(
        self,
        support: Data | Callable[[int], Data],
        num_steps: int | None = None,
        *,
        stops: Iterable[int] = (),
        state: CarriedState | None = None,
    ) -> UnrolledModel:
        """The model after K inner steps on one task, its parameters on the tape of the caller's autograd graph.

            loss = F.cross_entropy(adapted(x), y) + 0.1 * penalty(adapted);   loss.backward()

        Any expression of the result can be differentiated: `.grad` of model, rule settings and hyper module receive
        the estimate. Memory: the trajectory, until the graph is freed; no graph of the inner steps.

        Args:
            support: data without a task axis; `Steps` of other data at each step; or a function k ↦ data.
            num_steps: K; by default that of training, or the length of `Steps`.
            stops: steps in 1..K whose states are wanted on the tape too: `result.at(k)`. Each stretch between stops is
                pulled back by itself: exactly for `Exact()`; expansions are taken anew in each, closer to exact, for
                the products of their parts.
            state: of an earlier result, to carry on from there; `state.detach()` cuts what came before.

        Raises:
            ValueError: as `meta_gradient` for the data; an estimator that needs the query loss itself
                (`FiniteDifference`, `Implicit`, `Reptile`); "auto" before it has chosen; a state of another rule;
                `Steps` of fewer entries than K.
        """
        held = [len(leaf) for leaf in structure.leaves(support)] if isinstance(support, Steps) else []
        if num_steps is None and held:
            num_steps = min(held)
        steps = self._steps(num_steps)
        checks.integer("num_steps", steps, least=1)
        if held and not steps <= min(held) == max(held):
            lengths = ", ".join(map(str, sorted({*held})))
            raise ValueError(f"support is Steps of length {lengths}, and {steps} steps are taken: give each one entry")
        estimator = pullback(self._chosen())
        meta = self.meta()
        if not callable(support):
            self._alone(support, meta)
        stretch = Stretch(
            self._loop(),
            estimator,
            meta,
            lambda seed: Evidence(support, seed),
            self.capture.otherwise,
            self.precision,
            lambda data: Untouched([m for m in (self.model, self.hyper) if m is not None], self.batch_statistics, data),
            None,
        )
        unrolling = Unrolling(stretch, self.model, lambda adapted: self._whole(adapted, meta), self.batch_statistics)
        return unrolling.run(support, steps, stops, state)

    def _whole(self, adapted: Tree, meta: Tree) -> dict[str, Tensor]:
        """All parameters of the module, given those that adapted."""
        learner = self.loop.learner
        if isinstance(learner, HasValues):
            return learner.parameters(adapted, meta)
        return dict(tree.items(branch(meta, "model"))) | dict(tree.items(adapted))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model gives before adaptation, batch norm by `batch_statistics`."""
        return functional.called(self.model, self.batch_statistics, args, kwargs)

    def _alone(self, support: Data, meta: Tree) -> Prepared:
        """The data of one task as a checked batch of one."""
        if isinstance(support, Task):
            raise TypeError("support must be the data of one task, got a Task: give task.support")
        alone = structure.map(lambda leaf: leaf.unsqueeze(0), support)
        query = structure.map(lambda leaf: leaf[:, 0], alone.data) if isinstance(alone, Steps) else alone
        learner = SupportAlone(self.loop.learner)
        return self._checked(prepare(Task(alone, query), meta), False, learner, meta)

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

    def _prepare(self, tasks: Task | Iterable[Task], meta: Tree) -> Prepared:
        return self._checked(prepare(tasks, meta), isinstance(tasks, Task), self.loop.learner, meta)

    def _checked(self, tasks: Prepared, batched: bool, learner: Learner, meta: Tree) -> Prepared:
        admissible.check(self.model)
        with kernels(self.precision):
            self._checks.check(tasks, batched, learner, meta)
        return tasks
