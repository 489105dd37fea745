"""Both ways of the page on many processes, in two of them, equal one process with all the tasks."""

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from documents.pages import DOCS, python
from metagrad.data.regression import Sinusoids


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def named():
    """What the code of the page defines, in float64, and four tasks."""
    names: dict[str, object] = {}
    for code in [*python(DOCS / "how-to" / "index.md"), *python(DOCS / "how-to" / "many-processes.md")]:
        exec(compile(code, "many-processes.md", "exec"), names)
    names["model"].double().zero_grad(set_to_none=True)
    return names, Sinusoids(dtype=torch.float64).sample(4, torch.Generator().manual_seed(1))


def work(rank, meeting, expected):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    names, tasks = named()
    own = tasks.take(slice(2 * rank, 2 * rank + 2))
    names["learner"].backward(own)
    names["average"](names["learner"])
    torch.testing.assert_close(gradient(names["model"]), expected, rtol=1e-10, atol=1e-12)
    names["model"].zero_grad(set_to_none=True)
    wrapped = nn.parallel.DistributedDataParallel(names["QueryLoss"](names["learner"]))
    wrapped(own).backward()
    torch.testing.assert_close(gradient(names["model"]), expected, rtol=1e-10, atol=1e-12)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    names, tasks = named()
    names["learner"].backward(tasks)
    multiprocessing.spawn(work, args=(tmp_path / "meeting", gradient(names["model"])), nprocs=2)
