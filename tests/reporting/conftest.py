"""A directory with a run, a comparison and a study, made once by the commands themselves."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from metagrad import cli
from metagrad.experiments.compare import Effort, Row, record
from metagrad.experiments.presets import PRESETS

SMALL = (
    *("--problem.hidden", "8", "--meta_batch", "3", "--validation.tasks", "4", "--validation.every", "2"),
    *("--test.tasks", "5", "--test.steps", "6", "--meta-steps", "4", "--machine.device", "cpu"),
)


def row(estimator, error, **values):
    """One row of a comparison with made-up numbers."""
    given = {
        **{"family": estimator.partition("(")[0], "size": None, "proximal": None, "cosine": 0.9876, "products": 5},
        **{"rounds": 2, "solves": 0, "seconds": 0.0123, "peak_bytes": 3 * 2**20, **values},
    }
    return Row(estimator=estimator, error=error, **{"estimates": "meta-gradient", **given})


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("made") / "runs"
    assert cli.main(["train", "sinusoid", "--out", str(root / "sines"), *SMALL]) == 0
    assert cli.main(["reproduce", "fig2", "--out", str(root / "bounds")]) == 0
    rows = [
        row("FirstOrder()", (0.31, 0.32, 0.33)),
        row("Binomial(order=3)", (4e-4, 4.321e-4, 5e-4)),
        row("Implicit()", (0.5, 0.71, 0.9), proximal=2.0),
        row("Exact()", (0.0, 0.0, 0.0)),
    ]
    comparison = root / "compared"
    comparison.mkdir()
    values = record(PRESETS["sinusoid"](), Effort(tasks=2, repeats=1, proximal=2.0), rows, "metagrad compare sinusoid")
    (comparison / "comparison.json").write_text(json.dumps(values))
    Image.new("RGB", (30, 20), "white").save(comparison / "comparison.png")
    return root


@pytest.fixture
def runs(made, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


@pytest.fixture
def report(capsys):
    """Write the report of a directory; gives exit status, page, stdout and stderr."""

    def call(directory, *options):
        status = cli.main(["report", str(directory), *map(str, options)])
        captured = capsys.readouterr()
        page = Path(options[options.index("--out") + 1] if "--out" in options else Path(directory) / "report.html")
        return status, page.read_text(encoding="utf-8") if page.is_file() else "", captured.out, captured.err

    return call
