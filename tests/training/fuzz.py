"""Run directories changed at random, opened by the commands: `python fuzz.py KIND SEED SECONDS`.

In a process of its own, so that one that is ended by a signal, hangs or fills memory is found out. What is printed last
is the number that a case was made from: `python fuzz.py KIND NUMBER 0` repeats it alone.
"""

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from metagrad import cli
from metagrad.training.manifest import write_manifest
from training import states

OLD = Path(__file__).parent / "old_runs"
VALUES = [
    *states.WRONG.values(),
    *(0, 1, 2, 3, -1, 50, 10**12, 2**63, -(2**63), 10**400, 0.0, -0.0, 1e-300, 1e308, float("inf"), "", "x" * 5000),
    *([], {}, [[]], [None], (), {"a": {"b": []}}, {1: 2}, set(), torch.ones(()), torch.zeros(2, 3, 4), torch.Size([2])),
    *(
        "Exact()",
        "SGD(lr=0.01)",
        "Binomial(order=2)",
        "Auto(tolerance=0.1)",
        "sinusoid",
        "cpu",
        "\x1b[2J",
        "a\nb",
        "\ud800",
    ),
    *(
        "Implicit()",
        "Reptile()",
        "os:system(x=1)",
        "__import__('os')",
        "Exact(" * 50,
        "adam",
        "cosine",
        "float64",
        "best",
    ),
]
"""What takes the place of a value; whole numbers that a configuration may have are small: large ones are much work."""

NESTED = b'{"a":' * 200 + b"1" + b"}" * 200
LINKS = ("/dev/zero", "/dev/full", "/proc/self/mem", "/etc/passwd", "..", "lock")
CONTENTS = (
    b"",
    b"[" * 100_000,
    b"\x00" * 1000,
    b"{}",
    b'{"format": 2}',
    b"\xff\xfe",
    b'{"a":' * 200 + b"1" + b"}" * 200,
)


def places(value):
    return list(states.places(value))


def changed(state, draws):
    """A copy with one to three places replaced, removed, doubled or exchanged."""
    state = copy.deepcopy(state)
    for _ in range(draws.choice((1, 1, 1, 2, 3))):
        at = draws.choice(places(state))
        if draws.random() < 0.15:
            state = states.replaced(state, at, ...)
        elif draws.random() < 0.15:
            other = state
            for name in draws.choice(places(state)):
                other = other[name]
            state = states.replaced(state, at, copy.deepcopy(other))
        else:
            state = states.replaced(state, at, draws.choice(VALUES))
        if not isinstance(state, dict) or not state:
            break
    return state


def bytes_changed(data, draws):
    """Some bytes flipped, cut out, doubled or replaced."""
    data = bytearray(data)
    for _ in range(draws.choice((1, 1, 2, 5, 20))):
        if not data:
            break
        at, length = draws.randrange(len(data)), draws.choice((1, 1, 1, 2, 8, 100))
        match draws.randrange(5):
            case 0:
                data[at] ^= 1 << draws.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at : at + length] = draws.randbytes(length)
            case 4:
                data[at : at + length] = draws.choice((b"\xff", b"\x00")) * length
    return bytes(data)


def checkpoint(run, draws):
    """Its values, or its bytes, under a right checksum."""
    path = run / "checkpoint.pt"
    if draws.random() < 0.7:
        with contextlib.suppress(Exception):  # what torch itself cannot save is no case
            states.write(path, changed(states.read(path), draws))
        return
    data = bytes_changed(path.read_bytes()[32:], draws)
    path.write_bytes(hashlib.sha256(data).digest() + data)


def config(run, draws):
    """The configuration under a right checksum, or some bytes of the file."""
    path = run / "config.json"
    manifest = json.loads(path.read_text())
    if draws.random() < 0.8:
        at = draws.choice(("config", "config", "config", "all"))
        values = changed(manifest["config"] if at == "config" else manifest, draws)
        manifest = {**manifest, "config": values} if at == "config" else values
        with contextlib.suppress(Exception):  # what is no JSON is no case
            write_manifest(run, manifest)
        return
    path.write_bytes(bytes_changed(path.read_bytes(), draws))


