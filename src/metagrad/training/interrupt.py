"""Ctrl-C and SIGTERM between two meta-steps instead of in the middle of one; processes that end with their parent."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType


@contextlib.contextmanager
def deferred_interrupt() -> Generator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed or SIGTERM came; a second Ctrl-C interrupts at once.

    Outside the main thread, where signals do not arrive, it stays false.
    """
    asked = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        # Who ends a program may send both, or SIGTERM several times: only a person's second Ctrl-C is impatience.
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    with _handled(note, signal.SIGINT, signal.SIGTERM):
        yield asked.is_set


@contextlib.contextmanager
def terminated_as_interrupted() -> Generator[None]:
    """SIGTERM raises KeyboardInterrupt in here, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM):
        yield


def end_with_parent() -> None:
    """End this process, a child of `multiprocessing`, as soon as its parent is gone, by whatever signal."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # as a kill would: what is half done is cut back when it is resumed

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Generator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
