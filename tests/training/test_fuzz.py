"""Runs changed at random: exit status 0 or 2 with one sentence, nothing outside touched, at most 1 GiB of memory."""

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 45


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["checkpoint", "config", "directory"])
def test_commands_survive_what_strangers_send(kind):
    """The same cases each time, as many as the time allows; `fuzz.py` says how one of them is repeated."""
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), kind, "0", str(SECONDS)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=4 * SECONDS)
    last = "\n".join(ended.stdout.splitlines()[-40:])
    assert ended.returncode == 0, f"{last}\n{ended.stderr[-3000:]}"
