"""What `metagrad reproduce` does: a study measured, or continued; errors are for `cli` to print."""

import os
from contextlib import nullcontext
from typing import get_args

import torch

from metagrad import checks, terminal
from metagrad.experiments.options import Parser
from metagrad.experiments.problem import DATA_VARIABLE
from metagrad_studies.catalogue import STUDIES
from metagrad_studies.progress import CellBars, CellLines
from metagrad_studies.runner import carry_out
from metagrad_studies.study import Asked, Scale
from metagrad_studies.summary import verdict


def run_reproduce(arguments: list[str]) -> int:
    """`metagrad reproduce`: a study, measured or continued."""
    usage = "metagrad reproduce NAME [--scale small|medium|full] [--data DIR] [--out DIR] [--jobs N] [--as-published]"
    parser = Parser("metagrad reproduce", "Measure a figure or table of a paper, or go on where that stopped.", usage)
    parser.add_argument("name", metavar="NAME", choices=list(STUDIES), help=", ".join(STUDIES))
    parser.add_argument(
        "--scale",
        choices=get_args(Scale),
        default="small",
        help="the paper's size, one for 10 minutes of 2 CPU cores, or between the two where a study has that [small]",
    )
    parser.add_argument("--data", metavar="DIR", help=f"directory of data sets [${DATA_VARIABLE}]")
    parser.add_argument(
        "--out", metavar="DIR", help="directory of the study, continued if it is there [runs/NAME-SCALE]"
    )
    parser.add_argument("--threads", metavar="N", type=int, help="CPU threads in all [torch's choice]")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="processes that measure at the same time [as many as threads where a study gains by it, 1 at full size]",
    )
    parser.add_argument(
        "--as_published", action="store_true", help="keep the published protocol, with the faults that ours corrects"
    )
    options = parser.parse(arguments)
    study = STUDIES[options.name]
    if options.threads is not None:
        checks.integer("--threads", options.threads, least=1)
        torch.set_num_threads(options.threads)
    if options.jobs is not None:
        checks.integer("--jobs", options.jobs, least=1)
    asked = Asked(
        scale=options.scale, data=options.data or os.environ.get(DATA_VARIABLE), as_published=options.as_published
    )
    default = torch.get_num_threads() if study.side_by_side and asked.scale != "full" else 1
    suffix = "-as-published" if asked.as_published else ""
    path = terminal.given_path(options.out) or terminal.RUNS / f"{study.name}-{asked.scale}{suffix}"
    console = terminal.console()
    watcher = (
        CellBars(console) if console.is_terminal else nullcontext(CellLines(console, terminal.SECONDS_BETWEEN_LINES))
    )
    try:
        with watcher as watching:
            findings = carry_out(study, asked, path, _command(asked, study.name), watching, options.jobs or default)
    except KeyboardInterrupt:
        terminal.say(console, "interrupted; the same command goes on where it stopped")
        return terminal.INTERRUPTED
    for finding in findings:
        terminal.say(console, f"claim: {finding.claim}")
        terminal.say(console, f"  measured: {finding.measured}")
        terminal.say(console, f"  held here: {verdict(finding)}")
    terminal.wrote(console, *(path / name for name in ("summary.md", "figure.png", "records.csv")))
    return 0


def _command(asked: Asked, name: str) -> str:
    """What a reader types for the same numbers; a directory of data is not the same on two machines."""
    data = " --data DIR" if asked.data else ""
    return f"metagrad reproduce {name} --scale {asked.scale}{data}{' --as-published' if asked.as_published else ''}"
