"""Capture in experiments: decided once, recorded in the run, and told while it happens."""

from dataclasses import replace

import pytest
from rich.console import Console

from metagrad.experiments import session
from metagrad.experiments.presets import sinusoid
from metagrad.training.bar import Bar
from metagrad.training.progress import Lines, Silent
from metagrad.training.run import Run


def short(meta_steps, **machine):
    config = sinusoid()
    return replace(
        config,
        meta_steps=meta_steps,
        meta_batch=2,
        validation=replace(config.validation, tasks=2, every=meta_steps),
        machine=replace(config.machine, device="cpu", **machine),
    )


def recorded(path):
    return Run(path).config()["machine"]["capture"]


def test_a_short_run_is_not_captured_and_says_so_in_its_config(tmp_path):
    session.start(short(2, capture="auto"), tmp_path / "run", Silent())
    assert recorded(tmp_path / "run") == "off"


@pytest.mark.slow
def test_a_captured_run_tells_what_it_does_and_trains_as_one_that_is_not(tmp_path):
    said = []

    class Listener(Silent):
        def noted(self, text):
            said.append(text)

    for mode in ("off", "whole"):
        config = replace(short(3, capture=mode, dtype="float64"), num_steps=2)
        session.start(config, tmp_path / mode, Listener())
        assert recorded(tmp_path / mode) == mode
    assert [line.split()[0] for line in said] == ["compiling", "compiled"]
    losses = [
        [record["loss"] for record in Run(tmp_path / mode).metrics() if "loss" in record] for mode in ("off", "whole")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize(("field", "value"), [("capture", "sometimes"), ("precision", "fp8"), ("streams", 0)])
def test_impossible_settings_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        short(2, **{field: value})


def test_notes_are_shown_by_every_reporter():
    console = Console(record=True, width=200, force_terminal=True)
    Lines(console, seconds=100).noted("compiling the meta-gradient …")
    bar = Bar(console)
    bar.started(0, 3)
    with bar:
        bar.noted("compiling the outer gradient …")
    shown = console.export_text()
    assert "compiling the meta-gradient" in shown
    assert "compiling the outer gradient" in shown
