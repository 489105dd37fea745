"""Meta-training: sample, backward, clip, step, record; and everything needed to go on after an interruption."""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_

from metagrad.estimators.exact import Exact
from metagrad.estimators.families import family
from metagrad.learner import MetaLearner, NonFiniteError
from metagrad.task import Task, TaskSource
from metagrad.training import fitting
from metagrad.training.evaluation import evaluate
from metagrad.training.interrupt import deferred_interrupt
from metagrad.training.plan import Plan
from metagrad.training.progress import Reporter, Silent
from metagrad.training.run_writer import RunWriter
from metagrad.training.watch import ErrorWatch


class Diverged(ValueError):
    """A loss or a meta-gradient stopped being finite; the weights before that meta-step are saved in the run."""


class Trainer:
    """Trains a learner in a run directory; with equal state it takes the same steps to the bit, on one machine.

    Training tasks come from the trainer's own generator, whose state is checkpointed with the rest; validation tasks
    are given, the same each time. The best weights are those with the highest accuracy on them after the inner steps
    of training, or, where accuracy is not measured, with the lowest loss.

    Every meta-step records the estimator's own estimate of its error, where it makes one ("error_estimate", the median
    over the meta-batch), and every `plan.probe_every` of them the true error on one task ("kind": "probe"). The first
    time that one of them is outside the safe range (`watch`) the reporter warns, with the remedy.

    Args:
        learner: what is trained, on its device.
        optimizer: over `learner.parameters()`.
        scheduler: steps once a meta-step.
        source: training tasks.
        validation: validation tasks, each with leaves [1, N, ...].
        plan: lengths and intervals.
        seed: of the training tasks.
        reporter: told about every step.
    """

    def __init__(
        self,
        learner: MetaLearner,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        source: TaskSource,
        validation: list[Task],
        plan: Plan,
        seed: int,
        reporter: Reporter | None = None,
    ) -> None:
        self.learner = learner
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.source = source
        self.validation = validation
        self.plan = plan
        self.reporter = reporter or Silent()
        self.step = 0
        self.best: float | None = None
        self._watch = ErrorWatch()
        self._probed: float | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._parameters = list(learner.parameters())
        self._device, self._dtype = self._parameters[0].device, self._parameters[0].dtype

    def train(self, run: RunWriter) -> None:
        """Take the remaining meta-steps, recording each in `run`.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; a checkpoint was written first, so that the run can be resumed.
            Diverged: inputs, a loss or the meta-gradient are not finite; the weights before were written first.
        """
        plan = self.plan
        self.reporter.started(self.step, plan.meta_steps)
        self.learner.capture.announce = self.reporter.noted
        with deferred_interrupt() as interrupted:
            while self.step < plan.meta_steps and not interrupted():
                try:
                    self._meta_step(run)
                    last = self.step == plan.meta_steps
                    validate = last or self.step % plan.validate_every == 0
                    if validate:
                        self._validate(run)
                except Diverged:
                    self._save(run)
                    raise
                if validate or self.step % plan.checkpoint_every == 0:
                    self._save(run)
            if interrupted():
                self._save(run)
                raise KeyboardInterrupt

    def state(self) -> dict[str, Any]:
        """All that later steps depend on, as tensors, numbers, strings and containers of them."""
        return {
            "step": self.step,
            "best": self.best,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "generator": self._generator.get_state(),
            "watch": self._watch.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Everything in it is held against what this trainer has before the first of it is loaded.

        Raises:
            ValueError: the state belongs to another model or optimizer, to a longer run, or is damaged.
        """
        try:
            parts = self.state()
            fitting.named({name: state[name] for name in parts if name in state}, parts, "it")
            step = fitting.whole(state["step"], 0, "its step")
            if step > self.plan.meta_steps:
                raise ValueError(f"the run has {step} meta-steps already: meta_steps cannot be {self.plan.meta_steps}")
            best = fitting.finite_or_none(state["best"], "its best value")
            weights = fitting.fitted_weights(state["learner"], self.learner, "its model")
            optimizer = fitting.fitted_optimizer(state["optimizer"], self.optimizer, "its optimizer")
            scheduler = fitting.fitted_scheduler(state["scheduler"], self.scheduler, "its scheduler")
            drawn = fitting.fitted(state["generator"], self._generator.get_state(), "its generator")
            generator = torch.Generator().set_state(drawn)
            watch = fitting.fitted(state["watch"], self._watch.state(), "its watch")
            self.learner.load_state_dict(weights)
        except (ValueError, RuntimeError) as error:  # as fitting says it; or set_state, or a module's own extra state
            raise ValueError(f"the checkpoint does not fit this experiment: {error}") from error
        self.optimizer.load_state_dict(optimizer)
        self.scheduler.load_state_dict(scheduler)
        self._generator.set_state(generator.get_state())
        self._watch.load_state(watch)
        self.step, self.best = step, best

    def _meta_step(self, run: RunWriter) -> None:
        began = time.perf_counter()
        before = self._generator.get_state()
        tasks = self.source.sample(self.plan.meta_batch, self._generator).to(self._device, self._dtype)
        for parameter in self._parameters:
            parameter.grad = None
        try:
            result = self.learner.backward(tasks)
            norm = self._clip()
        except (NonFiniteError, Diverged) as error:
            self._generator.set_state(before)  # a resumed run meets the same tasks again
            raise Diverged(
                f"meta-step {self.step + 1} was not taken: {error}; the weights before it are saved in {run.path}; "
                "a new run needs a smaller inner or meta learning rate, or other data"
            ) from error
        seconds = time.perf_counter() - began
        self._choice(run)
        probe = self._probe(run, tasks)
        began = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        seconds += time.perf_counter() - began
        means = {name: values.mean().item() for name, values in {"loss": result.loss, **result.metrics}.items()}
        own = result.diagnostics.get("error_estimate")
        errors = {} if own is None else {"error_estimate": own.median().item()}
        run.record(
            {
                "kind": "train",
                "step": self.step,
                **means,
                **errors,
                "gradient_norm": norm,
                "lr": rate,
                "seconds": seconds,
            }
        )
        self._warn(run, errors.get("error_estimate"), probe)
        if self._probed is not None:
            errors["error_probe"] = self._probed
        self.reporter.stepped(self.step, {**means, **errors, "tasks/s": self.plan.meta_batch / seconds})

    def _choice(self, run: RunWriter) -> None:
        """What estimator="auto" decided at this meta-step, if it did."""
        decision = self.learner.decision
        if decision is None:
            return
        measured = {repr(estimator): error for estimator, error in decision.measured.items()}
        chosen = {"estimator": repr(decision.estimator), "why": decision.why, "measured": measured}
        run.record({"kind": "choice", "step": self.step + 1, **chosen})
        if decision.estimator != decision.before:
            self.reporter.noted(f"meta-step {self.step + 1}: {decision.why}")

    def _probe(self, run: RunWriter, tasks: Task) -> float | None:
        """The true error on the first task, at the weights that the meta-gradient was taken at, if it is time."""
        estimator, every = self.learner.in_use, self.plan.probe_every
        if every is None or self.step % every or estimator is None or estimator == Exact():
            return None
        if family(estimator).estimates != "meta-gradient":
            return None
        began = time.perf_counter()
        probe = self.learner.probe(tasks)
        own = {} if probe.error_estimate is None else {"error_estimate": probe.error_estimate}
        seconds = time.perf_counter() - began
        run.record({"kind": "probe", "step": self.step + 1, "error": probe.error, **own, "seconds": seconds})
        self._probed = probe.error
        return probe.error

    def _warn(self, run: RunWriter, estimate: float | None, probe: float | None) -> None:
        estimator = self.learner.in_use
        warning = None if estimator is None else self._watch.look(estimator, estimate, probe)
        if warning is not None:
            run.record({"kind": "warning", "step": self.step, "text": warning})
            self.reporter.warned(f"meta-step {self.step}: {warning}")

    def _clip(self) -> float:
        # One copy and one sum: a norm for each parameter costs a small network as much as Adam.
        norm = torch.linalg.vector_norm(torch.cat([p.grad.reshape(-1) for p in self._parameters if p.grad is not None]))
        length = norm.item()
        if not math.isfinite(length):
            raise Diverged(f"the meta-gradient has norm {length}; try a smaller inner or meta learning rate")
        if self.plan.clip is not None:
            clip_grads_with_norm_(self._parameters, self.plan.clip, norm)
        return length

    def _validate(self, run: RunWriter) -> None:
        try:
            held_out = evaluate(
                self.learner,
                self.validation,
                None,
                chunk=self.plan.evaluation_chunk,
                device=self._device,
                dtype=self._dtype,
            )
        except NonFiniteError as error:
            raise Diverged(f"validation after meta-step {self.step} stopped: {error}") from error
        after = {name: held_out.intervals(name)[-1] for name in held_out.values}
        value = -after["accuracy"].mean if "accuracy" in after else after["loss"].mean
        best = value < (math.inf if self.best is None else self.best)  # never for NaN
        if best:
            self.best = value
            run.save_weights("best", self.learner.state_dict())
        run.record(
            {
                "kind": "validation",
                "step": self.step,
                **{name: entry.mean for name, entry in after.items()},
                **{f"{name}_half_width_95": entry.half_width for name, entry in after.items()},
                "best": best,
            }
        )
        self.reporter.validated(self.step, {name: entry.mean for name, entry in after.items()}, best)

    def _save(self, run: RunWriter) -> None:
        run.checkpoint(self.state(), self.learner.state_dict())
