"""Progress: at 80 columns it keeps bar, step and time left; it always moves; elsewhere a line now and then."""

import io
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from metagrad import cli, terminal
from metagrad.experiments import session
from metagrad.spelling import spell_out
from metagrad.training import RunWriter
from metagrad.training.bar import Bar
from metagrad.training.progress import Lines, Pace, duration, sentence
from training.test_trainer import a_trainer

OLD = Path(__file__).parent / "old_runs" / "0.1.0"
VALUES = {"loss": 0.1234, "error_estimate": 0.012, "error_probe": 3.4, "accuracy": 0.456, "tasks/s": 1234.5}


def shown(width, act, encoding="utf-8", clock=time.monotonic, times=1):
    """The rows that a terminal of this width shows after `act(bar)`, drawn that many times."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    spell_out(file)
    console = Console(
        file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False, get_time=clock
    )
    bar = Bar(console)
    act(bar)
    for _ in range(times):
        console.print(bar._rows.get_renderable())
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


def training(bar, steps=60_000, at=58_765):
    bar.started(0, steps)
    bar.stepped(at - 1, VALUES)
    bar.validated(at - 1, {"loss": 0.2, "accuracy": 0.5}, True)
    bar.stepped(at, VALUES)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_row_is_one_line_with_bar_step_and_time_left(width, encoding):
    (line,) = shown(width, training, encoding)
    assert len(line) <= width
    assert "━━━" in line if encoding == "utf-8" else "---" in line
    assert "58765/60000" in line
    assert " s left" in line


def test_diagnostics_go_first_and_no_number_is_cut():
    texts = ["loss 0.1234", "accuracy 45.6 %", "1234 tasks/s", "validation loss 0.2000 (best)", "error ≈ 0.012"]
    kept = [[text in shown(width, training)[0] for text in texts] for width in (80, 100, 120, 150, 200)]
    assert kept[0][0]
    assert kept[-1] == [True] * 5
    for line in kept:
        assert line == sorted(line, reverse=True)  # what is there is the beginning of the list
    assert kept == sorted(kept)


@pytest.mark.parametrize("text", ["compiling the meta-gradient …", "a [bold] note that is far too long " * 9])
def test_notes_are_shown_as_they_are(text):
    (line,) = shown(80, lambda bar: (bar.started(0, 5), bar.noted(text)))
    assert text[:10] in line
    assert "0/5" in line


def test_something_moves_while_nothing_is_reported():
    def act(bar):
        bar.started(0, 5)
        bar.noted("compiling")

    rows = shown(80, act, clock=(0.03 * n for n in range(200)).__next__, times=4)
    assert len(rows) == 4
    assert len(set(rows)) > 1


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_time_left_is_known_from_the_first_step_and_forgets_what_compiling_took():
    clock = Clock()
    pace = Pace(clock)
    pace.started(10, 100)
    clock.now += 60
    assert pace.stepped(11) == pytest.approx(89 * 60)
    for step in range(12, 20):
        clock.now += 0.5
        assert pace.stepped(step) == pytest.approx((100 - step) * 0.5)
    assert pace.stepped(100) == 0


def test_time_left_follows_the_latest_steps():
    clock = Clock()
    pace = Pace(clock)
    pace.started(0, 1000)
    for step in range(1, 301):
        clock.now += 1.0 if step <= 150 else 3.0
        left = pace.stepped(step)
    assert left == pytest.approx(700 * 3.0)


def lines_of(act, seconds=10.0, entered=True):
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200), seconds)
    if entered:
        with lines:
            act(lines)
    else:
        act(lines)
    return text.getvalue().splitlines()


def test_the_first_step_has_speed_and_time_left():
    def act(lines):
        lines.started(5, 2000)
        for step in range(6, 20):
            lines.stepped(step, VALUES)

    (line,) = lines_of(act, entered=False)
    assert line.startswith("meta-step 6/2000  loss 0.1234  accuracy 45.6 %  1234 tasks/s  error ≈ 0.012  probed 3.4  ")
    assert line.endswith(" left")


def test_there_is_a_line_again_and_again_while_nothing_is_reported():
    def act(lines):
        lines.started(0, 10)
        lines.noted("compiling the meta-gradient …")
        time.sleep(0.35)
        lines.warned("mind the gap")
        lines.at("decoding")
        time.sleep(0.12)

    said = lines_of(act, seconds=0.05)
    assert said[0] == "compiling the meta-gradient …"
    waiting = [line for line in said if line.startswith("compiling the meta-gradient: ")]
    assert 3 <= len(waiting) <= 7
    assert waiting[0].endswith("0 s so far")
    assert said[len(waiting) + 1] == "warning: mind the gap"
    assert said[-1].startswith("decoding: ")
    time.sleep(0.1)


def test_nothing_is_said_twice_where_there_is_enough():
    def act(lines):
        lines.started(0, 100)
        for step in range(1, 21):
            lines.stepped(step, {"loss": 1.0})
            time.sleep(0.01)

    assert len(lines_of(act, seconds=0.08)) <= 4


def test_a_validation_that_takes_its_time_is_no_silence(tmp_path, monkeypatch):
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200), 0.05)
    trainer = a_trainer(1, reporter=lines)
    evaluate = "metagrad.training.trainer.evaluate"
    original = trainer.__class__._validate.__globals__["evaluate"]
    monkeypatch.setattr(evaluate, lambda *a, **k: (time.sleep(0.3), original(*a, **k))[1])
    with RunWriter.create(tmp_path / "run", {}, trainer.state(), trainer.learner.state_dict()) as run, lines:
        trainer.train(run)
    assert text.getvalue().count("the last validation: 0 s so far") >= 2


def test_evaluating_speaks_now_and_then(tmp_path, monkeypatch, capsys):
    run = shutil.copytree(OLD, tmp_path / "run")
    monkeypatch.setattr(terminal, "SECONDS_BETWEEN_LINES", 0.05)
    measure = session.measure
    monkeypatch.setattr("metagrad.experiments.session.measure", lambda *a: (time.sleep(0.3), measure(*a))[1])
    assert cli.main(["evaluate", str(run)]) == 0
    assert capsys.readouterr().out.count("measuring 3 test tasks: ") >= 2


def test_words():
    assert sentence({"error_probe": 0.5, "loss": 1.0}) == "loss 1.0000  probed 0.5"
    assert [duration(s) for s in (0.4, 119, 121, 7300)] == ["0 s", "119 s", "2 min", "2.0 h"]
