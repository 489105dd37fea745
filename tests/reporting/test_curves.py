"""Learning curves: what is drawn stands for the values."""

import math
import re

import numpy as np
import pytest

from metagrad.reporting.curves import Panel, Validation, panel


def places(path):
    """Coordinates of a path."""
    return [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", path)]


def drawn(training, validations=()):
    found = panel("p", "loss", training, list(validations), None)
    assert found is not None
    return found


def test_a_short_curve_is_every_value_in_its_place():
    curve = drawn([(1, 2.0), (2, 4.0), (3, 3.0)])
    points = places(curve.line)
    (x1, y1), (x2, y2), (x3, y3) = points
    assert x1 < x2 < x3
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)
    assert (y3 - y2) / (y1 - y2) == pytest.approx(0.5, abs=0.01)
    assert curve.band == ""
    assert all(Panel.left <= x <= Panel.right and Panel.top <= y <= Panel.bottom for x, y in points)


def test_ticks_stand_where_their_values_are():
    curve = drawn([(0, 0.0), (10, 10.0)])
    by_text = {label: at for at, label in curve.vertical}
    (_, bottom), (_, top) = places(curve.line)
    for label, at in by_text.items():
        assert at == pytest.approx(bottom + float(label) / 10 * (top - bottom), abs=0.2)
    assert all(label.isdigit() for _, label in curve.horizontal)


def test_a_long_curve_is_means_with_a_band():
    generator = np.random.default_rng(0)
    values = 5 + generator.normal(size=20_000)
    curve = drawn([(step, float(value)) for step, value in enumerate(values)])
    assert len(places(curve.line)) == 200
    assert curve.band.endswith("Z")
    heights = [y for _, y in places(curve.line)]
    band = [y for _, y in places(curve.band)]
    assert max(heights) - min(heights) < 0.2 * (max(band) - min(band))


def test_a_large_span_is_logarithmic():
    curve = drawn([(step, 10.0**-step) for step in range(6)])
    assert [label for _, label in curve.vertical] == ["1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]
    steps = np.diff([y for _, y in places(curve.line)])
    assert steps == pytest.approx([steps[0]] * 5, abs=0.2)


def test_few_validations_are_marks_and_many_a_line():
    few = drawn([(0, 1.0)], [Validation(step, 1.0, 0.5) for step in range(5)])
    assert len(few.marks) == 5
    assert few.course == ""
    _, y, top, bottom = few.marks[0]
    assert top < y < bottom
    many = drawn([(0, 1.0)], [Validation(step, 1.0, math.nan) for step in range(500)])
    assert (many.marks, len(places(many.course))) == ([], 200)


def test_what_is_not_finite_is_left_out():
    assert panel("p", "loss", [(1, math.nan), (2, math.inf)], [Validation(1, math.nan, 1.0)], None) is None
    assert panel("p", "loss", [], [], None) is None
    assert len(places(drawn([(1, 1.0), (2, math.nan), (3, 2.0)]).line)) == 2


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-300, 1e90])
def test_a_single_or_constant_value_has_a_place(value):
    for training in ([(1, value)], [(1, value), (2, value)]):
        assert all(math.isfinite(y) for _, y in places(drawn(training).line))


def test_the_course_is_told_in_words():
    words = drawn([(1, 2.0), (9, 0.5)], [Validation(4, 1.5, 0.1), Validation(8, 0.75, 0.1)]).alternative
    assert "in training from 2 at meta-step 1 to 0.5 at 9" in words
    assert "in validation from 1.5 at 4 to 0.75 at 8" in words
