"""What each command does: `metagrad train`, `evaluate`, `compare` and `list`; errors are for `cli` to print."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metagrad import studies, terminal
from metagrad.experiments import comparison_figure, figures, session, tables, training_figure
from metagrad.experiments.compare import Effort, compare, record
from metagrad.experiments.config import Experiment
from metagrad.experiments.downloading import download
from metagrad.experiments.expression import KINDS, parse, short
from metagrad.experiments.options import CommandError, Parser, add_fields, pairs, with_components, with_fields
from metagrad.experiments.own import import_typed
from metagrad.experiments.presets import PRESETS, chosen
from metagrad.experiments.typed import as_typed
from metagrad.training.evaluation import paired
from metagrad.training.files import require_writable
from metagrad.training.json_files import write_json
from metagrad.training.progress import Reporter
from metagrad.training.run import Run

_ACCEPT = "take the run as it is, although config.json or a major version is another than it was made with"


def run_train(arguments: list[str]) -> int:
    """`metagrad train`: a new run, or an old one continued, and its test."""
    positional, values = pairs(arguments)
    import_typed(values)
    if "resume" in values:
        return _resume(arguments)
    preset = positional[0] if positional else None
    parser, config = _configured("metagrad train", preset, values, "Train a model and test it.")
    parser.add_argument("--out", metavar="DIR", help="run directory to make [runs/PRESET-N]")
    parser.add_argument("--resume", metavar="RUN", help="continue this run, with the configuration it has")
    parser.add_argument("--data", metavar="DIR", help="data directory, short for --problem.data")
    parser.add_argument("--download", action="store_true", help="fetch files that the data directory lacks")
    options = parser.parse(arguments)
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
    parser = Parser("metagrad train --resume", "Continue a run to the bit as if it had never stopped.")
    parser.add_argument("--resume", metavar="RUN", required=True, help="run directory")
    parser.add_argument("--data", metavar="DIR", help="where the data are now, if they have moved")
    parser.add_argument("--meta_steps", metavar="N", type=int, help="train to this many meta-steps instead")
    _add_import(parser)
    parser.add_argument("--accept_changes", action="store_true", help=_ACCEPT)
    try:
        options = parser.parse(arguments)
    except CommandError as error:
        raise CommandError(
            error.command, f"{error}; a resumed run keeps its configuration, but for --data and --meta_steps"
        ) from error
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
        with terminal.reporter(console) as reporter:
            train(reporter)
        run = Run(path)
        config = session.opened(run, data)
        session.apply_threads(config)
        _test(console, config, run)
    except KeyboardInterrupt:
        if path.is_dir():
            terminal.say(console, f"interrupted; continue with: metagrad train --resume {path}")
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
    parser = Parser("metagrad evaluate", "Measure a run's weights on held-out test tasks.")
    parser.add_argument("run", metavar="RUN", help="run directory")
    parser.add_argument("--against", metavar="RUN", help="another run, compared on the same tasks, pair by pair")
    parser.add_argument("--tasks", metavar="N", type=int, help="test tasks [as configured]")
    parser.add_argument("--steps", metavar="S", type=int, help="inner steps: measured after 0..S [as configured]")
    parser.add_argument("--seed", metavar="SEED", type=int, help="seed of the test tasks [as configured]")
    parser.add_argument("--weights", choices=["best", "last"], help="which weights [best]")
    parser.add_argument("--data", metavar="DIR", help="where the data are now, if they have moved")
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, cuda or mps [as configured]")
    parser.add_argument("--out", metavar="FILE", help="also write the values of every task to this JSON file")
    _add_import(parser)
    parser.add_argument("--accept_changes", action="store_true", help=_ACCEPT)
    options = parser.parse(arguments)
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
    parser, config = _configured(
        "metagrad compare", preset, values, "Measure every estimator on one model: error, cost, time and memory.", 0
    )
    parser.add_argument("--out", metavar="DIR", help="directory to make for the results [runs/compare-PRESET-N]")
    parser.add_argument("--data", metavar="DIR", help="data directory, short for --problem.data")
    parser.add_argument("--tasks", metavar="N", type=int, default=20, help="tasks for the error [20]")
    parser.add_argument("--repeats", metavar="N", type=int, default=5, help="timed repetitions [5]")
    parser.add_argument(
        "--anchor", metavar="STRENGTH", type=float, default=2.0, help="proximal term of those that need one [2.0]"
    )
    options = parser.parse(arguments)
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
    with terminal.reporter(console) as reporter:
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


def run_list(arguments: list[str]) -> int:
    """`metagrad list`: what there is to choose from."""
    Parser("metagrad list", "List presets, estimators, rules, solvers and studies.").parse(arguments)
    console = terminal.console()
    presets = Table("preset", "what it is", "estimator", title="Presets: metagrad train PRESET", title_justify="left")
    for name, preset in PRESETS.items():
        presets.add_row(name, _first_line(preset), short(preset().estimator))
    console.print(presets)
    titles = (
        "Estimators: --estimator",
        "Update rules: --rule",
        "In place of a number of a rule: --rule.lr",
        "Solvers of Implicit: --estimator.solver",
    )
    for title, kind in zip(titles, KINDS, strict=True):
        table = Table("as typed without arguments", "what it is", title=title, title_justify="left")
        for cls in kind.classes():
            table.add_row(short(parse(cls.__name__, kind)), _first_line(cls))
        console.print(table)
    table = Table(
        "study", "what it measures", "source", title="Studies: metagrad reproduce STUDY", title_justify="left"
    )
    for name, catalogue in studies.catalogues().items():
        table.add_row(name, catalogue[name].title, catalogue[name].source)
    console.print(table)
    return 0


def _configured(
    prog: str, preset: str | None, values: dict[str, str], description: str, meta_steps: int | None = None
) -> tuple[Parser, Experiment]:
    """A parser with an option for every field of the preset, its parts and problem already those asked for."""
    usage = f"{prog} [PRESET] [--problem MODULE:THING] [--out DIR] [--data DIR] [--FIELD VALUE ...]"
    parser = Parser(prog, f"{description} Every field of the preset is an option; its value is in brackets.", usage)
    known = f"{', '.join(PRESETS)}; or a config.json, or a preset of your own, my_module:preset [sinusoid]"
    parser.add_argument("preset", nargs="?", metavar="PRESET", help=known)
    parser.add_argument(
        "--problem",
        metavar="MODULE:THING",
        help="a problem of your own, with the methods of metagrad.experiments.problem.Problem",
    )
    _add_import(parser)
    config = chosen(preset, values.get("problem"))
    if meta_steps is not None:
        config = replace(config, meta_steps=meta_steps)
    config = with_components(config, values)
    add_fields(parser, config)
    return parser, config


def _add_import(parser: Parser) -> None:
    parser.add_argument(
        "--import",
        dest="imported",
        metavar="MODULE,…",
        help="modules of your own to import first, for parts that a run names or that register themselves",
    )


def _typed(command: str, preset: str | None, values: dict[str, str]) -> str:
    return as_typed(f"metagrad {command}", preset or (None if "problem" in values else "sinusoid"), values)


def _title(preset: str | None, values: dict[str, str]) -> str:
    """For the name of a directory: the preset, or the module of a problem of the user's own."""
    chosen = preset or values.get("problem") or "sinusoid"
    return Path(chosen.partition(":")[0]).stem if ":" in chosen or chosen.endswith(".json") else chosen


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]
