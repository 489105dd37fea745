"""Studies that train methods on the same tasks and compare how accurate they become."""

import statistics
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from matplotlib.figure import Figure

from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import ESTIMATORS, parse
from metagrad.training.evaluation import HeldOut
from metagrad.training.run import Run
from metagrad_studies.accuracy.figure import distances
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.accuracy.tables import accuracies, runs
from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study
from metagrad_studies.instruments.training import diverges, test, tested


class AccuracyStudy(Study[AccuracySettings]):
    """A cell is one method on one data set with one seed: trained, and its best weights tested."""

    scales: ClassVar[tuple[str, ...]] = ("small", "medium", "full")
    side_by_side: ClassVar[bool] = True

    def cells(self, settings: AccuracySettings) -> Sequence[Cell]:
        """Seed after seed, so that an unfinished study has complete tables of fewer seeds."""
        return [
            Cell(
                f"{data.key}-{method.key}-seed{seed}",
                {"data_set": data.title, "method": method.name, "order": method.order, "seed": seed},
            )
            for seed in settings.seeds
            for data in settings.data_sets
            for method in settings.methods
        ]

    def measure(self, settings: AccuracySettings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """Train and test; a run that diverges is tested as it last was, and the record says so."""
        config = experiment(settings, cell)
        diverged = diverges(config, bench)
        result = test(config, bench)
        metrics = Run(bench.directory / "run").metrics()
        steps = [entry for entry in metrics if entry["kind"] == "train"]
        best = [entry["step"] for entry in metrics if entry["kind"] == "validation" and entry["best"]]
        return [
            {
                **self.scores(result, config),
                "meta_steps": len(steps),
                "best_step": best[-1] if best else len(steps),
                "diverged": diverged,
                "seconds_per_meta_step": statistics.median(entry["seconds"] for entry in steps) if steps else None,
                **self.extra(metrics),
            }
        ]

    def scores(self, result: HeldOut, config: Experiment) -> Mapping[str, Any]:
        """What a study keeps of the test: the accuracy of every task, and means."""
        return {
            **tested(result, "accuracy", config.test.steps),
            "accuracy_after_training_steps": result.values["accuracy"][:, config.num_steps].mean().item(),
            "loss": result.values["loss"][:, config.test.steps].mean().item(),
        }

    def extra(self, metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """What a study keeps of all that the run recorded, meta-steps, validations and probes; nothing."""
        return {}

    def figure(self, settings: AccuracySettings, records: Records) -> Figure:
        """Distances to MAML, a panel a data set."""
        return distances(settings, records)

    def listings(self, settings: AccuracySettings, records: Records) -> Sequence[Listing]:
        """Accuracies with distances and ranks; then what the runs did."""
        return [accuracies(settings, records), runs(settings, records)]

    @abstractmethod
    def settings(self, request: Request) -> AccuracySettings:
        """Every number of the study at that size."""

    @abstractmethod
    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        """What the source claims beside what was measured."""


def experiment(settings: AccuracySettings, cell: Cell) -> Experiment:
    """What a cell trains."""
    values = cell.values
    data = next(data for data in settings.data_sets if data.title == values["data_set"])
    method = next(m for m in settings.methods if (m.name, m.order) == (values["method"], values["order"]))
    shared = Experiment.from_json(data.config)
    return replace(
        shared,
        estimator=parse(method.estimator, ESTIMATORS),
        proximal=method.proximal,
        adapts=shared.adapts if method.adapts is None else method.adapts,
        optimizer=method.optimizer or shared.optimizer,
        seed=values["seed"],
    )
