"""What `metagrad list` does: everything that there is to choose from, without importing torch."""

import sys

from rich.table import Table

from metagrad import parsers, studies, surface, terminal
from metagrad.experiments.own import import_typed

_TITLES = {
    "estimator": "Estimators: --estimator",
    "rule": "Update rules: --rule",
    "setting": "In place of a number of a rule: --rule.lr",
    "solver": "Solvers of Implicit: --estimator.solver",
}


def run_list(arguments: list[str]) -> int:
    """`metagrad list`: what there is to choose from."""
    options = parsers.listing().parse(arguments)
    import_typed({"import": options.imported or ""})
    console, known = terminal.console(), surface.surface()
    presets = Table("preset", "what it is", "estimator", title="Presets: metagrad train PRESET", title_justify="left")
    for name, preset in known["presets"].items():
        presets.add_row(name, preset["about"], preset["estimator"])
    console.print(presets)
    for kind, title in _TITLES.items():
        table = Table("as typed without arguments", "what it is", title=title, title_justify="left")
        for part in known["parts"].values():
            if part["kind"] == kind:
                table.add_row(part["usual"], part["about"])
        if kind == "estimator" and "metagrad.estimators.families" in sys.modules:  # else nobody has registered any
            for cls in sys.modules["metagrad.estimators.families"].registered():
                table.add_row(cls.__name__, (cls.__doc__ or "").strip().partition("\n")[0])
        console.print(table)
    table = Table(
        "study", "what it measures", "source", title="Studies: metagrad reproduce STUDY", title_justify="left"
    )
    for name, (title, source) in _studies().items():
        table.add_row(name, title, source)
    console.print(table)
    return 0


def _studies() -> dict[str, tuple[str, str]]:
    """Title and source of each study; looked up in its module where a package does not list its studies."""
    listed = surface.studies()
    if listed is not None:
        return {name: (study["title"], study["source"]) for name, study in listed.items()}
    found = {name: catalogue[name] for name, catalogue in studies.catalogues().items()}
    return {name: (study.title, study.source) for name, study in found.items()}
