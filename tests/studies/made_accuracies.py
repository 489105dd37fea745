"""Records of accuracy studies that were never measured, and settings small enough to be."""

from collections.abc import Mapping
from dataclasses import replace

from metagrad.experiments.config import Experiment
from metagrad_studies.accuracy.tables import AccuracySettings


def tiny(settings: AccuracySettings, methods: tuple[str, ...]) -> AccuracySettings:
    """Those methods, by label; two seeds, and a few meta-steps of a small network."""
    data = settings.data_sets[0]
    config = Experiment.from_json(data.config)
    config = replace(
        config,
        problem=replace(config.problem, hidden=(8,), queries=3, test_queries=3),
        meta_steps=3,
        meta_batch=2,
        validation=replace(config.validation, every=2, tasks=2),
        test=replace(config.test, tasks=4),
    )
    return replace(
        settings,
        data_sets=(replace(data, config=config.to_json()),),
        methods=tuple(method for method in settings.methods if method.label in methods),
        seeds=settings.seeds[:2],
    )


def made(settings: AccuracySettings, means: Mapping[str, float], noise: float = 0.0) -> list[dict]:
    """Records with these mean accuracies by label, equal on every data set, for each seed and 10 tasks.

    Methods differ from one another on every task by the difference of their means, but for `noise`, which alternates
    in sign from task to task, in another rhythm for every method.
    """
    return [
        {
            "data_set": data.title,
            "method": method.name,
            "order": method.order,
            "seed": seed,
            "accuracy_tasks": [
                means[method.label] + 0.01 * task + noise * (1 if (task >> row % 3) % 2 else -1) for task in range(10)
            ],
            "accuracy": means[method.label],
            "best_step": 7,
            "meta_steps": 10,
            "diverged": False,
            "seconds_per_meta_step": 0.02,
            "cell_seconds": 1.0,
        }
        for data in settings.data_sets
        for row, method in enumerate(settings.methods)
        for seed in settings.seeds
    ]
