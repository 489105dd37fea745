"""What a command leaves behind: tables on the screen, and JSON with every sample and what it was measured on."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.workers import Machine

LIBRARIES = ("metagrad", "torch", "higher", "torchopt", "jax", "jaxlib", "numpy")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    drawn = Table(title=title, title_justify="left", min_width=min(len(title), 120))
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*row)
    wide = Console()
    # Redirected output has no width of its own; 80 columns would break every line.
    (wide if wide.is_terminal else Console(width=140)).print(drawn)


def milliseconds(seconds: float) -> str:
    """Three significant digits, without an exponent."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def mebibytes(size: float | None) -> str:
    """Three significant digits, or a dash."""
    return "–" if size is None else f"{size / 2**20:.3g}"


def surroundings(machine: Machine, accelerator: str) -> dict[str, Any]:
    """Command, versions and hardware, in plain words."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": machine.threads,
            "device": machine.device,
            "accelerator": accelerator,
            "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        },
        "versions": {"python": platform.python_version(), "system": platform.platform(), **_versions()},
    }


def write(path: Path, record: dict[str, Any]) -> None:
    """Write JSON, one key to a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
