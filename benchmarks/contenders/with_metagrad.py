"""metagrad's `MetaLearner`, as its users call it."""

from typing import Any

from benchmarks.contenders.base import Setup
from benchmarks.contenders.on_torch import OnTorch
from metagrad import SGD, MetaLearner, SquareRoot
from metagrad.capture import keep_freed_memory
from metagrad.experiments.expression import ESTIMATORS, parse
from metagrad.inner.trajectory import Stored

TRAJECTORIES = {"SquareRoot": SquareRoot}


class WithMetagrad(OnTorch):
    """All tasks of a meta-batch at once, unless `task_chunk` says otherwise."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        given: dict[str, Any] = {name: value for name, value in setup.options.items() if value is not None}
        if given.get("capture", "off") != "off":
            keep_freed_memory()  # as the documentation advises for training
        if "trajectory" in given:
            given["trajectory"] = TRAJECTORIES[given["trajectory"]]()
        estimator = parse(given.pop("estimator", "Exact()"), ESTIMATORS)
        self.learner = MetaLearner(
            self.model, self.loss, SGD(setup.problem.lr), setup.problem.steps, estimator, **given
        ).to(self.device)

    def run(self) -> None:
        """One mean meta-gradient."""
        self.forget()
        self.learner.backward(self.tasks)

    def trajectory_bytes(self) -> int | None:
        """K states and K gradients for each task that runs at once: kept on purpose, and no graph.

        None where they are not all kept: what is kept instead is among all tensors.
        """
        if not isinstance(self.learner.loop.trajectory, Stored):
            return None
        together = min(self.learner.task_chunk or self.problem.tasks, self.problem.tasks)
        size = next(iter(self.parameters.values())).element_size()
        return 2 * self.problem.steps * together * self.problem.parameters * size


def prepare(setup: Setup) -> WithMetagrad:
    return WithMetagrad(setup)
