"""The parent's side: a child process for each contender, so that libraries do not disturb one another."""

import base64
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.contenders import Contender
from benchmarks.problems import Array, Problem

ROOT = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """What the user has to know, in one sentence."""


class LeftOutError(BenchmarkError):
    """A contender cannot take part; the sentence says why."""


@dataclass(frozen=True)
class Machine:
    """Where children run: device and number of threads."""

    device: str
    threads: int


class Worker:
    """One child process with one contender's library in it."""

    def __init__(self, contender: Contender, machine: Machine, dtype: str) -> None:
        if contender.needs and importlib.util.find_spec(contender.needs) is None:
            raise LeftOutError(
                f"{contender.label} is left out: {contender.needs} is not installed "
                "(pip install -r benchmarks/requirements.txt)"
            )
        self.contender, self.machine, self.dtype = contender, machine, dtype
        count = str(machine.threads)
        threads = {name: count for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=ROOT,
            env={**os.environ, **threads},
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._said.close()

    def start(self, problem: Problem, label: str = "", **options: Any) -> dict[str, float]:
        """Set a problem up under a label and run it once."""
        return self._ask(
            "start",
            label=label,
            module=self.contender.module,
            problem=asdict(problem),
            dtype=self.dtype,
            device=self.machine.device,
            threads=self.machine.threads,
            options={**self.contender.options, **options},
        )

    def gradient(self, label: str = "") -> Array:
        """The meta-gradient of the last run as one vector."""
        return np.frombuffer(base64.b64decode(self._ask("gradient", label=label)), dtype=np.float64)

    def time(self, label: str = "") -> float:
        """Seconds of one run, the mean of a burst."""
        return self._ask("time", label=label)

    def memory(self, label: str = "") -> dict[str, int | None]:
        """Peak bytes of one run."""
        return self._ask("memory", label=label)

    def stop(self, label: str = "") -> None:
        """Forget a set-up."""
        self._ask("stop", label=label)

    def about(self) -> dict[str, str]:
        """The device's name."""
        return self._ask("about")

    def _ask(self, do: str, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            raise BenchmarkError(
                f"the process of {self.contender.label} ended with status {status}{self._last_words()}"
            )
        answer = json.loads(line)
        if "unavailable" in answer:
            raise LeftOutError(f"{self.contender.label} is left out: {answer['unavailable']}")
        if "failed" in answer:
            raise BenchmarkError(f"{self.contender.label} failed: {answer['failed']}")
        return answer["ok"]

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {last}" if last else ""


class Team:
    """A worker for each contender, in two kinds of arithmetic: float64 to agree, float32 to be timed."""

    def __init__(self, machine: Machine, must: Iterable[str], say: Callable[[str], None]) -> None:
        self._machine, self._must, self._say = machine, set(must), say
        self._told: set[str] = set()
        self._workers: dict[tuple[str, str], Worker] = {}

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in self._workers.values():
            worker.__exit__(*error)
        self._workers.clear()

    def worker(self, contender: Contender, dtype: str) -> Worker:
        """The contender's process for this type, started when first asked for."""
        key = contender.label, dtype
        if key not in self._workers:
            self._workers[key] = Worker(contender, self._machine, dtype)
        return self._workers[key]

    def able(self, contenders: Iterable[Contender], attempt: Callable[[Contender], Any]) -> dict[str, Any]:
        """What `attempt` gave for those who can; the others are left out with a line, unless the user named them."""
        results: dict[str, Any] = {}
        for contender in contenders:
            try:
                results[contender.label] = attempt(contender)
            except LeftOutError as error:
                if contender.label in self._must:
                    raise
                if str(error) not in self._told:
                    self._say(str(error))
                self._told.add(str(error))
        return results
