"""Studies that train methods on the same tasks and compare how accurate they become."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from matplotlib.figure import Figure

from metagrad.experiments.config import Experiment
from metagrad.experiments.expression import ESTIMATORS, Kind, parse
from metagrad.training import HeldOut, Run
from metagrad_studies.accuracy.tables import AccuracySettings, accuracies, distances, runs
from metagrad_studies.core import Bench, Cell, Listing, Record, Records, Study
from metagrad_studies.instruments.training import diverges, test, tested

Settings = TypeVar("Settings", bound=AccuracySettings)


class AccuracyStudy(Study[Settings]):
    """A cell is one method on one data set with one seed: trained, and its best weights tested."""

    scales: ClassVar[tuple[str, ...]] = ("small", "medium", "full")
    side_by_side: ClassVar[bool] = True
    estimators: ClassVar[Kind] = ESTIMATORS
    """Those that its methods name."""

    def cells(self, settings: Settings) -> Sequence[Cell]:
        return [
            Cell(
                f"{data.key}-{method.key}-seed{seed}",
                {"data_set": data.title, "method": method.name, "order": method.order, "seed": seed},
            )
            for seed in settings.seeds
            for data in settings.data_sets
            for method in settings.methods
        ]

    def measure(self, settings: Settings, cell: Cell, bench: Bench) -> Sequence[Record]:
        """Train and test; a run that diverges is tested as it last was, and the record says so."""
        config = experiment(settings, cell, self.estimators)
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

    def figure(self, settings: Settings, records: Records) -> Figure:
        return distances(settings, records)

    def listings(self, settings: Settings, records: Records) -> Sequence[Listing]:
        return [accuracies(settings, records), runs(settings, records)]


def experiment(settings: AccuracySettings, cell: Cell, estimators: Kind = ESTIMATORS) -> Experiment:
    """What a cell trains; `estimators` are those that its methods name."""
    values = cell.values
    data = next(data for data in settings.data_sets if data.title == values["data_set"])
    method = next(m for m in settings.methods if (m.name, m.order) == (values["method"], values["order"]))
    shared = Experiment.from_json(data.config)
    return replace(
        shared,
        estimator=parse(method.estimator, estimators),
        proximal=method.proximal,
        adapts=shared.adapts if method.adapts is None else method.adapts,
        optimizer=method.optimizer or shared.optimizer,
        seed=values["seed"],
    )
