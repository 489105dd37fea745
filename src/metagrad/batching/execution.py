"""How a function of one task is evaluated at many: here as written, in `metagrad.capture` compiled."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

import torch

from metagrad import checks, tree
from metagrad.batching.chunks import Chunk, OfTask, branch, in_chunks, joined
from metagrad.batching.planning import Planner
from metagrad.inner.by_autograd import ByAutograd
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.loop import InnerLoop
from metagrad.inner.randomness import RandomModelError, without_drawing
from metagrad.prepared import Prepared
from metagrad.remedies import add_remedy
from metagrad.tree import Tree

Job = Callable[[InnerLoop, Derivatives], OfTask]
"""What is wanted of each task, given the loop and derivatives that the execution decides on."""

Backend = Literal["auto", "autograd"]
Result = TypeVar("Result")


class Execution(Protocol):
    """How a function of one task is evaluated at many: as written, or traced once and replayed."""

    def run(self, job: Job, loop: InnerLoop, meta: Tree, tasks: Prepared, asked_once: int = 0) -> Tree:
        """The job at every task: "sum" over them, "each" stacked in their order. Called without gradient mode.

        `asked_once` says of how many of the last links the job asks for exactly one curvature product.
        """
        ...


@dataclass(frozen=True)
class Way:
    """One way to evaluate as written.

    Attributes:
        task_chunk: how many tasks run side by side.
        one_by_one: whether links run one at a time too, so that there is no `vmap` at all.
        by_autograd: whether plain `torch.autograd` differentiates in place of `torch.func`.
        seed: of random models; None where nothing is drawn.
    """

    task_chunk: int | None
    one_by_one: bool
    by_autograd: bool
    seed: int | None

    def loop(self, loop: InnerLoop) -> InnerLoop:
        """The loop, fit for this way."""
        if self.one_by_one or self.by_autograd:
            loop = replace(loop, link_chunk=1)
        if self.by_autograd:
            loop = replace(loop, reuse=0)
        return loop if self.seed is None else replace(loop, seed=self.seed)

    def derivatives(self, loop: InnerLoop) -> Derivatives:
        """The loop's own, or those of plain autograd."""
        if self.by_autograd:
            return loop.in_parts(ByAutograd(loop.learner, loop.curvature))
        return loop.derivatives()


