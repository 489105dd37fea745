"""A run directory as an entry of the page: state, learning curves, tests, pictures, configuration."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from metagrad.experiments.config import Experiment
from metagrad.experiments.typed import rebuilt
from metagrad.reporting import held_out
from metagrad.reporting.curves import Panel, Validation, panel
from metagrad.reporting.entry import Command, Entry, Headline, State, Table
from metagrad.reporting.held_out import Tested, heading, measured
from metagrad.reporting.metrics import QUANTITIES, Metrics, read_metrics
from metagrad.reporting.pictures import Picture, picture
from metagrad.reporting.reading import Note, Notes, flat, nested, read_object, shown
from metagrad.training.locking import locked
from metagrad.training.manifest import FORMATS, is_as_written
from metagrad.training.progress import duration

MANIFEST, _METRICS, _TEST = "config.json", "metrics.jsonl", "test.json"
_MOST_ROWS = 40  # validations in the table
_MOST_PICTURES = 12


def run(path: Path, name: str, place: str, id: str, notes: Notes) -> Entry:
    """Read the run directory `path`.

    Args:
        path: the directory.
        name: as the page calls it.
        place: as one types it in a command.
        id: unique in the page.
        notes: receives what cannot be read.

    Raises:
        ValueError, OSError: config.json is not that of a run.
    """
    manifest, before = read_object(path / MANIFEST), len(notes)
    if "format" not in manifest or not isinstance(manifest.get("config"), dict):
        raise ValueError("is not of a run: it has no format and configuration as metagrad train writes them")
    if type(manifest["format"]) is not int or manifest["format"] not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        raise ValueError(f"has format {shown(manifest['format'])}, and this version of metagrad reads {known}")
    if not is_as_written(manifest):
        notes.append(Note(f"{name}/{MANIFEST}", "was changed after metagrad wrote it: its checksum differs"))
    config = nested(manifest, "config")
    training = Command(f"{id}--train", "trains and tests", _training(manifest, config, place))
    metrics = Metrics()
    with notes.guarded(f"{name}/{_METRICS}"):
        metrics = read_metrics(path / _METRICS, f"{name}/{_METRICS}", notes)
    tests = _tests(path, name, notes)
    state = _state(path, place, config, metrics, _TEST in tests)
    trained = config.get("num_steps") if isinstance(config.get("num_steps"), int) else None
    testing = _testing(tests, config, place, id)
    return Entry(
        kind="run",
        id=id,
        name=name,
        title=name,
        state=state,
        facts=_facts(config, metrics),
        headlines=[
            Headline(state.word),
            Headline(shown(config.get("estimator"))),
            Headline(f"{metrics.steps:,}"),
            *(_headline(tests.get(_TEST), quantity, trained, testing.get(_TEST)) for quantity in QUANTITIES),
        ],
        commands=[training, *dict.fromkeys(testing.values())],
        curves=_curves(config, metrics, id),
        pictures=_pictures(path, name, tests.get(_TEST), trained, training, notes),
        tables=[held_out.table(result, name, trained, testing[file].id) for file, result in tests.items()],
        folded=[*_validations(name, metrics, training.id), _configuration(name, config)],
        environment=environment(manifest),
        notes=[f"{note.where}: {note.text}" for note in notes[before:]],
    )


def environment(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Versions and platform as they were recorded."""
    parts = [manifest.get(part) for part in ("versions", "platform")]
    return {name: shown(value) for part in parts if isinstance(part, dict) for name, value in part.items()}


def _training(manifest: Mapping[str, Any], config: Mapping[str, Any], place: str) -> str:
    """As typed; else rebuilt from the configuration; else what goes on with this run."""
    typed = manifest.get("command")
    if isinstance(typed, str) and typed:
        return typed
    try:
        command = rebuilt("metagrad train", Experiment.from_json(config))
    except (TypeError, ValueError, RecursionError):  # a configuration of another version
        command = None
    return command or f"metagrad train --resume {quote(place)}"


def _tests(path: Path, name: str, notes: Notes) -> dict[str, Tested]:
    """test.json, and other results of `metagrad evaluate --out` that lie beside it."""
    found: dict[str, Tested] = {}
    for file in sorted(path.glob("*.json"), key=lambda file: (file.name != _TEST, file.name)):
        if file.name != MANIFEST:
            with notes.guarded(f"{name}/{file.name}"):
                found[file.name] = held_out.tested(read_object(file))
    return found


def _testing(tests: Mapping[str, Tested], config: Mapping[str, Any], place: str, id: str) -> Mapping[str, Command]:
    """For each test, the command that repeats it: with options where it asked for other than the configuration."""
    found = config.get("test")
    configured = found if isinstance(found, dict) else {}
    commands: dict[str, Command] = {}
    known: dict[str, Command] = {}
    for file, result in tests.items():
        asked = {"tasks": result.tasks, "steps": result.steps, "seed": result.seed}
        words = [f" --{name} {value}" for name, value in asked.items() if configured.get(name) != value]
        words += [f" --weights {quote(result.weights)}"] if result.weights != "best" else []
        text = f"metagrad evaluate {quote(place)}{''.join(words)}"
        new = Command(f"{id}--evaluate-{len(known) + 1}", f"tests the {result.weights} weights again", text)
        commands[file] = known.setdefault(text, new)
    return commands


