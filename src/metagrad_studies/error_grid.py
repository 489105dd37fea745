"""Real networks over step sizes, numbers of steps and stages of training: is center="auto" as good as it should be?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure

from metagrad.capture import Mode
from metagrad.choosing import LOOKS, Auto, Chooser
from metagrad.estimators import Estimator, Grouped, Parallel
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short
from metagrad.inner.loop import InnerLoop
from metagrad.inner.rules import SGD
from metagrad.tasks.prepared import prepare
from metagrad.tasks.task import Task, TaskSource
from metagrad.training.evaluation import fixed_tasks, joined, moved
from metagrad.tree import Tree
from metagrad_studies import grid_figure, grid_findings
from metagrad_studies.grid_records import Bars, ErrorGridSettings, GridNetwork
from metagrad_studies.network_records import asked as by_order
from metagrad_studies.network_runs import at_stage, present, require, trained, with_exact
from metagrad_studies.study import Asked, Bench, Cell, Finding, Listing, Record, Scale, Study, only_corrected
from metagrad_studies.task_errors import Errors, task_errors

_GENERATED = ("sinusoid", "mnist1d-5way-1shot")
_IMAGES = ("omniglot-5way-1shot", "cifar-fs-5way-1shot")
_CROSS_ENTROPY = (0.01, 0.1, 0.4)
_SQUARED = (0.01,)


class ErrorGrid(Study[ErrorGridSettings]):
    """Errors of Truncated, Grouped, Parallel, Binomial plain, scale "paper", center "auto", and of `Auto`'s pick."""

    name: ClassVar[str] = "error-grid"
    title: ClassVar[str] = 'Error of center="auto" against plain, scale "paper" and Truncated, over a grid of networks'
    source: ClassVar[str] = "ours"
    scales: ClassVar[tuple[Scale, ...]] = ("small", "medium", "full")
    side_by_side: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "Networks and tasks are those of the presets, trained with Exact at the cell's own step size and number of "
        "inner steps, at a constant meta learning rate.",
        "Error: ‖estimate − exact‖ / ‖exact‖ of single tasks, in float64 throughout; the exact meta-gradient is "
        "computed once a task. Tasks are those for validation (of images: other classes), which neither training nor "
        "the choice of methods has seen.",
        "Step sizes are 0.01, 0.1 and 0.4 with mean cross-entropy. With squared error the sinusoid has 0.01 alone: at "
        "0.4 its inner loop overflows.",
        "`Auto` decides on training tasks, once in each cell, and has all its looks, each at `probes` tasks; what it "
        "picks is measured on the held-out ones.",
        "Medians are over all tasks of all seeds. A cell of the findings is a network, step size, K and stage; with an "
        "order, for what depends on one.",
    )

    def settings(self, asked: Asked) -> ErrorGridSettings:
        """The generated data sets, and with `data` Omniglot and CIFAR-FS where they are there.

        Small and medium: fewer tasks and meta-steps; small has one seed, and Conv4 at K = 5 alone.

        Raises:
            ValueError: a directory of data without any data set that is asked for.
        """
        only_corrected(self, asked)
        names = list(_GENERATED)
        if asked.data is not None:
            found = [name for name in _IMAGES if present(name, asked.data)]
            if not found:
                require(_IMAGES[0], asked.data)  # says why not
            names += found
        return ErrorGridSettings(
            networks=tuple(_network(name, asked.scale) for name in names),
            seeds=(30,) if asked.scale == "small" else (30, 31, 32),
            task_seed=7000,
            probe_seed=8000,
            bars=Bars(
                of_plain=0.5,
                plain_above=0.02,
                of_truncated=0.6,
                of_paper=0.7,
                of_best=1.1,
                nearly_all=0.9,
                within=3.0,
                tolerance=0.1,
                rounding=1e-9,
            ),
        )

    def cells(self, settings: ErrorGridSettings) -> Sequence[Cell]:
        """One for each network, step size, number of steps, stage and seed."""
        return [
            Cell(
                f"{network.name}_alpha={alpha:g}_K={steps}_meta-steps={stage}_seed={seed}",
                {"network": network.name, "alpha": alpha, "num_steps": steps, "meta_steps": stage, "seed": seed},
            )
            for network in settings.networks
            for alpha in network.alphas
            for steps in network.num_steps
            for stage in network.stages
            for seed in settings.seeds
        ]

    def measure(self, settings: ErrorGridSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record for each estimator, and one for what `Auto` chose."""
        network = next(n for n in settings.networks if n.name == cell.values["network"])
        steps, seed = cell.values["num_steps"], cell.values["seed"]
        varied = replace(
            Experiment.from_json(network.experiment), rule=SGD(cell.values["alpha"]), num_steps=steps, seed=seed
        )
        config = at_stage(varied.to_json(), cell.values["meta_steps"], bench)
        loop, meta = trained(config, bench)
        device = config.machine.torch_device()
        sources = config.problem.sources(device)

        def drawn(source: TaskSource, count: int, task_seed: int) -> Task:
            return moved(joined(fixed_tasks(source, count, task_seed + seed)), device, torch.float64)

        tasks = drawn(sources.validation, network.tasks, settings.task_seed)
        looks = [drawn(sources.train, network.probes, settings.probe_seed + 1000 * look) for look in range(LOOKS)]
        return rows(loop, meta, tasks, looks, settings.bars.tolerance, network.tasks_at_once)

    def figure(self, settings: ErrorGridSettings, records: Sequence[Record]) -> Figure:
        """A map a network: error with center "auto" over that of the best of the three others."""
        return grid_figure.figure(settings, records)

    def listings(self, settings: ErrorGridSettings, records: Sequence[Record]) -> Sequence[Listing]:
        """Ratios, errors, estimates of errors, and what `Auto` chose."""
        return grid_figure.listings(settings, records)

    def findings(self, settings: ErrorGridSettings, records: Sequence[Record]) -> Sequence[Finding]:
        """One for each bar."""
        return grid_findings.findings(settings, records)


def _network(name: str, scale: Scale) -> GridNetwork:
    full = scale == "full"
    capture: Mode = "auto" if full else "off"  # compiling takes longer than the training of the small size
    experiment = with_exact(name, capture).to_json()
    if name in _GENERATED:
        alphas = _SQUARED if name == "sinusoid" else _CROSS_ENTROPY
        stages, tasks = ((0, 100, 3000), 40) if full else ((0, 30, 300), 20)
        return GridNetwork(name, experiment, alphas, (5, 10), stages, tasks, probes=8, tasks_at_once=10)
    stages, tasks = ((0, 200, 3000), 20) if full else ((0, 20, 60), 6 if scale == "small" else 7)
    num_steps = (5,) if scale == "small" else (5, 10)
    return GridNetwork(name, experiment, _CROSS_ENTROPY, num_steps, stages, tasks, probes=4, tasks_at_once=1)


def rows(loop: InnerLoop, meta: Tree, tasks: Task, looks: Sequence[Task], tolerance: float, chunk: int) -> list[Record]:
    """A record for each estimator at some weights, and one for what `Auto` chooses there.

    Args:
        loop: the inner loop.
        meta: the weights.
        tasks: held-out ones, that errors are measured on; leaves [T, N, ...].
        looks: the tasks that `Auto` decides on, one entry a look.
        tolerance: of `Auto`.
        chunk: tasks side by side.
    """
    steps = loop.num_steps
    chosen = _decision(Auto(tolerance=tolerance, probes=len(looks[0].support.inputs)), loop, meta, looks)
    estimators = _estimators(steps)
    kept = replace(loop, reuse=steps)  # every estimator goes back along the same trajectory
    *errors, delivered = task_errors(kept, [*estimators.values(), chosen], meta, tasks, chunk)
    found = [
        {"kind": "error", "family": family, "order": order, **_row(estimator, steps, error)}
        for ((family, order), estimator), error in zip(estimators.items(), errors, strict=True)
    ]
    return [*found, {"kind": "auto", "family": "Auto", "order": 0, **_row(chosen, steps, delivered)}]


def _estimators(steps: int) -> Mapping[tuple[str, int], Estimator]:
    """Every order of every family; all that `Auto` may choose is among them."""
    orders = range(1, steps)
    return {
        **by_order(steps),
        **{("Grouped", order): Grouped(order) for order in orders},
        **{("Parallel", order): Parallel(order) for order in orders},
    }


def _decision(auto: Auto, loop: InnerLoop, meta: Tree, looks: Sequence[Task]) -> Estimator:
    """What is in use after as many meta-batches as it looks at; the weights stay."""
    chooser = Chooser(auto, loop.num_steps)
    for tasks in looks:
        proposal = chooser.propose(loop, meta, prepare(tasks, meta), None)
        chooser.commit(proposal, {})
    assert chooser.in_use is not None
    return chooser.in_use


def _row(estimator: Estimator, steps: int, found: Errors) -> dict[str, Any]:
    """Tasks whose exact meta-gradient is not finite have no error and are left out; `left_out` says how many."""
    known = ~found.measured.isnan()
    cost = estimator.cost(steps)
    return {
        "estimator": short(estimator),
        "products": cost.products,
        "rounds": cost.rounds,
        "error": found.measured[known].median().item() if known.any() else None,
        "left_out": int((~known).sum()),
        "errors": found.measured[known].tolist(),
        "own": None if found.own is None else found.own[known].tolist(),
    }
