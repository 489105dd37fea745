"""Real networks over step sizes, numbers of steps and stages of training: is center="auto" as good as it should be?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from metagrad import SGD, Auto, InnerLoop, Task
from metagrad.choosing import LOOKS, Chooser
from metagrad.estimators import Estimator
from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import short
from metagrad.prepared import prepare
from metagrad.task import TaskSource
from metagrad.training import fixed_tasks
from metagrad.tree import Tree
from metagrad_studies.core import Bench, Cell, Record, Request, crossed
from metagrad_studies.error_grid import elsewhere
from metagrad_studies.error_grid.records import GridNetwork, GridSettings
from metagrad_studies.error_grid.results import Results
from metagrad_studies.error_vs_order.records import FAMILIES, LEARNED, by_order
from metagrad_studies.instruments import training
from metagrad_studies.instruments.task_errors import Errors, task_errors

_GENERATED = ("sinusoid", "mnist1d-5way-1shot")
_IMAGES = ("omniglot-5way-1shot", "cifar-fs-5way-1shot")
_CROSS_ENTROPY = (0.01, 0.1, 0.4)
_SQUARED = (0.01,)


class ErrorGrid(Results):
    """Errors of Truncated, Grouped, Parallel, Binomial plain, scale "paper", center "auto", and of `Auto`'s choice."""

    name: ClassVar[str] = "error-grid"
    title: ClassVar[str] = 'Error of center="auto" against plain, scale "paper" and Truncated, over a grid of networks'
    source: ClassVar[str] = "ours"
    scales: ClassVar[tuple[str, ...]] = ("small", "medium", "full", "late", "elsewhere")
    side_by_side: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "Networks and tasks are those of the presets, trained with Exact at the cell's own step size and number of "
        "inner steps, at a constant meta learning rate.",
        "Error: ‖estimate − exact‖ / ‖exact‖ of single tasks, in float64 throughout; the exact meta-gradient is "
        "computed once a task. Tasks are those for validation (of images: other classes), which neither training nor "
        "the choice of methods has seen.",
        "Step sizes are 0.01, 0.1 and 0.4 with mean cross-entropy. With squared error the sinusoid has 0.01 alone: at "
        "0.4 its inner loop overflows.",
        "`Auto` decides on training tasks, once in each cell. It takes all of its measurements, each on `probes` "
        "tasks. The errors of the estimator that it chooses are measured on the held-out tasks.",
        "Medians are over all tasks of all seeds. A cell of the findings is a network, step size, K and stage; with an "
        "order, for what depends on one.",
        "Size late: the images after 1,000 meta-steps, K = 5, one seed. Size elsewhere: a residual network with group "
        "normalisation and SiLU on FC100, at α = 0.05 and 0.2, trained with Adam at 1e-3. No estimator was developed, "
        "tuned or tried on it.",
    )

    def settings(self, request: Request) -> GridSettings:
        """The generated data sets, and with `data` Omniglot and CIFAR-FS where they are there.

        Small and medium: fewer tasks and meta-steps; small has one seed, and Conv4 at K = 5 alone.

        Raises:
            ValueError: a directory of data without any data set of this size, or none where it is needed.
        """
        scale, data = request.scale, request.data
        if scale == "elsewhere":
            training.require(elsewhere.PRESET, data)
            return GridSettings((elsewhere.network(),), (50, 51, 52), task_seed=900, probe_seed=0)
        images = [name for name in _IMAGES if data is not None and training.present(name, data)]
        if not images and (data is not None or scale == "late"):
            training.require(_IMAGES[0], data)  # says why not
        if scale == "late":
            late = {"alphas": (0.1, 0.4, 0.01), "num_steps": (5,), "stages": (1000,), "tasks": 20}
            measured = tuple(replace(_network(name, "medium"), **late) for name in images)
        else:
            measured = tuple(_network(name, scale) for name in (*_GENERATED, *images))
        seeds = {"small": (30,), "late": (32,)}.get(scale, (30, 31, 32))
        return GridSettings(measured, seeds)

    def cells(self, settings: GridSettings) -> Sequence[Cell]:
        return [
            cell
            for network in settings.networks
            for cell in crossed(
                "{network}_alpha={alpha:g}_K={num_steps}_meta-steps={meta_steps}_seed={seed}",
                network=[network.name],
                alpha=network.alphas,
                num_steps=network.num_steps,
                meta_steps=network.stages,
                seed=settings.seeds,
            )
        ]

    def measure(self, settings: GridSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record for each estimator, and one for what `Auto` chose."""
        network = next(n for n in settings.networks if n.name == cell.values["network"])
        steps, seed = cell.values["num_steps"], cell.values["seed"]
        varied = replace(
            Experiment.from_json(network.experiment), rule=SGD(cell.values["alpha"]), num_steps=steps, seed=seed
        )
        config = training.at_stage(varied.to_json(), cell.values["meta_steps"], bench)
        trained = elsewhere.trained if network.name == elsewhere.NAME else training.trained
        loop, meta = trained(config, bench)
        device = config.machine.torch_device()
        sources = config.problem.sources(device)

        def drawn(source: TaskSource, count: int, task_seed: int) -> Task:
            return Task.join(fixed_tasks(source, count, task_seed + seed)).to(device, torch.float64)

        tasks = drawn(sources.validation, network.tasks, settings.task_seed)
        looks = [drawn(sources.train, network.probes, settings.probe_seed + 1000 * look) for look in range(LOOKS)]
        return rows(loop, meta, tasks, looks, settings.bars.tolerance, network.tasks_at_once)


def _network(name: str, scale: str) -> GridNetwork:
    full = scale == "full"
    # Compiling takes longer than the training of the small size.
    experiment = training.with_exact(name, "auto" if full else "off").to_json()
    if name in _GENERATED:
        alphas = _SQUARED if name == "sinusoid" else _CROSS_ENTROPY
        stages, tasks = ((0, 100, 3000), 40) if full else ((0, 30, 300), 20)
        return GridNetwork(name, experiment, alphas, (5, 10), stages, tasks, probes=8, tasks_at_once=10)
    stages, tasks = ((0, 200, 3000), 20) if full else ((0, 20, 60), 6 if scale == "small" else 7)
    num_steps = (5,) if scale == "small" else (5, 10)
    return GridNetwork(name, experiment, _CROSS_ENTROPY, num_steps, stages, tasks, probes=4, tasks_at_once=1)


def rows(loop: InnerLoop, meta: Tree, tasks: Task, looks: Sequence[Task], tolerance: float, chunk: int) -> list[Record]:
    """A record for each estimator at some weights, and one for what `Auto` chooses there.

    Errors are measured on `tasks` [T, N, ...]; `Auto` decides on `looks`, which it takes one after another.
    """
    steps = loop.num_steps
    auto = Auto(tolerance=tolerance, probes=len(looks[0].support.inputs))
    estimators = by_order(steps, *FAMILIES, *LEARNED)
    names = [("error", *name) for name in estimators] + [("auto", "Auto", 0)]
    each = [*estimators.values(), _decision(auto, loop, meta, looks)]
    # Every estimator goes back along the same trajectory.
    errors = task_errors(replace(loop, reuse=steps), each, meta, tasks, chunk)
    return [
        {"kind": kind, "family": family, "order": order, **_row(estimator, steps, error)}
        for (kind, family, order), estimator, error in zip(names, each, errors, strict=True)
    ]


def _decision(auto: Auto, loop: InnerLoop, meta: Tree, looks: Sequence[Task]) -> Estimator:
    """What is in use after as many meta-batches as it looks at; the weights stay."""
    chooser = Chooser(auto, loop.num_steps)
    for tasks in looks:
        proposal = chooser.propose(loop, meta, prepare(tasks, meta), None)
        chooser.commit(proposal, {})
    assert chooser.in_use is not None
    return chooser.in_use


def _row(estimator: Estimator, steps: int, errors: Errors) -> dict[str, Any]:
    """Tasks whose exact meta-gradient is not finite have no error and are left out; `left_out` says how many."""
    known = ~errors.measured.isnan()
    cost = estimator.cost(steps)
    return {
        "estimator": short(estimator),
        "products": cost.products,
        "rounds": cost.rounds,
        "error": errors.measured[known].median().item() if known.any() else None,
        "left_out": int((~known).sum()),
        "errors": errors.measured[known].tolist(),
        "own": None if errors.own is None else errors.own[known].tolist(),
    }


STUDY = ErrorGrid()
