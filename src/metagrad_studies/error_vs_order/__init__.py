"""Real networks, before and during training: error, curvature, operations and memory of every estimator by order."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from metagrad import Batch, Exact, InnerLoop, Task, meta_gradient
from metagrad.capture import Mode
from metagrad.estimators import Estimator
from metagrad.experiments.expression import short
from metagrad.memory import peak_bytes
from metagrad.training import fixed_tasks
from metagrad.tree import Tree
from metagrad_studies.core import Bench, Cell, Record, Request
from metagrad_studies.error_vs_order.records import FAMILIES, Network, NetworkErrorsSettings, by_order
from metagrad_studies.error_vs_order.results import Results
from metagrad_studies.instruments.task_errors import curvatures, estimates, relative
from metagrad_studies.instruments.training import at_stage, present, require, trained, with_exact


class NetworkErrors(Results):
    """Error by order for every estimator, beside the curvature that decides it and the cost of each."""

    name: ClassVar[str] = "error-vs-order"
    title: ClassVar[str] = "Error, curvature and cost of every estimator by order, on networks before and in training"
    source: ClassVar[str] = "ours: what the reviewers of BinomGBML (arXiv 2604.13263) asked for"
    choices: ClassVar[tuple[str, ...]] = (
        "Networks, tasks and step sizes are those of the presets. They are trained with Exact at a constant meta "
        "learning rate. Each stage has a run of its own; the shorter ones are the beginning of the longer.",
        "Error: ‖estimate − exact‖ / ‖exact‖ of single tasks, in float64; median and quartiles over tasks.",
        "Curvature: smallest and largest eigenvalue of α·H at each inner step, by Lanczos iteration with the same "
        "products. The spectral radius is the larger of the two in size.",
        "Operations: multiplications and additions of matrix products and convolutions in one task's meta-gradient, "
        "inner loop and outer gradient included, one product after another. Memory: the most that live tensors hold "
        "on the way, with the products of a round side by side, as written (no compiled graph).",
    )

    def settings(self, request: Request) -> NetworkErrorsSettings:
        """The generated data sets, and with `data` those that are there: at small size Omniglot alone, 5-way.

        Raises:
            ValueError: a directory of data without any data set of this size.
        """
        full = request.scale == "full"
        capture: Mode = "auto" if full else "off"  # compiling takes longer than the training of the small size
        tasks = 100 if full else 40

        def network(name: str, stages: tuple[int, ...], tasks: int) -> Network:
            experiment = with_exact(name, capture).to_json()
            return Network(name, experiment, stages, tasks, tasks_at_once=20, lanczos_iterations=25)

        networks = [
            network("sinusoid", (0, 100, 5000 if full else 1000), tasks),
            network("mnist1d-5way-1shot", (0, 100, 3000 if full else 600), tasks),
        ]
        if request.data is not None:
            wanted = ("omniglot-20way-1shot", "cifar-fs-5way-1shot") if full else ("omniglot-5way-1shot",)
            stages, tasks = ((0, 200, 5000), 50) if full else ((0, 20, 120), 6)
            names = [name for name in wanted if present(name, request.data)]
            if not names:
                require(wanted[0], request.data)  # says why not
            images = [network(name, stages, tasks) for name in names]
            networks += [replace(each, tasks_at_once=1, lanczos_iterations=20) for each in images]
        return NetworkErrorsSettings(tuple(networks))

    def cells(self, settings: NetworkErrorsSettings) -> Sequence[Cell]:
        return [
            Cell(f"{network.name}_meta-steps={stage}", {"network": network.name, "meta_steps": stage})
            for network in settings.networks
            for stage in network.stages
        ]

    def measure(self, settings: NetworkErrorsSettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """A record for each estimator, then one for each inner step."""
        network = next(n for n in settings.networks if n.name == cell.values["network"])
        config = at_stage(network.experiment, cell.values["meta_steps"], bench)
        loop, meta = trained(config, bench)
        device, steps = config.machine.torch_device(), loop.num_steps
        source = config.problem.sources(device).train
        tasks = Task.join(fixed_tasks(source, network.tasks, settings.task_seed)).to(device, torch.float64)
        kept = replace(loop, reuse=steps)  # every estimator goes back along the same trajectory
        chunk, iterations = network.tasks_at_once, network.lanczos_iterations
        curved = curvatures(kept, meta, tasks, iterations=iterations, seed=settings.lanczos_seed, chunk=chunk)
        estimators = by_order(steps, *FAMILIES)
        all_estimates = estimates(kept, list(estimators.values()), meta, tasks, chunk)
        first = Task(*(Batch(*(leaf[:1] for leaf in batch)) for batch in tasks))
        rows: list[Record] = []
        for (family, order), estimator in [*estimators.items(), (("Exact", steps), Exact())]:
            errors = relative(all_estimates.others.get(estimator, all_estimates.exact), all_estimates.exact)
            low, middle, high = errors.quantile(torch.tensor([0.25, 0.5, 0.75]).to(errors)).tolist()
            cost = estimator.cost(steps)
            rows.append(
                {
                    "kind": "error",
                    "family": family,
                    "order": order,
                    "estimator": short(estimator),
                    "error": middle,
                    "error_25": low,
                    "error_75": high,
                    "products": cost.products,
                    "rounds": cost.rounds,
                    "flops": flops(loop, estimator, meta, first),
                    "peak_bytes": peak_bytes(partial(meta_gradient, loop, estimator, meta, first), device),
                    "errors": errors.tolist(),
                }
            )
        for k in range(steps):
            low, high, residual = (column[:, k] for column in curved)
            rows.append(
                {
                    "kind": "spectrum",
                    "step": k,
                    "low": low.median().item(),
                    "high": high.median().item(),
                    "radius": torch.maximum(low.abs(), high.abs()).median().item(),
                    "residual": residual.max().item(),
                    "lows": low.tolist(),
                    "highs": high.tolist(),
                }
            )
        return rows


def flops(loop: InnerLoop, estimator: Estimator, meta: Tree, task: Task) -> int:
    """Multiplications and additions of matrix products and convolutions in the meta-gradient of one task [1, N, ...].

    Links one at a time: side by side, convolutions with their own filters are counted for more than they do.
    """
    with FlopCounterMode(display=False) as counter:
        meta_gradient(replace(loop, link_chunk=1), estimator, meta, task)
    return counter.get_total_flops()


STUDY = NetworkErrors()
