"""Where nothing was developed: another architecture, data set and step sizes.   python -m benchmarks.elsewhere

The questions of `metagrad reproduce error-grid` on what none of metagrad's estimators was chosen, tuned or tried on: a
residual network with group normalisation and SiLU, FC100 5-way 1-shot, α = 0.05 and 0.2. Trained with Exact at a
constant rate; errors of single tasks of the validation classes, in float64. METAGRAD_DATA names the data. Records are
written to --out whenever a seed is done with a step size, and what is there is not measured again.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metagrad import SGD, Exact, MetaLearner
from metagrad.choosing import LOOKS
from metagrad.experiments.presets import PRESETS
from metagrad.experiments.session import with_data
from metagrad.tasks.task import TaskSource
from metagrad.training.evaluation import fixed_tasks, joined, moved
from metagrad.training.run import finite
from metagrad_studies.error_grid import ErrorGrid, rows
from metagrad_studies.study import Asked, Record

DATA, PRESET, NAME = "METAGRAD_DATA", "fc100-5way-1shot", "residual network on FC100"
ALPHAS, STAGES, SEEDS = (0.05, 0.2), (0, 30, 100), (50, 51, 52)
TASKS, PROBES = 7, 4
META_BATCH, META_RATE = 4, 1e-3
CPU = torch.device("cpu")


class Block(nn.Module):
    """x' = skip(x) + two convolutions with group normalisation; SiLU. [N, in, H, W] to [N, out, H/stride, W/stride]."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(inside, outside, 1, stride, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(4, outside) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = F.silu(self.norms[0](self.first(x)))
        return F.silu(self.skip(x) + self.norms[1](self.second(y)))


class Residual(nn.Module):
    """Blocks of 8, 16, 32 and 64 channels, each halving the image, mean over pixels, a linear head; [N, 3, H, W]."""

    def __init__(self, ways: int) -> None:
        super().__init__()
        widths = (3, 8, 16, 32, 64)
        self.blocks = nn.Sequential(*(Block(a, b, 2) for a, b in pairwise(widths)))
        self.head = nn.Linear(widths[-1], ways)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, ways]."""
        return self.head(self.blocks(x).mean(dim=(2, 3)))


def learner(alpha: float, steps: int, dtype: torch.dtype, seed: int) -> MetaLearner:
    """With Exact, one task at a time: side by side, convolutions become grouped ones."""
    torch.manual_seed(seed)
    model = Residual(5).to(dtype)
    return MetaLearner(model, F.cross_entropy, SGD(lr=alpha), steps, Exact(), task_chunk=1)


def trained(source: TaskSource, alpha: float, steps: int, at: Sequence[int], seed: int) -> Iterator[MetaLearner]:
    """The learner after each number of meta-steps, ascending."""
    found = learner(alpha, steps, torch.float32, seed)
    optimizer = torch.optim.Adam(found.parameters(), lr=META_RATE)
    draws = torch.Generator().manual_seed(seed)
    for step in range(at[-1] + 1):
        if step in at:
            yield found
        if step < at[-1]:
            optimizer.zero_grad()
            found.backward(source.sample(META_BATCH, draws))
            optimizer.step()


def measure(sources: tuple[TaskSource, TaskSource], alpha: float, steps: int, seed: int) -> Iterator[list[Record]]:
    """The records of each stage. Sources: of training, of held-out classes."""
    train, unseen = sources
    tasks = moved(joined(fixed_tasks(unseen, TASKS, 900 + seed)), CPU, torch.float64)
    looks = [moved(joined(fixed_tasks(train, PROBES, 1000 * look + seed)), CPU, torch.float64) for look in range(LOOKS)]
    for stage, one in zip(STAGES, trained(train, alpha, steps, STAGES, seed), strict=True):
        precise = learner(alpha, steps, torch.float64, seed)
        precise.load_state_dict(one.state_dict())
        place = {"network": NAME, "alpha": alpha, "num_steps": steps, "meta_steps": stage, "seed": seed}
        found = rows(precise.loop, precise.meta(), tasks, looks, tolerance=0.1, chunk=1)
        yield [finite({**place, **row}) for row in found]


def tell(records: Sequence[Record], say: Callable[[str], None]) -> None:
    """What `error-grid` says of such records."""
    study = ErrorGrid()
    settings = study.settings(Asked(scale="small"))
    for finding in study.findings(settings, records):
        verdict = {True: "held", False: "did not hold", None: "not known"}[finding.held]
        say(f"{verdict}: {finding.claim}\n    {finding.measured}")


def main() -> None:
    """Measure what is missing in --out, then tell all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[5], help="inner steps K (5)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/elsewhere.jsonl"))
    asked = parser.parse_args()
    if DATA not in os.environ:
        raise SystemExit(f"set {DATA} to the folder that holds CIFAR-100")
    torch.set_num_threads(1)
    try:
        sources = with_data(PRESETS[PRESET](), os.environ[DATA]).problem.sources(CPU)
    except ValueError as error:
        raise SystemExit(f"{DATA}: {error}") from error
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    records = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    done = {(r["alpha"], r["num_steps"], r["seed"]) for r in records if r["meta_steps"] == STAGES[-1]}
    for seed in asked.seeds:
        for alpha in ALPHAS:
            for steps in asked.steps:
                if (alpha, steps, seed) in done:
                    continue
                for found in measure((sources.train, sources.validation), alpha, steps, seed):
                    records += found
                    print(f"seed {seed}, α = {alpha:g}, K = {steps}, {found[0]['meta_steps']} meta-steps", flush=True)
                with asked.out.open("a") as file:
                    new = [r for r in records if (r["alpha"], r["num_steps"], r["seed"]) == (alpha, steps, seed)]
                    file.writelines(json.dumps(r) + "\n" for r in new)
    tell(records, print)


if __name__ == "__main__":
    main()
