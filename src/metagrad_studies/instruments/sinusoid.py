"""The sine-wave problem of the paper's Figure 3: untrained networks and mini-batches of tasks, in float64."""

from typing import Literal, cast

import torch
from torch import nn

from metagrad import SGD, InnerLoop, Task, WholeModel, functional
from metagrad.experiments.presets import sinusoid
from metagrad.experiments.problems import SinusoidRegression
from metagrad.tree import Tree

Head = Literal["zero", "random"]
"""Where the last layer starts: at zero, as metagrad's networks do, or drawn as torch's linear layers are."""

CHOICES = (
    "The paper does not state the network: ours is MAML's 1-40-40-1 with ReLU, without meta-training, as the paper "
    "says. Nor does it state how the weights are drawn, or how many query points a task has: ours are as many as "
    "support points.",
    "Error: ‖mean estimate − mean exact‖ / ‖mean exact‖ over the tasks of a mini-batch, in float64.",
    "A network's curvature depends on its initial weights, and the error of Binomial(L) on the (L+1)-th power of "
    "that. So several draws of the weights share the mini-batches, and intervals are over draws.",
)


def published_problem() -> SinusoidRegression:
    """Ten support points of A·sin(x + φ), as in MAML and in the preset `sinusoid`."""
    problem = sinusoid().problem
    assert isinstance(problem, SinusoidRegression)
    return problem


def start(problem: SinusoidRegression, head: Head, alpha: float, num_steps: int, seed: int) -> tuple[InnerLoop, Tree]:
    """An untrained network's inner loop, gradient descent on all parameters, and its weights as meta-parameters.

    The hidden layers depend on the seed alone, not on the head. Gradients' graphs are kept for the products
    (`reuse`), since every estimator goes back along the same trajectory.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = problem.model()
        if head == "random":
            [*_, last] = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
            last.reset_parameters()
    model = model.double()
    loop = InnerLoop(WholeModel(model, problem.loss()), SGD(alpha), num_steps, reuse=num_steps)
    return loop, cast(Tree, {"model": {name: value.detach() for name, value in functional.trainable(model).items()}})


def draw(problem: SinusoidRegression, tasks: int, seed: int) -> Task:
    """That many tasks in float64: they depend on problem, number and seed alone, so every α meets the same."""
    source = problem.sources(torch.device("cpu")).train
    return source.sample(tasks, torch.Generator().manual_seed(seed)).to(torch.device("cpu"), torch.float64)
