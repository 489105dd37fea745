"""What a survey finds, and when two of its marks are equal."""

import functools
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import nn

from metagrad.capture.survey import survey


@dataclass
class Box:
    value: object = 1.0
    more: dict = field(default_factory=dict)


class Opaque:
    value = 1


FACTOR = 2.0
OPTIONS, SPACE = {"a": 1}, SimpleNamespace(b=1)


def reads_a_global(x):
    return [FACTOR * part for part in x]


def reads_globals(x):
    return OPTIONS["a"] * SPACE.b * x


def reads_it_inside(x):
    def inner(part):
        return FACTOR * part

    return inner(x)


def closing_over(value):
    return lambda: value


def with_default(value):
    def function(x=value):
        return x

    return function


def same(first, second):
    return survey(first).mark == survey(second).mark


def test_equal_values_have_equal_marks():
    for make in (
        lambda: 1.0,
        lambda: float("nan"),
        lambda: [1, "two", None, torch.float32],
        lambda: {"a": (1, {2, 3})},
        lambda: Box(Box([1.0])),
        lambda: functools.partial(reads_a_global, 2, x=3),
        lambda: torch.zeros(2, 3),
        lambda: nn.Linear(2, 3),
        lambda: closing_over(Box(2)),
    ):
        assert same(make(), make())


def test_different_values_have_different_marks():
    one = Opaque()
    for first, second in (
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ([1], (1,)),
        ({"a": 1}, {"b": 1}),
        (Box(1), Box(2)),
        (Box(more={"a": 1}), Box(more={"a": 2})),
        (torch.float32, torch.float64),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2, 3), torch.zeros(3, 2).T),
        (torch.zeros(2), torch.zeros(2).double()),
        (torch.zeros(2), torch.zeros(2, requires_grad=True)),
        (functools.partial(reads_a_global, 2), functools.partial(reads_a_global, 3)),
        (closing_over(2), closing_over(3)),
        (with_default(2), with_default(3)),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (nn.Linear(2, 3), nn.Linear(2, 3).eval()),
        (nn.Linear(2, 3), nn.Linear(2, 3, bias=False)),
        (one, Opaque()),
    ):
        assert not same(first, second), (first, second)
    assert same(one, one)


def test_globals_of_functions_and_of_functions_inside_them(monkeypatch):
    for function in (reads_a_global, reads_it_inside):
        with monkeypatch.context() as patch:
            before = survey(function).mark
            assert survey(function).mark == before
            patch.setitem(function.__globals__, "FACTOR", 3.0)
            assert survey(function).mark != before


def test_settings_of_torch_are_part_of_the_mark():
    before = survey(1).mark
    with torch.autocast("cpu", torch.bfloat16):
        assert survey(1).mark != before
    torch.set_default_dtype(torch.float64)
    try:
        assert survey(1).mark != before
    finally:
        torch.set_default_dtype(torch.float32)
    assert survey(1).mark == before


def test_shared_tensors_are_met_once_and_sharing_is_marked():
    a, b = torch.zeros(2), torch.zeros(2)
    shared, apart = survey([a, a, {"b": b}]), survey([a, torch.zeros(2), {"b": b}])
    assert [id(t) for t in shared.tensors] == [id(a), id(b)]
    assert len(apart.tensors) == 3
    assert shared.mark != apart.mark
    assert survey([a, b, a]).mark != survey([a, b, b]).mark


def test_tensors_come_in_one_order():
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    assert [id(t) for t in survey(first).tensors] == [id(first.weight), id(first.bias)]
    assert [t.shape for t in survey(first).tensors] == [t.shape for t in survey(second).tensors]


def test_values_of_tensors_do_not_count():
    buffer = torch.zeros(2)
    before = survey(buffer).mark
    buffer.add_(1)
    assert survey(buffer).mark == before


def test_cycles_end():
    def make():
        ring = [1.0]
        ring.append(ring)
        box = Box(ring)
        box.more["self"] = box
        module = nn.Linear(2, 2)
        object.__setattr__(module, "owner", [module, box])
        return module

    def recursive(n):
        return recursive(n - 1) if n else FACTOR

    assert same(make(), make())
    assert survey(recursive).mark == survey(recursive).mark


def test_attributes_that_the_code_names():
    class Trainer:
        rate = 1.0

        def __init__(self):
            self.weight, self.options, self.space = 1.0, {"a": 1}, SimpleNamespace(b=1, c=1)
            self.taken, self.other = 0, 1.0

        def loss(self):
            return self.weight * self.factor * self.options["a"] * self.space.b

        def other_loss(self):
            return self.other

        @property
        def factor(self):
            return self.rate

    trainer = Trainer()
    roots = [trainer.loss, trainer.other_loss]
    for change in (
        lambda: setattr(trainer, "weight", 2.0),
        lambda: setattr(trainer, "options", {"a": 2}),
        lambda: trainer.options.update(a=3),
        lambda: setattr(trainer.space, "b", 2),
        lambda: setattr(Trainer, "rate", 2.0),
        lambda: setattr(trainer, "other", 2.0),
    ):
        before = survey(*roots).mark
        change()
        assert survey(*roots).mark != before
    before = survey(*roots).mark
    trainer.taken += 1  # which neither reads
    assert survey(*roots).mark == before


def test_all_attributes_where_no_code_leads_to_an_object():
    one = Opaque()
    before = survey(one).mark
    one.value = 2
    assert survey(one).mark != before


def test_globals_that_hold_values():
    before = survey(reads_globals).mark
    assert survey(reads_globals).mark == before
    OPTIONS["a"] += 1
    assert survey(reads_globals).mark != before
    before = survey(reads_globals).mark
    SPACE.b += 1
    assert survey(reads_globals).mark != before


def test_what_counts_by_identity_stays_alive():
    found = survey(Opaque())
    assert any(isinstance(held, Opaque) for held in found.held)