def elsewhere(path):
    target = path.parents[2] / "elsewhere" / path.name
    if path.is_file():
        shutil.copy(path, target)
    return target


def directory(run, draws):
    """Files removed, cut, changed, exchanged, linked, without an end, or things that are no files."""
    names = [
        *os.listdir(run),
        "lock",
        "adaptation.png",
        "config.json.0123abcd.partial",
        "x.json",
        "y.png",
        "metrics.jsonl",
    ]
    for _ in range(draws.choice((1, 1, 2, 3))):
        path = run / draws.choice(names)
        whole = path.read_bytes() if path.is_file() and path.lstat().st_size < 2**20 else b"{}"
        kind = draws.randrange(12)
        linked = elsewhere(path) if kind in (4, 5) else None
        if kind not in (0, 1, 2, 3):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            match kind:
                case 0 | 1 | 2:
                    path.write_bytes(bytes_changed(whole, draws))
                case 3:
                    path.write_bytes(whole[: draws.randrange(len(whole) + 1)])
                case 4:
                    path.symlink_to(linked)
                case 5:
                    os.link(linked, path)
                case 6:
                    path.symlink_to(
                        draws.choice(("/dev/zero", "/dev/full", path.name, "..", "/proc/self/mem", "/etc/passwd"))
                    )
                case 7:
                    os.mkfifo(path)
                case 8:
                    path.mkdir()
                case 9:
                    path.touch()
                    os.truncate(path, 2**42)
                case 10:
                    path.write_bytes((run / draws.choice(names)).read_bytes()[: 2**20])
                case 11:
                    path.write_bytes(
                        draws.choice((b"[" * 100_000, b"\x00" * 1000, b"{}", b'{"format": 2}', b"\xff\xfe"))
                    )


KINDS = {"checkpoint": checkpoint, "config": config, "directory": directory}
COMMANDS = {
    "checkpoint": [["train", "--resume", "{run}", "--meta-steps", "4"]],
    "config": [
        ["evaluate", "{run}", "--accept-changes"],
        ["train", "--resume", "{run}", "--accept-changes"],
        ["report", "{runs}"],
    ],
    "directory": [["evaluate", "{run}"], ["train", "--resume", "{run}", "--meta-steps", "4"], ["report", "{runs}"]],
}


def outside(root):
    """Everything but the runs and their page, with what is in it."""
    files = [path for path in sorted(root.rglob("*")) if path.relative_to(root).parts[0] != "runs"]
    return {path: path.read_bytes() if path.is_file() and not path.is_symlink() else None for path in files}


def case(kind, number, root):
    """Make one changed run and open it by each command; says what went wrong, or nothing."""
    draws = random.Random(f"{kind} {number}")
    run = root / "runs" / "run"
    shutil.copytree(draws.choice(sorted(OLD.iterdir())), run)
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "precious").write_text("precious")
    KINDS[kind](run, draws)
    before = outside(root)
    for words in COMMANDS[kind]:
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = cli.main([word.format(run=run, runs=root / "runs") for word in words])
        except BaseException:
            return f"{words}: {traceback.format_exc()}"
        told = err.getvalue()
        if status not in (0, 2) or told.count("\n") != (status == 2):
            return f"{words}: exit status {status}, and on stderr {told[:3000]!r}"
        if "\x1b" in told + out.getvalue():
            return f"{words}: an escape sequence was printed"
        if outside(root) != before:
            return f"{words}: something outside the run was touched"
    return None


def most_resident():
    """The most bytes that this program held; `getrusage` would count what the process held that started it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def main(kind, first, seconds):
    """Cases until the time is over; exit status 1 with the first that goes wrong."""
    torch.set_num_threads(1)
    began, number = time.monotonic(), first
    while number == first or time.monotonic() - began < seconds:
        print(number, flush=True)
        signal.alarm(60)  # what hangs is ended, and the number says which it was
        with tempfile.TemporaryDirectory() as scratch:
            if (wrong := case(kind, number, Path(scratch))) is not None:
                print(wrong)
                return 1
        number += 1
    signal.alarm(0)
    most = most_resident()
    print(f"{number - first} cases, {most / 2**20:.0f} MiB at most")
    return 1 if most > 2**30 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
