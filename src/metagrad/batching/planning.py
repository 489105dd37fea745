"""How many tasks and links run side by side, chosen for the model at hand and written down."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from metagrad import checks, tree
from metagrad.inner.derivatives import Derivatives
from metagrad.inner.learner import learned
from metagrad.inner.loop import InnerLoop
from metagrad.memory import LiveTensors
from metagrad.task import Task
from metagrad.tree import Tree

ON_A_CPU = 64 * 2**20
"""Bytes that may stand side by side on a CPU. More falls out of its caches, and gains nothing over a loop: a GPT-2 of
0.25M parameters takes as long with 8 tasks at once as one by one, and six times the memory."""
SHARE_OF_A_GPU = 0.25
IN_A_ROUND = 12
"""Copies of the adapted parameters that an expansion keeps for each link: directions, products and models."""
TOO_SMALL = 20_000
"""Numbers of one task, parameters and data, below which every operation is too short for memory to matter."""


@dataclass(frozen=True)
class Plan:
    """What runs side by side.

    Attributes:
        tasks: how many tasks; None for all.
        links: how many inner steps' curvature products of one round; None for all.
        why: a sentence.
    """

    tasks: int | None
    links: int | None
    why: str


class Planner:
    """Chooses once for each kind of task, and remembers.

    Args:
        tasks: how many tasks run side by side, if that is the user's choice.
        budget: most bytes that may stand side by side; None for 64 MiB on a CPU and a quarter of a GPU.

    Raises:
        ValueError: a budget that is not positive.
    """

    def __init__(self, tasks: int | None, budget: float | None) -> None:
        if budget is not None:
            checks.number("side_by_side (bytes; None for a default)", budget, above=0)
        self._tasks, self._budget = tasks, budget
        self._plans: dict[Hashable, Plan] = {}
        self.latest: Plan | None = None

    def plan(self, loop: InnerLoop, derivatives: Derivatives, meta: Tree, tasks: Task, asked_once: int) -> Plan:
        """How to run a loop on a batch of tasks, of whose last `asked_once` links one product each is wanted.

        Cost: the first time for tasks of a kind, one gradient and one product on one of them, where that can matter.
        """
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in tasks.leaves)
        in_rounds = asked_once < loop.num_steps
        key = (shapes, id(loop.learner), loop.num_steps, loop.link_chunk, in_rounds)
        if key not in self._plans:
            self._plans[key] = self._made(loop, derivatives, meta, tasks, in_rounds)
        self.latest = self._plans[key]
        return self.latest

    def one_by_one(self, why: str) -> Plan:
        """The plan where nothing can run side by side."""
        self.latest = Plan(1, 1, f"one task and one inner step at a time: {why}")
        return self.latest

    def _made(self, loop: InnerLoop, derivatives: Derivatives, meta: Tree, tasks: Task, in_rounds: bool) -> Plan:
        task, device = tasks.take(0), tasks.device
        if self._tasks is not None and loop.link_chunk is not None:
            return Plan(self._tasks, loop.link_chunk, "as task_chunk and link_chunk say")
        if device.type == "cpu" and any(leaf.ndim > 2 for leaf in tree.leaves(learned(meta))):
            return self._with_choices(
                Plan(
                    1, 1, "one task and one inner step at a time: on a CPU, filters of their own are slow side by side"
                ),
                loop,
            )
        if sum(leaf.numel() for leaf in (*tree.leaves(meta), *task.leaves)) < TOO_SMALL:
            return self._with_choices(Plan(None, None, "everything side by side: the operations are tiny"), loop)
        product, copy = _bytes_of(loop, derivatives, meta, task)
        budget = self._of_device(device)
        cost = loop.trajectory.cost(loop.num_steps)
        kept = (len(loop.initial_state(meta)) * cost.states + cost.gradients) * copy
        if in_rounds:
            kept += IN_A_ROUND * loop.num_steps * copy
        links = loop.link_chunk or max(1, min(loop.num_steps, int((budget - kept) // product)))
        at_once = (links if in_rounds else 1) * product
        side_by_side = self._tasks or max(1, min(tasks.count, int(budget // (at_once + kept))))
        steps = f" and {links} of {loop.num_steps} inner steps" if in_rounds else ""
        why = (
            f"{side_by_side} of {tasks.count} tasks{steps} side by side: a curvature product holds {_mib(product)}, a "
            f"task keeps {_mib(kept)}, and {_mib(budget)} may stand side by side"
        )
        return Plan(side_by_side, links, why)

    def _with_choices(self, plan: Plan, loop: InnerLoop) -> Plan:
        """The plan, where the user has not chosen."""
        return Plan(self._tasks or plan.tasks, loop.link_chunk or plan.links, plan.why)

    def _of_device(self, device: torch.device) -> float:
        if self._budget is not None:
            return self._budget
        if device.type != "cuda":
            return ON_A_CPU
        return SHARE_OF_A_GPU * torch.cuda.get_device_properties(device).total_memory


def _mib(size: float) -> str:
    return f"{size / 2**20:.3g} MiB"


def _bytes_of(loop: InnerLoop, derivatives: Derivatives, meta: Tree, task: Task) -> tuple[int, int]:
    """What one curvature product of one task holds, and one copy of what adapts."""
    evidence = loop.evidence(task, loop.num_steps)
    adapted = loop.learner.start(meta)
    with LiveTensors() as live, evidence.seeded(0):
        derivatives.product(adapted, meta, evidence.at(0), adapted)
    return max(live.peak, 1), sum(leaf.numel() * leaf.element_size() for leaf in tree.leaves(adapted))
