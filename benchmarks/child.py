"""The child process: one contender's library, asked through lines of JSON.

Requests are {"do": …, "label": …, …}, answers {"ok": …} or {"unavailable": sentence} or {"failed": sentence}. A child
may hold several set-ups, each under a label. What libraries print goes to stderr.
"""

import base64
import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import Running, Setup, UnavailableError, flat
from benchmarks.problems import Problem

BURST = 0.1


class Child:
    """Answers requests, one at a time."""

    def __init__(self) -> None:
        self.running: dict[str, Running] = {}

    def start(self, label: str, module: str, problem: dict[str, Any], **setup: Any) -> dict[str, float]:
        """Set up and run once: seconds of both, the latter with whatever is compiled on the way."""
        prepare = importlib.import_module(f"benchmarks.contenders.{module}").prepare
        began = time.perf_counter()
        contender: Running = prepare(Setup(problem=Problem(**problem), **setup))
        ready = time.perf_counter()
        resident = _resident("VmRSS")
        contender.run()
        contender.wait()
        first = time.perf_counter() - ready
        self.running[label] = contender
        # A compiler leaves millions of objects: to look for garbage among them before each timing took seconds.
        gc.collect()
        gc.freeze()
        return {
            "setup_seconds": ready - began,
            "first_seconds": first,
            "resident_growth": max(0, _resident("VmHWM") - resident),
        }

    def gradient(self, label: str) -> str:
        """The meta-gradient of the last run, as float64 in base64."""
        return base64.b64encode(flat(self.running[label].gradient()).tobytes()).decode()

    def time(self, label: str) -> float:
        """Seconds of one run, as the mean of `BURST` seconds of them after one that is not timed.

        A training loop calls again and again. A single call after others had the machine would find cold caches and
        sleeping threads, and say more about these than about a contender that takes a millisecond.
        """
        contender = self.running[label]
        gc.collect()
        contender.run()
        contender.wait()
        runs, began = 0, time.perf_counter()
        while True:
            contender.run()
            contender.wait()
            runs += 1
            elapsed = time.perf_counter() - began
            if elapsed >= BURST:
                return elapsed / runs

    def memory(self, label: str) -> dict[str, int | None]:
        """Peak bytes of one run, as far as they can be counted from inside; torch contenders only."""
        return importlib.import_module("benchmarks.counting").count(self.running[label])

    def stop(self, label: str) -> None:
        """Forget a set-up."""
        self.running.pop(label, None)

    def about(self) -> dict[str, str]:
        """The name of the accelerator, if torch sees one."""
        torch = importlib.import_module("torch")
        return {"accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"}


def _resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the peak so far) of this process in bytes; elsewhere than on Linux the peak for both."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))
    except OSError:
        resource = importlib.import_module("resource")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    child = Child()
    for line in sys.stdin:
        request = json.loads(line)
        do: Callable[..., Any] = getattr(child, request.pop("do"))
        try:
            answer = {"ok": do(**request)}
        except UnavailableError as error:
            answer = {"unavailable": str(error)}
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
