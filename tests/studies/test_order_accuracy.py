"""order-and-accuracy: its rows and sizes, and verdicts on made records."""

import pytest

from metagrad.experiments.config import Experiment
from metagrad_studies.catalogue import STUDIES
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Request
from metagrad_studies.error_and_accuracy import ErrorAccuracy
from metagrad_studies.order_and_accuracy import OrderAccuracy
from studies.made_accuracies import made

FAMILIES = ("Truncated", "Binomial plain", "Binomial L/K", "Binomial auto")


def test_rows_are_every_order_of_every_family_between_the_two_ends():
    settings = OrderAccuracy().settings(Request(scale="small"))
    assert [m.label for m in settings.methods] == [
        "FOMAML",
        *(f"{family}, L = {order}" for order in (1, 2, 3, 4) for family in FAMILIES),
        "MAML",
    ]
    assert isinstance(STUDIES["order-and-accuracy"], OrderAccuracy)


def test_small_is_the_sinusoid_and_other_sizes_add_signals():
    lengths = {}
    for scale in ("small", "medium", "full"):
        settings = OrderAccuracy().settings(Request(scale=scale))
        assert settings.deciding == settings.data_sets[0].title == "Sinusoid"
        assert settings.not_found == ("Omniglot 20-way 1-shot",)
        lengths[scale] = {data.title: Experiment.from_json(data.config).meta_steps for data in settings.data_sets}
    assert lengths["small"] == {"Sinusoid": 1000}
    assert list(lengths["medium"]) == list(lengths["full"]) == ["Sinusoid", "MNIST-1D 5-way 1-shot"]
    assert 1000 < lengths["medium"]["Sinusoid"] < lengths["full"]["Sinusoid"]


@pytest.mark.parametrize(
    "scale", ["small", *(pytest.param(size, marks=pytest.mark.slow) for size in ("medium", "full"))]
)
def test_data_add_one_omniglot_set_as_error_and_accuracy_has_it(scale, shared_data):
    request = Request(scale=scale, data=str(shared_data))
    settings = OrderAccuracy().settings(request)
    assert settings.deciding == settings.data_sets[-1].title == "Omniglot 20-way 1-shot"
    assert settings.not_found == ()
    assert [data.title for data in settings.data_sets].count("Omniglot 20-way 1-shot") == 1
    others = {data.title: data.config for data in ErrorAccuracy().settings(request).data_sets}
    assert all(data.config == others[data.title] for data in settings.data_sets)


def test_a_table_a_figure_and_verdicts_with_four_orders():
    study = OrderAccuracy()
    settings = study.settings(Request(scale="small"))
    means = {m.label: 0.3 + 0.01 * row for row, m in enumerate(settings.methods)}
    rows = made(settings, means)
    for record in rows:
        error = 0.0 if record["method"] == "MAML" else 1.0 / record["accuracy"]
        record |= {"probe_steps": [1, 6], "probe_errors": [error, error], "training_seconds": 3.0}
        record["loss_tasks"] = [1 - accuracy for accuracy in record["accuracy_tasks"]]
        record["loss"] = 1 - record["accuracy"]
    table, *_ = study.listings(settings, Records(rows))
    assert [row[0] for row in table.rows] == [m.label for m in settings.methods]
    first, second, *_ = study.findings(settings, Records(rows))
    assert first.claim.startswith("Binomial auto, L = 2 closes at least 90 %")
    assert (first.held, second.held) == (False, False)  # 8 and 4 of 17 steps between the ends
    assert study.findings(settings, Records(rows))[-1].held is True
    assert len(study.figure(settings, Records(rows)).axes) == 2