def _state(path: Path, place: str, config: Mapping[str, Any], metrics: Metrics, tested: bool) -> State:
    asked = config.get("meta_steps")
    of = f"{metrics.steps:,} of {shown(asked) if not isinstance(asked, int) else f'{asked:,}'} meta-steps"
    resume = f"metagrad train --resume {quote(place)}"
    if locked(path):
        return State("training now", f"A process is training here at this moment: {of} so far.", False)
    if not isinstance(asked, int) or metrics.steps < asked:
        return State("stopped", f"Training stopped at {of}. It goes on with", False, resume)
    if not tested:
        return State("not tested", f"Trained, {of}, and not tested yet. That is done by", False, resume)
    return State("complete", f"Trained, {of}, and tested.", True)


def _facts(config: Mapping[str, Any], metrics: Metrics) -> list[tuple[str, str]]:
    problem = config.get("problem")
    kind = problem.get("dataset", problem.get("kind")) if isinstance(problem, dict) else problem
    facts = [("Problem", shown(kind))]
    for label, name in (("Estimator", "estimator"), ("Update rule", "rule"), ("Inner steps K", "num_steps")):
        facts.append((label, shown(config.get(name))))
    facts.append(("Tasks a meta-step", shown(config.get("meta_batch"))))
    seconds = [value for value in metrics.seconds if value >= 0]
    if seconds:
        typical = 1e3 * statistics.median(seconds)
        facts.append(("Time in training", f"{duration(sum(seconds))}, {typical:.3g} ms a meta-step (median)"))
    best = [v for v in metrics.validations if v["best"]]
    if best:
        facts.append(("Best weights", f"of meta-step {shown(best[-1]['step'])}, chosen by validation"))
    return facts


def _headline(result: Tested | None, quantity: str, trained: int | None, command: Command | None) -> Headline:
    if result is None or quantity not in result.values or command is None:
        return Headline("–")
    return Headline(result.after(quantity, result.steps if trained is None else trained), command.id)


def _curves(config: Mapping[str, Any], metrics: Metrics, id: str) -> Sequence[Panel]:
    classification = "accuracy" in metrics.training
    titles = {
        "loss": "query cross-entropy (nats)" if classification else "query loss",
        "accuracy": "query accuracy (%)",
    }
    if isinstance(config.get("problem"), dict) and config["problem"].get("kind") == "sinusoid":
        titles["loss"] = "query mean squared error"
    panels: list[Panel | None] = []
    for name, training in metrics.training.items():
        factor = 100.0 if name == "accuracy" else 1.0
        scaled = [(step, factor * value) for step, value in training]
        validations = [Validation(v.step, factor * v.mean, factor * v.half_width) for v in metrics.validated(name)]
        panels.append(panel(f"{id}--{name}", titles.get(name, f"query {name}"), scaled, validations, f"{id}--train"))
    return [found for found in panels if found is not None]


def _pictures(
    path: Path, name: str, result: Tested | None, trained: int | None, training: Command, notes: Notes
) -> Sequence[Picture]:
    known = {
        "adaptation.png": (f"{name}: adaptation to test tasks", _adaptation(result, trained)),
        "training.png": (
            f"{name}: training",
            "Loss, metrics and, where they are known, relative errors of the meta-gradient over meta-steps.",
        ),
    }
    pictures: list[Picture] = []
    files = sorted(path.glob("*.png"), key=lambda file: (file.name not in known, file.name))
    if len(files) > _MOST_PICTURES:
        notes.append(Note(name, f"has {len(files)} pictures; the page shows {_MOST_PICTURES} of them"))
    for file in files[:_MOST_PICTURES]:
        unknown = (
            f"{file.name}, which lies in the run directory",
            f"Picture {file.name}; nothing is known of what it shows.",
        )
        title, words = known.get(file.name, unknown)
        with notes.guarded(f"{name}/{file.name}"):
            pictures.append(picture(file, title, words, training.id if file.name in known else None))
    return pictures


def _adaptation(result: Tested | None, trained: int | None) -> str:
    if result is None:
        return "Results on test tasks over the number of inner steps."
    parts = [
        f"{heading(name)} {result.after(name, 0)} before adaptation, "
        + (f"{result.after(name, trained)} after {trained} inner steps, " if trained is not None else "")
        + f"{result.after(name, result.steps)} after {result.steps}"
        for name in result.values
    ]
    return f"Results on {result.tasks} test tasks over the number of inner steps: {'; '.join(parts)}."


def _validations(name: str, metrics: Metrics, command: str) -> Sequence[Table]:
    quantities = metrics.quantities()
    if not quantities:
        return []
    every = -(-len(metrics.validations) // _MOST_ROWS)
    shortened = f", one in {every} of {len(metrics.validations)}" if every > 1 else ""
    rows = [
        (
            shown(v["step"]),
            *(measured(q, v.get(q, math.nan), v.get(f"{q}_half_width_95", math.nan)) for q in quantities),
            "best so far" if v["best"] else "",
        )
        for v in metrics.validations[::-1][::every][::-1]
    ]
    title = f"{name}: validation, mean ± 95 % interval{shortened}"
    return [Table(title, ("meta-step", *map(heading, quantities), "weights"), rows, command)]


def _configuration(name: str, config: Mapping[str, Any]) -> Table:
    return Table(f"{name}: configuration", ("field", "value"), configuration(config))


def configuration(config: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Fields and values; a directory of data belongs to one machine, and is named as in the command."""
    return [(field, "DIR" if field == "problem.data" and value != "none" else value) for field, value in flat(config)]
