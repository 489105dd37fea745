"""What more a learned center could know in one round or two, on Omniglot 20-way 1-shot.

    python -m benchmarks.limits --meta-steps 200

A network is trained with Exact. `Binomial(L, center="auto")` knows of a task's curvature what the task answered. Beside
it:

`about the mean`: the expansion about the true mean curvature of all other tasks at the same weights, at every link, and
    the learned center on what is left. That is what models shared by a meta-batch, or kept from the last ones, come to
    if they are perfect. Their products are not counted.
`more asked`: every link asked along the displacement of the whole inner loop too, where curvature is large: K products
    more, beside those of the first round.
`plan`: other links asked in the two rounds, at the best present estimates of their adjoints.

Prints error, cosine and norm of single tasks (medians) and of their mean, as `benchmarks.direction`, whose network this
is; METAGRAD_DATA names the data.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.choosing import stages
from benchmarks.direction import CPU, SEEDS, TASK_SEED, Beside, experiment
from benchmarks.frontier_chains import LowRank, Moved, completed
from benchmarks.frontier_plans import band, by_cosine, carried_out
from metagrad import Binomial, Exact, Parallel, tree
from metagrad.batching import branch
from metagrad.estimators.base import Chain
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short
from metagrad.inner.episode import TaskEpisode
from metagrad.learner import MetaLearner
from metagrad.tasks.task import map_leaves
from metagrad.training.evaluation import fixed_tasks, joined
from metagrad.tree import Tree
from metagrad_studies.spectra import flat

TASKS = 16
AUTO = tuple(Binomial(order, center="auto") for order in (1, 2))
SHIPPED = (*AUTO, Parallel(2))


@dataclass(frozen=True)
class MeanCurvature:
    """The mean curvature of one link over some chains, as a model: a product with each chain for every one of its own.

    Attributes:
        chains: of other tasks.
        link: which.
    """

    chains: Sequence[Chain]
    link: int

    def product(self, direction: Tree) -> Tree:
        """Of the mean, shaped like `direction`."""
        total: Tree = {}
        for chain in self.chains:
            curved, _ = chain.curvature(self.link, direction)
            total = tree.add(total, curved)
        assert isinstance(total, dict)
        return tree.scale(total["adapted"], 1.0 / len(self.chains))


def about_the_mean(chains: Sequence[Chain], task: int) -> Moved:
    """The chain of one task with the mean curvature of all others moved out of its links."""
    others = [chain for t, chain in enumerate(chains) if t != task]
    return Moved(chains[task], {k: MeanCurvature(others, k) for k in range(len(chains[task]))})


def asked_along(chain: Chain, displacement: Tree) -> Moved:
    """The chain with a model of each link's curvature moved out: what its product along the displacement tells."""
    models: dict[int, LowRank] = {}
    for k in range(len(chain)):
        curved, _ = chain.curvature(k, displacement)
        models[k] = completed(flat(displacement)[None], flat(curved)[None])
    return Moved(chain, models)


def plans(steps: int) -> Mapping[str, Sequence[Sequence[int]]]:
    """Two rounds each, first that of `Binomial(2)`, for comparison."""
    every = list(range(steps))
    return {
        "as Binomial(2)": band(steps, 2),
        "all links, then all but the two last": [every, every[:-2]],
        "all but the two first, then all but the two last": [every[2:], every[:-2]],
        "the last two, then all but the two last": [every[-2:], every[:-2]],
        "all but the first, then the first": [every[1:], every[:1]],
    }


def compared(learner: MetaLearner, config: Experiment, tasks: int) -> Mapping[str, Tensor]:
    """Estimates by name, the exact ones under "exact"; [tasks, n] each."""
    together = joined(fixed_tasks(config.problem.sources(CPU).train, tasks, TASK_SEED))
    meta = tree.detach(learner.meta())
    episodes = [TaskEpisode(learner.loop, meta, map_leaves(lambda leaf, t=t: leaf[t], together)) for t in range(tasks)]
    chains: list[Chain] = [episode.chain for episode in episodes]
    gradients = [episode.outer()[0] for episode in episodes]
    moves = [branch(episode.displacement(), "adapted") for episode in episodes]

    def of_all(pull: Callable[[int], Tree | Tensor]) -> Tensor:
        return torch.stack([flat(pull(t)) for t in range(tasks)])

    found = {"exact": of_all(lambda t: Exact().pull(chains[t], gradients[t]).start)}
    for one in SHIPPED:
        found[f"`{short(one)}`"] = of_all(lambda t, one=one: one.pull(chains[t], gradients[t]).start)
    for one in AUTO:
        found[f"`{short(one)}` about the mean"] = of_all(
            lambda t, one=one: one.pull(about_the_mean(chains, t), gradients[t]).start
        )
        found[f"`{short(one)}` more asked"] = of_all(
            lambda t, one=one: one.pull(asked_along(chains[t], moves[t]), gradients[t]).start
        )
    for name, plan in plans(len(chains[0])).items():
        found[f"plan: {name}"] = of_all(lambda t, plan=plan: carried_out(chains[t], gradients[t], plan, by_cosine))
    return found


def table(config: Experiment, at: Sequence[int], tasks: int, say: Callable[[str], None]) -> None:
    """A table a stage: medians over tasks, then of the mean over them."""
    for stage, learner in stages(config, tuple(at)):
        with torch.no_grad():
            found = compared(learner, config, tasks)
        exact = found["exact"].double()
        say(f"\nafter {stage} meta-steps, {tasks} tasks: error | cosine | norm of single tasks, then of their mean")
        for name, estimate in found.items():
            if name != "exact":
                single, mean = Beside.of(estimate.double(), exact), Beside.of(estimate.double().mean(0), exact.mean(0))
                say(f"| {name} | {single.told()} | {mean.told()} |")


def main() -> None:
    """Print a table for every seed and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.1, help="inner step size (0.1)")
    parser.add_argument("--meta-steps", type=int, nargs="+", default=[200], help="stages of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for seed in asked.seeds:
        print(f"seed {seed}", flush=True)
        config = replace(experiment(asked.alpha), estimator=Exact(), seed=seed)
        table(config, sorted(asked.meta_steps), TASKS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
