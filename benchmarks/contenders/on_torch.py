"""What the torch contenders share: the network, the tasks, the loss, and where the meta-gradient ends up."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contenders.base import Setup
from benchmarks.problems import Array, Problem, Sinusoid
from metagrad import Batch, Task
from metagrad.networks import MLP, Conv4


class OnTorch:
    """Network and tasks as tensors on the device; `run` leaves the meta-gradient in the parameters' `.grad`.

    Contenders that loop over tasks call backward for each task, which frees its graph before the next begins.
    """

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        torch.backends.cudnn.allow_tf32 = False  # the same arithmetic for all, and float32 means float32
        self.problem, self.device = setup.problem, torch.device(setup.device)
        dtype = {"float32": torch.float32, "float64": torch.float64}[setup.dtype]
        self.model = network(setup.problem).to(self.device, dtype)
        self.parameters = dict(self.model.named_parameters())  # before any library replaces them
        leaves = [torch.from_numpy(leaf).to(self.device) for leaf in setup.problem.data()]
        leaves = [leaf.to(dtype) if leaf.is_floating_point() else leaf for leaf in leaves]
        self.tasks = Task(Batch(*leaves[:2]), Batch(*leaves[2:]))
        self.each = [tuple(leaf[t] for leaf in leaves) for t in range(setup.problem.tasks)]
        self.loss = F.mse_loss if isinstance(setup.problem.kind, Sinusoid) else F.cross_entropy

    def forget(self) -> None:
        """Clear `.grad`."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def wait(self) -> None:
        """Return when the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def gradient(self) -> dict[str, Array]:
        """Parameter name → meta-gradient of the last run."""
        return {name: as_array(parameter.grad) for name, parameter in self.parameters.items()}


def network(problem: Problem) -> nn.Module:
    """The problem's network with the problem's initial weights."""
    kind = problem.kind
    if isinstance(kind, Sinusoid):
        model: nn.Module = MLP(kind.widths)
    else:
        model = Conv4(kind.ways, kind.channels, kind.filters, kind.size, kind.pooling)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in problem.weights().items()})
    return model


def as_array(gradient: Tensor | None) -> Array:
    """A gradient as float64."""
    assert gradient is not None, "a parameter got no gradient"
    return gradient.detach().to("cpu", torch.float64).numpy().astype(np.float64)
