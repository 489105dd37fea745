"""What `metagrad reproduce` does: a study measured, or continued; errors are for `cli` to print."""

import os

import torch

from metagrad import checks, parsers, studies, terminal
from metagrad.experiments.options import DATA_VARIABLE, unknown
from metagrad.experiments.threads import one_unless_chosen


def run_reproduce(arguments: list[str]) -> int:
    """`metagrad reproduce`: a study, measured or continued."""
    catalogues = studies.catalogues()
    options = parsers.reproduce(catalogues, DATA_VARIABLE).parse(arguments)
    if options.name not in catalogues:
        raise unknown("study", options.name, catalogues)
    name, scale = options.name, options.scale
    catalogue = catalogues[name]
    study = catalogue[name]
    if scale not in study.scales:
        raise ValueError(f"{name} has the sizes {', '.join(study.scales)}, not {scale}; choose another --scale")
    if options.threads is not None:
        checks.integer("--threads", options.threads, least=1)
        torch.set_num_threads(options.threads)
    if options.jobs is not None:
        checks.integer("--jobs", options.jobs, least=1)
    data = options.data or os.environ.get(DATA_VARIABLE)
    jobs = options.jobs or (torch.get_num_threads() if study.side_by_side and scale != "full" else 1)
    if options.threads is None and study.tiny:
        torch.set_num_threads(one_unless_chosen())
    suffix = "-as-published" if options.as_published else ""
    path = terminal.given_path(options.out) or terminal.RUNS / f"{name}-{scale}{suffix}"
    # What a reader types for the same numbers; a directory of data is not the same on two machines.
    command = f"metagrad reproduce {name} --scale {scale}{' --data DIR' if data else ''}"
    command += " --as-published" if options.as_published else ""
    console = terminal.console()
    request = {"scale": scale, "data": data, "as_published": options.as_published}
    try:
        findings = catalogue.carry_out(name, path, command, console, jobs, **request)
    except KeyboardInterrupt:
        terminal.say(console, "interrupted; the same command goes on where it stopped")
        return terminal.INTERRUPTED
    for finding in findings:
        terminal.say(console, f"claim: {finding.claim}")
        terminal.say(console, f"  measured: {finding.measured}")
        terminal.say(console, f"  held here: {studies.VERDICTS[finding.held]}")
    terminal.wrote(console, *(path / file for file in ("summary.md", "figure.png", "records.csv")))
    return 0
