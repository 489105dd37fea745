"""Cells measured one after the other in this process, or by several processes at once."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from metagrad.training.interrupt import end_with_parent, terminated_as_interrupted
from metagrad.training.progress import Silent
from metagrad_studies.core.progress import Watcher
from metagrad_studies.core.records import Record
from metagrad_studies.core.study import Bench, Cell, Study


class Measured(NamedTuple):
    """A cell and its records."""

    cell: Cell
    records: Sequence[Record]
    seconds: float  # that it took


def measured(
    study: Study[Any],
    settings: Any,
    cells: Sequence[Cell],
    place: Callable[[str], Path],
    data: str | None,
    watcher: Watcher,
    jobs: int,
) -> Iterator[Measured]:
    """Measure the cells; they come as they are done.

    With `jobs` above 1 each of as many processes takes a cell at a time, with its share of torch's threads: small
    networks keep no more than one core busy. Records are the same, up to times and, where a cell does not fix its
    number of threads, last bits. Ctrl-C and SIGTERM are passed on, so that each saves what it trains. All end with
    this process.

    Raises:
        Whatever a cell raises first. None begins after that, and those that are being measured come first: a finished
        cell is not lost because its neighbour failed.
    """
    if jobs == 1:
        for cell in cells:
            watcher.began(cell.key)
            yield _measure(study, settings, cell, Bench(place(cell.key), data, watcher.training))
        return
    waiting = iter(cells)
    # Not forked: threads of torch and of a progress bar do not survive that.
    with ProcessPoolExecutor(
        jobs, get_context("spawn"), _begin, (max(1, torch.get_num_threads() // jobs),)
    ) as processes:
        running: set[Future[Measured]] = set()
        failed: BaseException | None = None
        try:
            while True:
                while failed is None and len(running) < jobs and (cell := next(waiting, None)) is not None:
                    watcher.began(cell.key)
                    running.add(processes.submit(_apart, study, settings, cell, Bench(place(cell.key), data, Silent())))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    if (error := future.exception()) is None:
                        yield future.result()
                    else:
                        failed = failed or error
            if failed is not None:
                raise failed
        except KeyboardInterrupt:
            processes.shutdown(wait=False, cancel_futures=True)
            while running:  # again and again: between cells it is not heard
                for process in active_children():
                    process.terminate()
                _, running = wait(running, timeout=1)
            raise
        except BaseException:
            processes.shutdown(wait=True, cancel_futures=True)
            raise


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)
    end_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # nothing to save, and nothing to say, between cells


def _apart(study: Study[Any], settings: Any, cell: Cell, bench: Bench) -> Measured:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with terminated_as_interrupted():
            return _measure(study, settings, cell, bench)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure(study: Study[Any], settings: Any, cell: Cell, bench: Bench) -> Measured:
    began = time.perf_counter()
    records = study.measure(settings, cell, bench)
    return Measured(cell, records, time.perf_counter() - began)
