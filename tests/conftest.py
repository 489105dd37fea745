"""Every test starts from the same random state; real data is found beside the repository or named by METAGRAD_DATA."""

import os
from pathlib import Path

import pytest
import torch

# The tensors of the tests are too small to share, and on busy cores two threads wait for one another.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("METAGRAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set METAGRAD_DATA to a folder that holds omniglot/")
    return folder
