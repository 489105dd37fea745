"""Peak memory as the operating system sees it: one computation in a process of its own.

Unlike the sizes of live tensors this knows the workspaces inside operations, and what the allocator wastes.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from metagrad_studies.fobmaml_memory.ways import Workload, meta_gradient


def peak_resident_growth(workload: Workload, name: str, channels: int, num_steps: int) -> int | None:
    """By how many bytes one meta-gradient raises the peak resident size of a fresh process.

    None where it cannot be had: on Windows, and for work on a GPU.
    """
    if sys.platform == "win32" or workload.device != "cpu":
        return None
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_growth, workload, name, channels, num_steps, torch.get_num_threads()).result()


def _growth(workload: Workload, name: str, channels: int, num_steps: int, threads: int) -> int:
    torch.set_num_threads(threads)
    compute = meta_gradient(workload, name, channels, num_steps)
    before = _peak()
    compute()
    return _peak() - before


def _peak() -> int:
    if sys.platform == "linux":
        # Not `getrusage`: there a process starts with the peak of the one that started it.
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415 -- there is none on Windows, where this is not called

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
