"""Direction and norm of the meta-gradient's error apart, on Omniglot 20-way 1-shot.

    python -m benchmarks.direction measured --alpha 0.1 --meta-steps 0 200 1000
    python -m benchmarks.direction trained --alpha 0.4 --meta-steps 300

`measured`: a network is trained with Exact; at each stage every estimator is compared with it on the same training
tasks, task by task, and in the mean over all of them, which is what training follows in the long run.

`trained`: networks are trained on the same tasks from the same weights, with the direction of one estimator and the
norm of another, task by task. Both take the narrow network of `metagrad reproduce error-and-accuracy`; METAGRAD_DATA
names the data.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.choosing import stages
from metagrad import SGD, Binomial, Exact, FirstOrder, Truncated, tree
from metagrad.estimators.base import Cost, Episode, Estimate, Estimator
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short
from metagrad.training.evaluation import evaluate, fixed_tasks, joined
from metagrad_studies.error_accuracy_sizes import OMNIGLOT20, data_sets
from metagrad_studies.intervals import over_seeds_and_tasks
from metagrad_studies.study import Asked
from metagrad_studies.task_errors import estimates

DATA = "METAGRAD_DATA"
TASKS, TASK_SEED = 40, 77
"""Training tasks on which estimators are measured."""

TESTED = 300
SEEDS = (40, 41, 42)
CPU = torch.device("cpu")
MEASURED: Sequence[Estimator] = (
    FirstOrder(),
    Truncated(2),
    *(Binomial(order, **how) for how in ({}, {"scale": "paper"}, {"center": "auto"}) for order in (1, 2)),
    Binomial(3, center="auto"),
)
TRAINED: Sequence[Estimator] = (FirstOrder(), Binomial(2, scale="paper"))
"""Estimators whose direction and norm are tried one by one."""


class Beside(NamedTuple):
    """How an estimate lies to the exact meta-gradient; 0-d each, or one entry a task.

    Attributes:
        error: ‖estimate − exact‖ / ‖exact‖.
        cosine: of the angle between the two.
        norm: ‖estimate‖ / ‖exact‖.
    """

    error: Tensor
    cosine: Tensor
    norm: Tensor

    @staticmethod
    def of(estimate: Tensor, exact: Tensor) -> "Beside":
        """Row by row: [..., n] each."""
        size, own = exact.norm(dim=-1), estimate.norm(dim=-1)
        return Beside((estimate - exact).norm(dim=-1) / size, (estimate * exact).sum(-1) / (own * size), own / size)

    def told(self) -> str:
        """Medians."""
        return " | ".join(f"{median(values.flatten().tolist()):.2f}" for values in self)


@dataclass(frozen=True)
class Recombined(Estimator):
    """The direction of one estimator with the norm of another, task by task."""

    direction: Estimator
    norm: Estimator

    def estimate(self, episode: Episode) -> Estimate:
        """Zero where the one that gives the direction is."""
        gradient = self.direction.estimate(episode).gradient
        size, wanted = tree.norm(gradient), tree.norm(self.norm.estimate(episode).gradient)
        factor = torch.where(size > 0, wanted / torch.where(size > 0, size, 1.0), 0.0)
        return Estimate(tree.scale(gradient, factor), {})

    def cost(self, num_steps: int) -> Cost:
        """Of both."""
        return self.direction.cost(num_steps).plus(self.norm.cost(num_steps))


def contenders() -> Mapping[str, Estimator]:
    """What `trained` trains with, by name."""
    exact = Exact()
    found: dict[str, Estimator] = {"Exact()": exact}
    for one in TRAINED:
        name = short(one)
        found[name] = one
        found[f"direction of {name}, norm of Exact()"] = Recombined(one, exact)
        found[f"direction of Exact(), norm of {name}"] = Recombined(exact, one)
    return found


def measured(config: Experiment, at: Sequence[int], say: Callable[[str], None]) -> None:
    """A table a stage: medians over tasks, then of the mean over them."""
    source = config.problem.sources(CPU).train
    tasks = joined(fixed_tasks(source, TASKS, TASK_SEED))
    for stage, learner in stages(config, tuple(at)):
        found = estimates(learner.loop, MEASURED, learner.meta(), tasks, chunk=1)
        exact = found.exact.double()
        say(f"\nafter {stage} meta-steps, {TASKS} tasks: error | cosine | norm of single tasks, then of their mean")
        for one in MEASURED:
            estimate = found.others[one].double()
            single, together = Beside.of(estimate, exact), Beside.of(estimate.mean(0), exact.mean(0))
            say(f"| `{short(one)}` | {single.told()} | {together.told()} |")


def trained(config: Experiment, meta_steps: int, seeds: Sequence[int], say: Callable[[str], None]) -> None:
    """A row an estimator: accuracy on the same test tasks, 95 % over seeds and tasks, and beside Exact."""
    tests = fixed_tasks(config.problem.sources(CPU).test, TESTED, config.test.seed)
    found: dict[str, list[Tensor]] = {}
    for name, estimator in contenders().items():
        for seed in seeds:
            _, learner = next(stages(replace(config, estimator=estimator, seed=seed), (meta_steps,)))
            values = evaluate(learner, tests, None, chunk=10, device=CPU, dtype=torch.float32).values["accuracy"]
            found.setdefault(name, []).append(100 * values[:, -1])
        mean = over_seeds_and_tasks(found[name])
        by = over_seeds_and_tasks([own - exact for own, exact in zip(found[name], found["Exact()"], strict=True)])
        each = ", ".join(f"{values.mean().item():.1f}" for values in found[name])
        say(f"| {name} | {mean.mean:.1f} ± {mean.half_width:.1f} | {each} | {by.mean:+.1f} ± {by.half_width:.1f} |")


def experiment(alpha: float) -> Experiment:
    """The narrow network of error-and-accuracy on the data that METAGRAD_DATA names; exits where they are missing."""
    if DATA not in os.environ:
        raise SystemExit(f"set {DATA} to the folder that holds omniglot")
    found, _ = data_sets(Asked(scale="medium", data=os.environ[DATA], as_published=False), "benchmarks")
    configs = [data.config for data in found if data.key == OMNIGLOT20]
    if not configs:
        raise SystemExit(f"{os.environ[DATA]} has no omniglot: {DATA} names the folder that holds it")
    return replace(Experiment.from_json(configs[0]), rule=SGD(lr=alpha))


def main() -> None:
    """Print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("measured", "trained"))
    parser.add_argument("--alpha", type=float, default=0.1, help="inner step size (0.1)")
    parser.add_argument(
        "--meta-steps", type=int, nargs="+", default=[300], help="stages; the last is where training ends"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config, at = experiment(asked.alpha), sorted(asked.meta_steps)
    if asked.part == "trained":
        trained(config, at[-1], asked.seeds, print)
        return
    for seed in asked.seeds:
        print(f"seed {seed}")
        measured(replace(config, estimator=Exact(), seed=seed), at, print)


if __name__ == "__main__":
    main()
