"""What `metagrad report` does: a directory's results gathered into one page; errors are for `cli` to print."""

import os
from datetime import UTC, datetime
from pathlib import Path

from metagrad import parsers, terminal
from metagrad.experiments.own import import_typed
from metagrad.foreign import plain
from metagrad.opening import reading
from metagrad.reporting.gathering import REPORT, gather
from metagrad.reporting.page import GENERATOR, html
from metagrad.training.files import replacing, require_writable
from metagrad.training.leftovers import remove_files

_HEAD = 1024  # bytes; the page names its maker within them


def run_report(arguments: list[str]) -> int:
    """`metagrad report`: one HTML page of all runs, comparisons and studies in a directory."""
    options = parsers.report().parse(arguments)
    import_typed({"import": options.imported or ""})
    root = Path(options.directory)
    if not root.is_dir():
        raise ValueError(f"{root} is not a directory; name one that holds runs or studies, such as {terminal.RUNS}")
    page = terminal.given_path(options.out) or root / REPORT
    _check(page)
    console = terminal.console()
    gathered = gather(root, page)
    for note in gathered.notes:
        terminal.say(console, " ".join(plain(f"note: {note.where} {note.text}").split()))
    if not gathered.entries:
        raise ValueError(
            f"{root} holds no run, comparison or study to report; `metagrad train`, `metagrad compare` and "
            "`metagrad reproduce` make them"
        )
    with replacing(page) as file:
        file.write(html(gathered, datetime.now(UTC)).encode())
    for kind, plural in (("study", "studies"), ("comparison", "comparisons"), ("run", "runs")):
        number = sum(entry.kind == kind for entry in gathered.entries)
        if number:
            terminal.say(console, f"{number} {kind if number == 1 else plural}")
    terminal.wrote(console, page)
    return 0


def _check(page: Path) -> None:
    """Refuse to write where that would lose a file, or where there is no directory."""
    if not page.parent.is_dir():
        raise ValueError(f"{page.parent} is not a directory; choose another --out")
    if page.is_dir():
        raise ValueError(f"{page} is a directory; name a file with --out")
    if os.path.lexists(page):
        with reading(page, 2**40) as file:
            if f'content="{GENERATOR}'.encode() not in file.read(_HEAD):
                raise ValueError(f"{page} exists and is no report; choose another --out")
    require_writable(page)
    if page.suffix == ".html":
        remove_files(page.parent, (page.name,))
