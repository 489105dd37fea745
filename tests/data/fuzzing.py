"""Seeded damage to files, and a child process of bounded memory in which it is read, so that a crash is seen."""

import json
import random
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

MEMORY = 2**30  # bytes beyond what the process has when it begins
SECONDS = 30  # of reading; a test takes these and the start of a process


def damaged(files, draws, tokens=()):
    """One of the files with a few places changed: bits, bytes, tokens, numbers; parts cut, repeated or exchanged."""
    data = bytearray(draws.choice(files))
    for _ in range(draws.choice((1, 1, 1, 2, 3, 8))):
        at = draws.randrange(len(data) + 1)
        length = draws.choice((1, 2, 4, 8, draws.randrange(1, 65)))
        kind = draws.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draws.randrange(8)
        elif kind == 1:
            data[at : at + length] = draws.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            other = draws.choice(files)
            start = draws.randrange(len(other))
            data[at : at + length] = other[start : start + length]
        elif kind == 5:
            size = draws.choice((1, 2, 4, 8))
            number = draws.choice((0, 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, draws.randrange(2 ** (8 * size))))
            data[at : at + size] = number.to_bytes(size, draws.choice(("little", "big")))
        elif kind == 6 and tokens:
            data[at : at + draws.choice((0, 1))] = draws.choice(tokens)
        elif kind == 7 and draws.random() < 0.2:
            del data[at:]
    return bytes(data)


def peak():
    # Not `getrusage`, which would count what the process held that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def bounded(seed, attempt):
    """Call `attempt` with random draws until the time is over; print how often it ended how. For a child process."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    deadline, before, number, ends = time.monotonic() + SECONDS, peak(), 0, {}
    while time.monotonic() < deadline:
        end = attempt(random.Random(f"{seed} {number}"))
        ends[end] = ends.get(end, 0) + 1
        number += 1
        assert peak() - before < MEMORY, f"draw {seed} {number - 1} took {peak() - before} bytes"
    print(json.dumps({"tried": number, **ends}))


def sentence(error, name):
    """Assert that an error is metagrad's own, one printable sentence with the file, and not for want of memory."""
    text = str(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    assert frame.f_globals["__name__"].startswith("metagrad."), frame  # others are no user errors at the command line
    assert name in text, text
    assert text.isprintable(), text
    assert len(text) < 1000, text
    assert "memory" not in text, text


def run_in_child(module, seed):
    """Run `module` (of tests/data) as a program with a seed; what it printed, by name."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-W", "error", "-m", f"data.{module}", str(seed)]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=SECONDS + 60, check=False)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)
