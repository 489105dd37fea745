"""Figure 5: smoothing and distances by hand, verdicts, and a tiny one from end to end."""

import json

import numpy as np
import pytest

from metagrad.experiments.config import Experiment
from metagrad_studies.accuracy.sizes import lasting
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Request
from metagrad_studies.fig5 import Curves, smoothed
from studies.made_accuracies import made, tiny

GENERATED = Request(scale="small")
LABELS = ("FOMAML", "Truncated, L = 2", "Binomial L/K, L = 2", "MAML")


class Tiny(Curves):
    def settings(self, request):
        return tiny(super().settings(request), LABELS)


def records(above, wobble=0.0):
    """Straight curves, that far from MAML's on every step; the seeds differ by `wobble`."""
    settings = Curves().settings(GENERATED)
    rows = made(settings, dict.fromkeys(LABELS, 0.4))
    for record in rows:
        shift = above.get(record["method"], 0.0) + wobble * (record["seed"] - 11) * (record["method"] == "Truncated")
        record["losses"] = [2.0 - 0.01 * step + shift for step in range(100)]
        record["accuracies"] = [0.2 + 0.001 * step - shift / 10 for step in range(100)]
    return settings, rows


def test_curves_are_smoothed_over_a_twentieth():
    steps, values = smoothed({"losses": list(range(100))}, "losses")
    assert steps.tolist() == list(range(5, 101))
    np.testing.assert_allclose(values, [sum(range(i, i + 5)) / 5 for i in range(96)], rtol=1e-14)
    assert smoothed({"accuracies": [0.5, 1.0]}, "accuracies")[1].tolist() == [50.0, 100.0]


def test_distances_are_those_of_parallel_lines():
    settings, rows = records({"Truncated": 0.3, "Binomial L/K": 0.1})
    (finding,) = Curves().findings(settings, Records(rows))
    assert "losses: 0.3 for Truncated, L = 2 and 0.1 for Binomial L/K, L = 2 in loss (nats)" in finding.measured
    assert "accuracies: 3 for Truncated, L = 2 and 1 for" in finding.measured


@pytest.mark.parametrize(
    ("truncated", "binomial", "wobble", "held"),
    [(0.3, 0.1, 0.01, True), (0.1, 0.3, 0.01, False), (0.3, 0.29, 0.2, None)],
)
def test_the_claim(truncated, binomial, wobble, held):
    settings, rows = records({"Truncated": truncated, "Binomial L/K": binomial}, wobble)
    assert Curves().findings(settings, Records(rows))[0].held is held


def test_a_run_that_stopped_early_is_compared_as_far_as_it_went():
    settings, rows = records({"Truncated": 0.3, "Binomial L/K": 0.1})
    rows[1]["losses"] = rows[1]["losses"][:40]
    assert Curves().figure(settings, Records(rows)).axes
    assert Curves().findings(settings, Records(rows))[0].held is True


def test_another_length_keeps_the_number_of_validations():
    config = Curves().settings(GENERATED).data_sets[0].config
    longer = Experiment.from_json(lasting(config, 4000))
    assert (longer.meta_steps, longer.validation.every) == (4000, 1000)


@pytest.mark.slow
def test_a_tiny_figure_from_end_to_end(tmp_path):
    carry_out(Tiny(), GENERATED, tmp_path / "s", "command", Watcher())
    rows = [json.loads(line) for line in (tmp_path / "s" / "records.jsonl").read_text().splitlines()]
    assert [len(record["losses"]) for record in rows] == [3] * 8
    # Equal seeds begin with equal weights and tasks: the first loss is before any difference.
    assert len({record["losses"][0] for record in rows if record["seed"] == 10}) == 1
