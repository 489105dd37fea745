"""The meta-gradient traced once and replayed: compiled on a CPU, one CUDA graph on a GPU."""

from metagrad.capture.allocation import keep_freed_memory
from metagrad.capture.capture import MODES, Capture, Mode
from metagrad.capture.values import CaptureError

__all__ = ["MODES", "Capture", "CaptureError", "Mode", "keep_freed_memory"]
