"""What a command line answers before anything heavy is imported: what is mistyped, and short help."""

import sys
from collections.abc import Sequence
from pathlib import Path

from metagrad import parsers, surface
from metagrad.experiments.options import DATA_VARIABLE, CommandError, Parser, pairs, unknown
from metagrad.opening import is_regular

_MOST = 10  # runs that a sentence lists


def check(command: str, arguments: Sequence[str]) -> None:
    """Print the help that is asked for, and refuse what a command does not know; whatever is left is for it to judge.

    Options of the user's own problems, presets and parts are known to the command only, and are not looked at here.

    Raises:
        CommandError, ValueError: a mistyped preset, option, part or study; the sentence has what is near.
        SystemExit: after the help.
    """
    match command:
        case "evaluate":
            options = parsers.evaluate().parse(arguments)
            for given in (options.run, options.against):
                _check_run(given)
        case "report":
            parsers.report().parse(arguments)
        case "reproduce":
            _check_study(arguments)
        case "train" | "compare":
            _check_experiment(command, arguments)
        case _:
            parsers.listing().parse(arguments)


def resumed(arguments: Sequence[str]) -> None:
    """As `check`, for `metagrad train --resume`."""
    try:
        options = parsers.resume().parse(arguments)
    except CommandError as error:
        raise CommandError(
            error.command, f"{error}; a resumed run keeps its configuration, but for --data and --meta-steps"
        ) from error
    _check_run(options.resume)


def _check_run(given: str | None) -> None:
    """Say what is at the path of a run that was mistyped, with the runs inside if there are some."""
    path = Path(given or ".")
    if not path.exists():
        raise ValueError(f"{path} does not exist; `metagrad train` makes runs, and says where")
    if given is None or not path.is_dir() or (path / "config.json").exists():
        return
    runs = [str(child) for child in sorted(path.iterdir()) if is_regular(child / "config.json")]
    more = f" and {len(runs) - _MOST} more" if len(runs) > _MOST else ""
    if runs:
        raise ValueError(f"{path} is not a run directory; the runs in it are {', '.join(runs[:_MOST])}{more}")


def _check_experiment(command: str, arguments: Sequence[str]) -> None:
    positional, values = pairs(arguments)
    if command == "train" and "resume" in values:
        return resumed(arguments)
    preset = positional[0] if positional else "sinusoid"
    families = sys.modules.get("metagrad.estimators.families")
    registered = families is not None and families.registered()
    if registered or preset.endswith(".json") or ":" in preset or {"problem", "import"} & set(values):
        return None
    try:
        lines = surface.options(preset, values)
    except ValueError as error:
        raise CommandError(f"metagrad {command}", str(error)) from error
    parts = {line.path for line in lines if line.part}
    own = any(":" in text for path, text in values.items() if path in parts)
    settings = any("(" in values.get(line.path, "") for line in lines if not line.part)
    if own or settings or "--help" in arguments:  # the help has values and descriptions, which the command knows
        return None
    parser = (parsers.train if command == "train" else parsers.compare)(surface.surface()["presets"], lines)
    parser.parse(arguments)
    return None


def _check_study(arguments: Sequence[str]) -> None:
    known = surface.studies()
    if known is None:
        return
    options = parsers.reproduce(known, DATA_VARIABLE).parse(arguments)
    if options.name not in known:
        raise unknown("study", options.name, known)
    scales = known[options.name]["scales"]
    if options.scale not in scales:
        raise ValueError(
            f"{options.name} has the sizes {', '.join(scales)}, not {options.scale}; choose another --scale"
        )


def program(commands: Sequence[str], version: str) -> Parser:
    """The parser of `metagrad` without a command."""
    parser = Parser("metagrad", "Meta-learning with any meta-gradient estimator between first-order and exact.")
    parser.add_argument("--version", action="version", version=f"metagrad {version}")
    parser.add_argument(
        "command",
        metavar="COMMAND",
        help=f"{', '.join(commands)}. train: meta-train a model and test it; evaluate: test a run again; compare: "
        "measure all estimators; reproduce: a figure or table of a paper, measured; report: all results of a directory "
        "on one page; list: presets, estimators, rules, studies; `metagrad COMMAND --help` tells more "
        "(try `metagrad train sinusoid`)",
    )
    return parser
