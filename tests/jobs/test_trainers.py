"""Unrolled models under DDP, Accelerate and Lightning: job 21 of a user."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import multiprocessing, nn

from metagrad import AdamW, Batch, Exact, Learned, MetaLearner

pytestmark = pytest.mark.slow
INSTALL = "pip install 'metagrad[trainers]'"


class QueryLoss(nn.Module):
    """A module whose forward pass unrolls: the mean query loss of some tasks."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        rule = AdamW(Learned(0.05, per="tensor"), eps=1e-3)
        self.learner = MetaLearner(net, F.mse_loss, rule, 4, Exact())

    def forward(self, tasks):
        unrolled = ((self.learner.unroll(Batch(*support)), query) for support, query in tasks)
        return torch.stack([F.mse_loss(adapted(x), y) for adapted, (x, y) in unrolled]).mean()


def tasks():
    draw = torch.Generator().manual_seed(1)
    batch = lambda: tuple(torch.randn(6, size, generator=draw, dtype=torch.float64) for size in (3, 1))  # noqa: E731
    return [(batch(), batch()) for _ in range(4)]


def slopes(module):
    return [p.grad.clone() for p in module.parameters()]


@pytest.fixture
def expected():
    module = QueryLoss()
    module(tasks()).backward()
    return slopes(module)


def equal(ours, expected):
    for own, slope in zip(ours, expected, strict=True):
        torch.testing.assert_close(own, slope, rtol=1e-12, atol=1e-14)


def half(rank, meeting, expected):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    module = nn.parallel.DistributedDataParallel(QueryLoss())
    module(tasks()[2 * rank : 2 * rank + 2]).backward()
    equal(slopes(module), expected)
    dist.destroy_process_group()


def test_two_processes_average_to_the_gradient_of_one(tmp_path, expected):
    multiprocessing.spawn(half, args=(tmp_path / "meeting", expected), nprocs=2)


def test_accelerate(expected):
    accelerate = pytest.importorskip(
        "accelerate", reason="accelerate is not installed: pip install 'metagrad[trainers]'"
    )
    accelerator = accelerate.Accelerator(cpu=True)
    module = QueryLoss()
    module, optimizer = accelerator.prepare(module, torch.optim.SGD(module.parameters(), lr=1.0))
    before = [p.detach().clone() for p in module.parameters()]
    accelerator.backward(module(tasks()))
    equal(slopes(module), expected)
    optimizer.step()
    equal([old - new.detach() for old, new in zip(before, module.parameters(), strict=True)], expected)


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of loaders and loggers
def test_lightning_with_automatic_optimisation(expected, tmp_path):
    lightning = pytest.importorskip("lightning", reason=INSTALL)

    class Training(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.loss, self.seen = QueryLoss(), []

        def training_step(self, batch, index):
            return self.loss(batch)

        def on_after_backward(self):
            self.seen = slopes(self.loss)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    training = Training()
    before = [p.detach().clone() for p in training.parameters()]
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(training, torch.utils.data.DataLoader([tasks()], batch_size=None))
    equal(training.seen, expected)
    equal([old - new.detach() for old, new in zip(before, training.parameters(), strict=True)], expected)
