"""What numbers depend on beside their configuration."""

import os
import platform
import sys
from typing import Any

import numpy
import torch

from metagrad import __version__


def surroundings() -> dict[str, Any]:
    """Versions and platform, for a record; no paths, no host or user names."""
    return {
        "versions": {
            "metagrad": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
        },
        "platform": {
            "system": sys.platform,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
