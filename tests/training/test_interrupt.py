"""Signals between two meta-steps: SIGTERM saves as Ctrl-C does, and only a second Ctrl-C is impatience."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from metagrad.training import Run, Silent
from metagrad.training.interrupt import deferred_interrupt, terminated_as_interrupted
from training.test_trainer import trained


class Send(Silent):
    """Sends signals to this process at a meta-step."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def stepped(self, step, values):
        if step == 7:
            for number in self.numbers:
                os.kill(os.getpid(), number)


TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize("numbers", [(TERM,), (TERM, TERM), (INT,), (INT, TERM)])
def test_a_checkpoint_is_written_after_the_step(numbers, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", 12, reporter=Send(*numbers))
    assert Run(tmp_path / "run").checkpoint()["step"] == 7


@pytest.mark.parametrize("numbers", [(INT, INT), (TERM, INT)])
def test_impatience_interrupts_at_once(numbers, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", 12, reporter=Send(*numbers))
    assert Run(tmp_path / "run").checkpoint()["step"] < 7


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (TERM, INT)]
    with deferred_interrupt() as asked, terminated_as_interrupted():
        assert not asked()
    assert [signal.getsignal(number) for number in (TERM, INT)] == before


def test_outside_the_main_thread_there_are_no_signals():
    heard = []

    def run():
        with deferred_interrupt() as asked:
            heard.append(asked())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert heard == [False]


@pytest.mark.slow
@pytest.mark.parametrize("number", [TERM, INT])
def test_a_command_that_is_ended_says_how_to_go_on(number, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "metagrad.cli", "train", "--meta-steps", "100000", "--out", str(run)]
    command += ["--problem.hidden", "8", "--machine.device", "cpu", "--machine.capture", "off", "--optimizer.schedule"]
    process = subprocess.Popen([*command, "constant"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert f"interrupted; continue with: metagrad train --resume {run}" in out
    steps = [record["step"] for record in Run(run).metrics() if record["kind"] == "train"]
    assert Run(run).checkpoint()["step"] == steps[-1] >= 1
