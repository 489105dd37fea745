"""The parser of every command, made without torch: what it takes, with its help."""

from collections.abc import Iterable

from metagrad.experiments.options import Line, Parser

PROBLEM_HELP = "a problem of your own, with the methods of metagrad.experiments.problem.Problem"
ACCEPT_HELP = "take the run as it is, although config.json or a major version is another than it was made with"
IMPORT_HELP = "modules of your own to import first, for parts that a run names or that register themselves"


def train(presets: Iterable[str], lines: Iterable[Line]) -> Parser:
    """Of `metagrad train`: an option for every field of the preset besides its own."""
    parser = _experiment("metagrad train", "Train a model and test it.", presets)
    parser.add_argument("--out", metavar="DIR", help="run directory to make [runs/PRESET-N]")
    parser.add_argument("--resume", metavar="RUN", help="continue this run, with the configuration it has")
    parser.add_argument("--data", metavar="DIR", help="data directory, short for --problem.data")
    parser.add_argument("--download", action="store_true", help="fetch files that the data directory lacks")
    parser.add_lines(lines)
    return parser


def resume() -> Parser:
    """Of `metagrad train --resume`."""
    parser = Parser("metagrad train --resume", "Continue a run to the bit as if it had never stopped.")
    parser.add_argument("--resume", metavar="RUN", required=True, help="run directory")
    parser.add_argument("--data", metavar="DIR", help="where the data are now, if they have moved")
    parser.add_argument("--meta-steps", metavar="N", type=int, help="train to this many meta-steps instead")
    parser.add_argument("--accept-changes", action="store_true", help=ACCEPT_HELP)
    return _with_import(parser)


def compare(presets: Iterable[str], lines: Iterable[Line]) -> Parser:
    """Of `metagrad compare`: an option for every field of the preset besides its own."""
    parser = _experiment(
        "metagrad compare", "Measure every estimator on one model: error, cost, time and memory.", presets
    )
    parser.add_argument("--out", metavar="DIR", help="directory to make for the results [runs/compare-PRESET-N]")
    parser.add_argument("--data", metavar="DIR", help="data directory, short for --problem.data")
    parser.add_argument("--tasks", metavar="N", type=int, default=20, help="tasks for the error [20]")
    parser.add_argument("--repeats", metavar="N", type=int, default=5, help="timed repetitions [5]")
    parser.add_argument(
        "--anchor", metavar="STRENGTH", type=float, default=2.0, help="proximal term of those that need one [2.0]"
    )
    parser.add_lines(lines)
    return parser


def evaluate() -> Parser:
    """Of `metagrad evaluate`."""
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
    parser.add_argument("--accept-changes", action="store_true", help=ACCEPT_HELP)
    return _with_import(parser)


def reproduce(studies: Iterable[str], data_variable: str) -> Parser:
    """Of `metagrad reproduce`."""
    usage = "metagrad reproduce NAME [--scale SIZE] [--data DIR] [--out DIR] [--jobs N] [--as-published]"
    parser = Parser("metagrad reproduce", "Measure a figure or table of a paper, or go on where that stopped.", usage)
    parser.add_argument("name", metavar="NAME", help=", ".join(studies))
    parser.add_argument(
        "--scale",
        metavar="SIZE",
        default="small",
        help="small (10 minutes of 2 CPU cores), full (the paper's size), or another that the study has [small]",
    )
    parser.add_argument("--data", metavar="DIR", help=f"directory of data sets [${data_variable}]")
    parser.add_argument(
        "--out", metavar="DIR", help="directory of the study, continued if it is there [runs/NAME-SIZE]"
    )
    parser.add_argument(
        "--threads", metavar="N", type=int, help="CPU threads in all [torch's choice, 1 for tiny tensors]"
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="processes that measure at the same time [as many as threads where a study gains by it, 1 at full size]",
    )
    parser.add_argument(
        "--as-published", action="store_true", help="keep the published protocol, with the faults that ours corrects"
    )
    return parser


def report() -> Parser:
    """Of `metagrad report`."""
    parser = Parser(
        "metagrad report",
        "Gather all runs, comparisons and studies in a directory into one HTML page that works offline.",
        "metagrad report DIR [--out FILE]",
    )
    parser.add_argument("directory", metavar="DIR", help="directory to look through, such as runs")
    parser.add_argument("--out", metavar="FILE", help="the page to write; a report there is replaced [DIR/report.html]")
    return _with_import(parser)


def listing() -> Parser:
    """Of `metagrad list`."""
    return _with_import(Parser("metagrad list", "List presets, estimators, rules, solvers and studies."))


def _experiment(prog: str, description: str, presets: Iterable[str]) -> Parser:
    usage = f"{prog} [PRESET] [--problem MODULE:THING] [--out DIR] [--data DIR] [--FIELD VALUE ...]"
    parser = Parser(prog, f"{description} Every field of the preset is an option; its value is in brackets.", usage)
    known = f"{', '.join(presets)}; or a config.json, or a preset of your own, my_module:preset [sinusoid]"
    parser.add_argument("preset", nargs="?", metavar="PRESET", help=known)
    parser.add_argument("--problem", metavar="MODULE:THING", help=PROBLEM_HELP)
    return _with_import(parser)


def _with_import(parser: Parser) -> Parser:
    parser.add_argument("--import", dest="imported", metavar="MODULE,…", help=IMPORT_HELP)
    return parser
