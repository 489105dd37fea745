"""What every command shares: the console, paths of results, and the exit status of an interruption."""

from itertools import count
from pathlib import Path

from rich.console import Console

from metagrad.foreign import plain

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

RUNS = Path("runs")
"""Where results go that were given no other place."""

SECONDS_BETWEEN_LINES = 10.0
_PIPED_WIDTH = 120  # characters; a file or pipe has no width of its own, and rich's 80 would fold the tables


def console() -> Console:
    """The console to print on."""
    found = Console()
    return found if found.is_terminal else Console(width=_PIPED_WIDTH)


def given_path(given: str | None) -> Path | None:
    """The path of an --out; ValueError where it is empty."""
    if given is not None and not given.strip():
        raise ValueError("--out is empty; name a path, or leave it out")
    return None if given is None else Path(given)


def free_path(name: str) -> Path:
    """The first of runs/NAME-1, runs/NAME-2, … that is not there."""
    return next(path for number in count(1) if not (path := RUNS / f"{name}-{number}").exists())


def wrote(console: Console, *paths: Path) -> None:
    """Say which files were written."""
    say(console, f"wrote {' and '.join(str(path) for path in paths)}")


def say(console: Console, text: str) -> None:
    """Print text as it is, but for what a terminal would obey: a path may hold that, and what rich takes for markup."""
    console.print(plain(text), highlight=False, markup=False, soft_wrap=True)
