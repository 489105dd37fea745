"""What each command does: `metagrad train`, `evaluate` and `compare`; errors are for `cli` to print."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from metagrad import parsers, terminal
from metagrad.experiments import comparison_figure, figures, session, tables, training_figure
from metagrad.experiments.compare import Effort, compare, record
from metagrad.experiments.config import Experiment
from metagrad.experiments.downloading import download
from metagrad.experiments.options import pairs
from metagrad.experiments.own import import_typed
from metagrad.experiments.presets import PRESETS, chosen
from metagrad.experiments.settings import lines, with_components, with_fields
from metagrad.experiments.typed import as_typed
from metagrad.training.bar import reporter as reporting
from metagrad.training.bar import working
from metagrad.training.evaluation import paired
from metagrad.training.files import require_writable
from metagrad.training.json_files import write_json
from metagrad.training.progress import Reporter
from metagrad.training.run import Run


def run_train(arguments: list[str]) -> int:
    """`metagrad train`: a new run, or an old one continued, and its test."""
    positional, values = pairs(arguments)
    import_typed(values)
    if "resume" in values:
        return _resume(arguments)
    preset = positional[0] if positional else None
    config = with_components(chosen(preset, values.get("problem")), values)
    options = parsers.train(PRESETS, lines(config)).parse(arguments)
    config = with_fields(config, options)
    if options.data is not None:
        config = session.with_data(config, options.data)
    path = terminal.given_path(options.out) or terminal.free_path(_title(preset, values))
    if options.download:
        download(config.problem, lambda text: terminal.say(terminal.console(), text))
    session.apply_threads(config)
    command = _typed("train", preset, values)
    return _in_run(path, lambda reporter: session.start(config, path, reporter, command))


def _resume(arguments: list[str]) -> int:
    options = parsers.resume().parse(arguments)
    path = Path(options.resume)
    return _in_run(
        path,
        lambda reporter: session.resume(path, reporter, options.data, options.meta_steps, options.accept_changes),
        options.data,
    )


def _in_run(path: Path, train: Callable[[Reporter], object], data: str | None = None) -> int:
    """Train with a reporter, then test the best weights."""
    console = terminal.console()
    terminal.say(console, f"training in {path}")
    try:
        with reporting(console, terminal.SECONDS_BETWEEN_LINES) as reporter:
            train(reporter)
        run = Run(path)
        config = session.opened(run, data)
        session.apply_threads(config)
        with working(console, "testing", terminal.SECONDS_BETWEEN_LINES):
            _test(console, config, run)
    except KeyboardInterrupt:
        if path.is_dir():
            terminal.say(console, f"interrupted; continue with: metagrad train --resume {path}")
        else:
            terminal.say(console, "interrupted before training began; nothing is left of it, start it again")
        return terminal.INTERRUPTED
    return 0


def _test(console: Console, config: Experiment, run: Run) -> None:
    which = session.best_available(run)
    learner, sources = session.trained(config, run, which)
    result = session.measure(config, learner, sources)
    session.write_test(run.path / "test.json", config, which, result)
    console.print(tables.adaptation(result, config.num_steps))
    picture = run.path / "adaptation.png"
    figures.save(figures.adaptation(config, learner, sources, result), picture)
    course = run.path / "training.png"
    figures.save(training_figure.training(config, run.metrics()), course)
    terminal.wrote(console, run.path / "test.json", picture, course)


def run_evaluate(arguments: list[str]) -> int:
    """`metagrad evaluate`: a run tested again, alone or against another."""
    options = parsers.evaluate().parse(arguments)
    import_typed({"import": options.imported or ""})
    out = terminal.given_path(options.out)
    if out is not None and out.exists():
        raise ValueError(f"{out} exists already; choose another --out")
    if out is not None and not out.parent.is_dir():
        raise ValueError(f"{out.parent} is not a directory; choose another --out")
    if out is not None:
        require_writable(out)
    console = terminal.console()
    run = Run(Path(options.run))
    config = session.opened(run, options.data, options.accept_changes)
    asked = {name: getattr(options, name) for name in ("tasks", "steps", "seed")}
    test = replace(config.test, **{name: value for name, value in asked.items() if value is not None})
    machine = replace(config.machine, device=options.device) if options.device else config.machine
    config = replace(config, test=test, machine=machine)
    session.apply_threads(config)
    which = options.weights or session.best_available(run)
    with working(console, f"measuring {config.test.tasks} test tasks", terminal.SECONDS_BETWEEN_LINES):
        result = session.measure(config, *session.trained(config, run, which))
    console.print(tables.adaptation(result, config.num_steps))
    if out is not None:
        session.write_test(out, config, which, result)
        terminal.wrote(console, out)
    if options.against:
        other = Run(Path(options.against))
        theirs = session.opened(other, options.data, options.accept_changes)
        theirs = replace(theirs, test=test, machine=machine)
        if not session.same_test_tasks(config, theirs):
            raise ValueError(
                f"{other.path} has other test tasks than {run.path}: only runs with the same ways, shots, test queries "
                "and ranges can be paired"
            )
        second = session.measure(
            theirs, *session.trained(theirs, other, options.weights or session.best_available(other))
        )
        console.print(tables.adaptation(second, theirs.num_steps))
        gaps = {name: paired(result, second, name) for name in result.values}
        console.print(tables.differences(gaps, str(run.path), str(other.path)))
    return 0


def run_compare(arguments: list[str]) -> int:
    """`metagrad compare`: every estimator measured on one experiment."""
    positional, values = pairs(arguments)
    import_typed(values)
    preset = positional[0] if positional else None
    config = with_components(replace(chosen(preset, values.get("problem")), meta_steps=0), values)
    options = parsers.compare(PRESETS, lines(config)).parse(arguments)
    config = with_fields(config, options)
    if options.data is not None:
        config = session.with_data(config, options.data)
    effort = Effort(tasks=options.tasks, repeats=options.repeats, proximal=options.anchor)
    session.apply_threads(config)
    path = terminal.given_path(options.out) or terminal.free_path(f"compare-{_title(preset, values)}")
    if path.exists():
        raise ValueError(f"{path} exists already; choose another --out")
    require_writable(path)
    console = terminal.console()
    with reporting(console, terminal.SECONDS_BETWEEN_LINES) as reporter:
        rows = compare(config, effort, reporter, lambda text: terminal.say(console, text))
    console.print(tables.comparison(rows, config))
    for note in tables.comparison_notes(rows, config):
        terminal.say(console, note)
    path.mkdir(parents=True)
    write_json(
        path / "comparison.json",
        record(config, effort, rows, _typed("compare", preset, values)),
    )
    figures.save(comparison_figure.comparison(config, rows), path / "comparison.png")
    terminal.wrote(console, path / "comparison.json", path / "comparison.png")
    return 0


def _typed(command: str, preset: str | None, values: dict[str, str]) -> str:
    return as_typed(f"metagrad {command}", preset or (None if "problem" in values else "sinusoid"), values)


def _title(preset: str | None, values: dict[str, str]) -> str:
    """For the name of a directory: the preset, or the module of a problem of the user's own."""
    chosen = preset or values.get("problem") or "sinusoid"
    return Path(chosen.partition(":")[0]).stem if ":" in chosen or chosen.endswith(".json") else chosen
