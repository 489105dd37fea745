"""Tables of trained methods: how accurate, how far from MAML, which rank; and what their runs did."""

from metagrad_studies.accuracy.comparing import accuracy, compared, of, percent, ranks, signed
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Listing

REFERENCE = "MAML"


def accuracies(settings: AccuracySettings, records: Records) -> Listing:
    """A row a method: accuracy, distance to MAML and rank on each data set."""
    reference = next(method for method in settings.methods if method.name == REFERENCE)
    ranked = [ranks(settings, records, data) for data in settings.data_sets]
    rows: list[tuple[str, ...]] = []
    for method in settings.methods:
        row = [str(method.order), method.name]
        for data, place in zip(settings.data_sets, ranked, strict=True):
            row.append(percent(accuracy(settings, of(records, data, method))))
            row.append("" if method == reference else signed(compared(records, data, method, reference).by))
            row.append(str(place[method]))
        rows.append(tuple(row))
    columns = [column for data in settings.data_sets for column in (f"{data.title} (%)", "minus MAML (points)", "rank")]
    seeds = "1 seed" if len(settings.seeds) == 1 else f"{len(settings.seeds)} seeds"
    spread = "95 % intervals" if settings.spread == "95 % interval" else "standard errors"
    tasks = ", ".join(dict.fromkeys(str(data.config["test"]["tasks"]) for data in settings.data_sets))
    title = (
        f"Test accuracy ± {spread}, {seeds}, {tasks} test tasks, the same for all; differences to MAML are paired by "
        "seed and task, ± 95 % intervals"
    )
    return Listing(title, ("L", "method", *columns), tuple(rows))


def runs(settings: AccuracySettings, records: Records) -> Listing:
    """A row a method: meta-steps, the step of the best weights, time, runs that diverged."""
    rows: list[tuple[str, ...]] = []
    for method in settings.methods:
        row = [str(method.order), method.name]
        for data in settings.data_sets:
            found = of(records, data, method)
            row.append(", ".join(str(record["best_step"]) for record in found))
            times = [record["seconds_per_meta_step"] for record in found if record["seconds_per_meta_step"] is not None]
            row.append(f"{1e3 * sum(times) / len(times):.0f}" if times else "")
            row.append(str(sum(record["diverged"] for record in found)))
        rows.append(tuple(row))
    columns = [
        column
        for data in settings.data_sets
        for column in (f"{data.title}: best at step", "ms a meta-step", "diverged")
    ]
    return Listing("Runs, seed by seed", ("L", "method", *columns), tuple(rows))
