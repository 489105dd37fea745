"""Settings of torch under which models can be differentiated twice: of the whole process, so threads share them."""

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


class _Shared(AbstractContextManager[None]):
    """A context that several threads may be in at once: entered by the first of them, left by the last.

    With one for each, the first to leave would put the settings back under the others.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._context = self._make()
                self._context.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._context.__exit__(None, None, None)


@contextmanager
def _plain_attention() -> Generator[None]:
    """Attention on the math backend: the fused kernels have no second derivative."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


@contextmanager
def _without_cudnn() -> Generator[None]:
    """Recurrent layers outside cuDNN, which has no second derivative of them."""
    # This flag alone: `torch.backends.cudnn.flags` would reset the user's choices of determinism and TF32.
    enabled = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = enabled


plain_attention: AbstractContextManager[None] = _Shared(_plain_attention)
"""While in it, attention of the whole process can be differentiated twice."""

without_cudnn: AbstractContextManager[None] = _Shared(_without_cudnn)
"""While in it, recurrent layers of the whole process can be differentiated twice."""
