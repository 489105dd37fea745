"""How busy a computation keeps the processor: the whole machine's on a GPU, this process's on a CPU."""

import threading
import time
from collections.abc import Callable

import torch


class Clock:
    """Seconds of wall and processor that a computation took, by calling it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, compute: Callable[[], object]) -> tuple[float, float]:
        """Wall seconds, and processor seconds of this process with all its threads."""
        self._wait()
        began, worked = time.perf_counter(), time.process_time()
        compute()
        self._wait()
        return time.perf_counter() - began, time.process_time() - worked

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def sampled(compute: Callable[[], object], sample: Callable[[], float], seconds: float, every: float) -> float:
    """Mean of `sample`, taken every `every` seconds while `compute` is called again and again for `seconds`."""
    values: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            values.append(sample())
            done.wait(every)

    watcher = threading.Thread(target=watch, daemon=True)
    end = time.perf_counter() + seconds
    watcher.start()
    try:
        while time.perf_counter() < end:
            compute()
    finally:
        done.set()
        watcher.join()
    return sum(values) / len(values)


def cuda_sample(device: torch.device) -> Callable[[], float] | None:
    """Share of the time in which a kernel ran on the GPU lately, as its driver reports it; None without pynvml."""
    try:
        torch.cuda.utilization(device)
    except (ImportError, RuntimeError):
        return None
    return lambda: torch.cuda.utilization(device) / 100
