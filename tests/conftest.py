"""Every test starts from the same random state; real data is found beside the repository or named by METAGRAD_DATA."""

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

# The tensors of the tests are too small to share, and on busy cores two threads wait for one another.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start


TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
# What the oldest torch does otherwise, by test and parameters: 2.6 does, 2.13 does not; between them nobody looked.
OF_OLD_TORCH = {
    "test_second_derivatives.py::*grid": "torch has no second derivative of grid_sample",
    "test_fitting.py::*-adagrad]": "torch's Adagrad makes its sums in the constructor, which a copy does not call",
    "test_fitting.py::*[warm up-": "torch's SequentialLR warns of a call of its own",
    "test_fallback.py::test_values_read_behind_*[tolist-": "torch.func cannot read them: a further warning",
    "test_values.py::test_captured_and_as_written_agree[list-": "torch.func falls back too: a further warning",
    "test_curvature.py::test_no_warning_of_torch_*": "torch's own exit handler fails in a process without a compiler",
}


def pytest_collection_modifyitems(items):
    if TORCH >= (2, 13):
        return
    for item in items:
        for pattern, reason in OF_OLD_TORCH.items():
            file, _, name = pattern.partition("::")
            if item.nodeid.split("::")[0].endswith(file) and fnmatch(item.name, f"{name.replace('[', '[[]')}*"):
                item.add_marker(pytest.mark.skip(reason=f"torch {torch.__version__}: {reason}"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("METAGRAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set METAGRAD_DATA to a folder that holds omniglot/")
    return folder
