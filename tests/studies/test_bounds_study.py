"""The paper's Figure 2: curves against closed forms, and what is said of curves that are not as claimed."""

from dataclasses import replace

import pytest

from metagrad.training.progress import Silent
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Records
from metagrad_studies.core.runner import carry_out
from metagrad_studies.core.study import Bench, Request
from metagrad_studies.fig2 import Bounds

SMALL = Request(scale="small")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    study, settings = Bounds(), Bounds().settings(SMALL)
    bench = Bench(tmp_path_factory.mktemp("cell"), None, Silent())
    return [{**cell.values, **row} for cell in study.cells(settings) for row in study.measure(settings, cell, bench)]


def value(records, theorem, family, order):
    [found] = [r["bound"] for r in records if (r["theorem"], r["estimator"], r["order"]) == (theorem, family, order)]
    return found


def test_every_curve_is_its_closed_form(records):
    assert len(records) == 3 * (1 + 2 * 5)
    assert max(abs(r["bound"] - r["closed_form"]) for r in records) <= 1e-12


def test_values_of_the_paper_by_hand(records):
    # α·H = ¼, K = 5: powers of 5/4 and 3/4.
    assert value(records, "3.6", "FirstOrder", 0) == pytest.approx((5 / 4) ** 5 - 1, abs=1e-14)
    assert value(records, "3.6", "Truncated", 4) == pytest.approx((5 / 4) ** 5 - (5 / 4) ** 4, abs=1e-14)
    assert value(records, "3.6", "Binomial", 4) == pytest.approx(1 / 4**5, abs=1e-15)
    assert value(records, "3.6", "Binomial", 3) == pytest.approx(5 / 4**4 + 1 / 4**5, abs=1e-15)
    assert value(records, "3.8", "FirstOrder", 0) == pytest.approx(1 - (3 / 4) ** 5, abs=1e-14)
    assert value(records, "3.8", "Truncated", 3) == pytest.approx(1 - (3 / 4) ** 2, abs=1e-14)
    assert value(records, "3.8", "Binomial", 2) == pytest.approx(10 / 4**3, abs=1e-14)
    assert all(value(records, name, family, 5) == 0 for name in ("3.6", "3.8") for family in ("Truncated", "Binomial"))


def test_the_claims_hold(tmp_path):
    findings = carry_out(Bounds(), SMALL, tmp_path / "fig2", "metagrad reproduce fig2", Watcher())
    assert [finding.held for finding in findings] == [True, True]
    assert "12 of 12 pairs" in findings[0].measured


def test_curves_that_are_not_as_claimed_are_told(records):
    settings = Bounds().settings(SMALL)
    raised = [dict(r, bound=r["bound"] + (0.9 if r["estimator"] == "Binomial" else 0.0)) for r in records]
    order, closed = Bounds().findings(settings, Records(raised))
    assert order.held is False
    assert closed.held is False
    [first, *rest] = records
    assert (
        Bounds().findings(settings, Records([dict(first, closed_form=first["bound"] + 2e-12), *rest]))[1].held is False
    )


def test_other_numbers_of_steps_agree_as_well(tmp_path):
    study = Bounds()
    for steps in (1, 2, 8):
        settings = replace(study.settings(SMALL), num_steps=steps)
        bench = Bench(tmp_path, None, Silent())
        rows = [r for cell in study.cells(settings) for r in study.measure(settings, cell, bench)]
        assert max(abs(r["bound"] - r["closed_form"]) for r in rows) <= 1e-12
