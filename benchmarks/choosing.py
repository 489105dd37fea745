"""Does estimator="auto" keep its tolerance on tasks that no decision saw?   python -m benchmarks.choosing sinusoid 5

A network is trained with Exact; at each stage several decisions are taken, each on other training tasks, and every
estimator that was chosen is measured on fresh test tasks, in float64. Prints one row a stage, as in docs/results.md.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch

from metagrad import SGD, Auto, Batch, Exact, MetaLearner, Task
from metagrad.choosing import LOOKS
from metagrad.experiments.config import Experiment, build_learner
from metagrad.experiments.expression import short
from metagrad.experiments.presets import omniglot_5way1shot, sinusoid
from metagrad.training.evaluation import moved

TOLERANCE = 0.1
# name → preset, inner rate, stages in meta-steps, probed tasks (at most the meta-batch), fresh tasks, decisions
SETTINGS = {
    "sinusoid": (sinusoid, 0.01, (0, 300, 1500), 8, 40, 5),
    "omniglot": (omniglot_5way1shot, 0.1, (0, 50), 4, 12, 3),
}


def stages(config: Experiment, at: tuple[int, ...]) -> Iterator[tuple[int, MetaLearner]]:
    """The learner after each number of meta-steps of training with the experiment's estimator, ascending."""
    learner = build_learner(config)
    parameters = list(learner.parameters())
    optimizer = config.optimizer.build(parameters)
    source = config.problem.sources(torch.device("cpu")).train
    draws = torch.Generator().manual_seed(config.seed)
    for step in range(at[-1] + 1):
        if step in at:
            yield step, learner
        optimizer.zero_grad()
        learner.backward(source.sample(config.meta_batch, draws))
        torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip or torch.inf)
        optimizer.step()


def alone(tasks: Task, t: int) -> Task:
    """One of some tasks, with its axis."""
    return Task(*(Batch(*(leaf[t : t + 1] for leaf in part)) for part in tasks))


def main() -> None:
    """Print the rows of one problem and one K."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", choices=SETTINGS)
    parser.add_argument("num_steps", type=int, help="inner steps K")
    asked = parser.parse_args()
    preset, rate, at, probes, fresh, decisions = SETTINGS[asked.problem]
    config = preset()
    machine = replace(
        config.machine, device="cpu", capture="off", task_chunk=1 if asked.problem == "omniglot" else None
    )
    config = replace(config, rule=SGD(lr=rate), num_steps=asked.num_steps, estimator=Exact(), machine=machine)
    sources = config.problem.sources(torch.device("cpu"))
    double = replace(config, machine=replace(machine, dtype="float64"))
    unseen = moved(sources.test.sample(fresh, torch.Generator().manual_seed(5)), torch.device("cpu"), torch.float64)
    for step, trained in stages(config, at):
        weights = trained.state_dict()
        errors: dict[object, float] = {}
        chosen = []
        for seed in range(decisions):
            wanted = Auto(tolerance=TOLERANCE, probes=probes)
            learner = build_learner(replace(double, estimator=wanted))
            learner.model.load_state_dict({name.removeprefix("model."): leaf for name, leaf in weights.items()})
            draws = torch.Generator().manual_seed(100 + seed)
            for _ in range(LOOKS):
                learner.meta_gradient(moved(sources.train.sample(probes, draws), torch.device("cpu"), torch.float64))
            estimator = learner.in_use
            assert estimator is not None
            if estimator not in errors:
                measured = [learner.probe(alone(unseen, t)).error for t in range(fresh)]
                errors[estimator] = torch.tensor(measured, dtype=torch.float64).median().item()
            chosen.append(estimator)
        costs = [estimator.cost(asked.num_steps) for estimator in chosen]
        print(
            f"| {asked.problem} | {asked.num_steps} | {step} | "
            f"{', '.join(f'{errors[estimator]:.2g}' for estimator in chosen)} | "
            f"{', '.join(str(cost.rounds) for cost in costs)} | {', '.join(str(cost.products) for cost in costs)} | "
            f"{'; '.join(f'`{short(estimator)}`' for estimator in dict.fromkeys(chosen))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
