"""MAML as it is mostly written: back-propagation through the graph of all inner steps, kept until the end.

The package never does this; studies measure against it.
"""

import torch
from torch import Tensor, nn

from metagrad import Task, functional
from metagrad.experiments.problem import Measure


def graph_meta_gradient(model: nn.Module, loss: Measure, lr: float, num_steps: int, tasks: Task) -> dict[str, Tensor]:
    """The exact meta-gradient of SGD inner steps, mean over tasks, by name of the parameter.

    Memory: the graphs of all inner gradients of one task, tasks one after another. Batch norm takes the batch's
    statistics, as everywhere in the package. The model is only read.
    """
    start = {name: p.detach().requires_grad_() for name, p in functional.trainable(model).items()}
    count = len(tasks.support.inputs)
    total: dict[str, Tensor] = {}
    for task in range(count):
        support, query = ([leaf[task] for leaf in batch] for batch in tasks)
        adapted = start
        for _ in range(num_steps):
            support_loss = loss(functional.call(model, adapted, support[0]), support[1])
            slopes = torch.autograd.grad(support_loss, list(adapted.values()), create_graph=True)
            adapted = {name: p - lr * slope for (name, p), slope in zip(adapted.items(), slopes, strict=True)}
        query_loss = loss(functional.call(model, adapted, query[0]), query[1])
        gradient = torch.autograd.grad(query_loss, list(start.values()))
        total = {name: total.get(name, 0) + part / count for name, part in zip(start, gradient, strict=True)}
    return total