class Eager:
    """Evaluate as written: side by side where `vmap` can map the model, else one task and one link after another.

    What `torch.func` cannot differentiate is left to plain `torch.autograd`. Each such step down is taken once, with
    one warning, and remembered.

    Args:
        task_chunk: how many tasks run side by side; None for what the model is planned for, 1 for one after another.
        backend: "autograd" to differentiate by plain `torch.autograd` from the start.
        side_by_side: most bytes that tasks and links side by side may hold; None for 64 MiB on a CPU and a quarter of
            a GPU.

    Raises:
        ValueError: `task_chunk` below 1, an unknown backend, or no bytes.
    """

    def __init__(
        self, task_chunk: int | None = None, backend: Backend = "auto", side_by_side: float | None = None
    ) -> None:
        if task_chunk is not None:
            checks.integer("task_chunk", task_chunk, least=1)
        if backend not in ("auto", "autograd"):
            raise ValueError(f"derivatives must be 'auto' or 'autograd', got {backend!r}")
        self.planner = Planner(task_chunk, side_by_side)
        self._way = Way(task_chunk, False, backend == "autograd", None)
        if self._way.by_autograd:
            self._way = replace(self._way, task_chunk=1, one_by_one=True)
        self._worked = False

    @property
    def task_chunk(self) -> int | None:
        """How many tasks run side by side; None where the plan says it."""
        return self._way.task_chunk

    @property
    def plan(self) -> str:
        """What runs side by side at present, and why, as a sentence."""
        return self.planner.latest.why if self.planner.latest else "nothing has run yet"

    def run(self, job: Job, loop: InnerLoop, meta: Tree, tasks: Prepared, asked_once: int = 0) -> Tree:
        """Evaluate the job, by the first way that works.

        Raises:
            Exception: what the plainest way raised, where none works.
        """
        return self.first_that_works(lambda way: self.attempt(way, job, loop, meta, tasks, asked_once), loop)

    def first_that_works(self, attempt: Callable[[Way], Result], loop: InnerLoop) -> Result:
        """What an attempt gives by the present way, or by the next plainer one that it succeeds by; kept from then on.

        Raises:
            Exception: what the plainest way raised, where none works.
        """
        way, failures = self._way, list[tuple[Way, Exception]]()
        while True:
            try:
                result, noted = (attempt(way), []) if self._worked else _noting(attempt, way)
            except Exception as error:  # whatever the user's model may raise under vmap and torch.func
                failures.append((way, error))
                plainer = self._plainer(way, error, loop)
                if plainer is None:
                    add_remedy(error)
                    raise error from None
                way = plainer
                continue
            for note in noted:
                warnings.warn_explicit(note.message, note.category, note.filename, note.lineno)
            if failures:  # one warning, of what ruled out the last way before this one
                warnings.warn(_notice(*failures[-1], loop), RuntimeWarning, stacklevel=3)
            self._way, self._worked = way, True
            return result

    def attempt(self, way: Way, job: Job, loop: InnerLoop, meta: Tree, tasks: Prepared, asked_once: int) -> Tree:
        """Evaluate the job one way; refuses models that draw random numbers without a seed."""
        fitting, task_chunk = self.fitting(way, loop, meta, tasks, asked_once)
        chunk = Chunk(job(fitting, way.derivatives(fitting)))
        chunks, order = in_chunks(tasks, task_chunk)
        return without_drawing(chunks[0].device, lambda: joined([chunk(meta, part) for part in chunks], order))

    def fitting(
        self, way: Way, loop: InnerLoop, meta: Tree, tasks: Prepared, asked_once: int
    ) -> tuple[InnerLoop, int | None]:
        """The loop and the number of tasks side by side, as the way or the plan says."""
        fitting = way.loop(loop)
        if fitting.seed is not None:
            plan = self.planner.one_by_one("the model draws random numbers")
            return replace(fitting, link_chunk=plan.links), plan.tasks
        if way.one_by_one:
            self.planner.one_by_one("by torch.autograd" if way.by_autograd else "vmap cannot map the model")
            return fitting, way.task_chunk
        largest = max((group for _, group in tasks.groups), key=lambda group: group.count)
        plan = self.planner.plan(fitting, way.derivatives(fitting), meta, largest, asked_once)
        return replace(fitting, link_chunk=plan.links), plan.tasks

    @staticmethod
    def _plainer(way: Way, error: Exception, loop: InnerLoop) -> Way | None:
        """What to try after an error; None where nothing is left, or where the error is our own sentence."""
        if isinstance(error, RandomModelError):
            return replace(way, seed=0) if way.seed is None and loop.seed is None else None
        if isinstance(error, Warning) or checks.raised_by_metagrad(error):
            return None  # a warning that the user has made an error is theirs to see
        one_by_one = way.one_by_one or (way.task_chunk == 1 and loop.link_chunk == 1) or loop.seed is not None
        if not one_by_one:
            return replace(way, task_chunk=1, one_by_one=True)
        return None if way.by_autograd else replace(way, task_chunk=1, one_by_one=True, by_autograd=True)


def _noting(attempt: Callable[[Way], Result], way: Way) -> tuple[Result, list[warnings.WarningMessage]]:
    """A first attempt, and its warnings: those of one that fails, as `vmap` gives, are nobody's concern."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        return attempt(way), noted


def _notice(failed: Way, error: Exception, loop: InnerLoop) -> str:
    name = type(getattr(loop.learner, "model", loop.learner)).__name__
    if isinstance(error, RandomModelError):
        return (
            f"{name} draws random numbers: every inner step of every task now draws under a seed of its own, and tasks "
            "and steps run one at a time; seed=0 silences this"
        )
    reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:120]}"
    if failed.one_by_one or failed.task_chunk == 1:
        return (
            f"torch.func cannot differentiate {name} ({reason}), so plain torch.autograd does from now on; "
            "derivatives='autograd' silences this"
        )
    return (
        f"{name} cannot run side by side under vmap ({reason}), so tasks and inner steps run one at a time from now "
        "on; task_chunk=1 and link_chunk=1 silence this"
    )


def evaluated(job: Job, loop: InnerLoop, meta: Tree, tasks: Prepared, execution: Execution) -> Tree:
    """What a job gives for each task, stacked in their order; values only."""
    with torch.inference_mode(False), torch.no_grad():
        return branch(execution.run(job, loop, tree.detach(meta), tasks), "each")
