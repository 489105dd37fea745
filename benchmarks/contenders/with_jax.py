"""MAML in JAX: `grad` through an unrolled inner loop, `vmap` over tasks, one `jit` around both.

The sinusoid only. Under `vmap` each task has its own filters, so that a convolution becomes one with a group for each
task; JAX's CPU backend runs grouped convolutions far below the speed of plain ones, and the comparison would measure
that and nothing else.
"""

import os

import jax
import jax.numpy as jnp

from benchmarks.contenders.base import Setup, UnavailableError
from benchmarks.problems import Array, Problem, Sinusoid

Weights = dict[str, jax.Array]


class WithJax:
    """All tasks of a meta-batch at once."""

    def __init__(self, setup: Setup) -> None:
        dtype = jnp.dtype(setup.dtype)
        self.weights = {name: jnp.asarray(values, dtype) for name, values in setup.problem.weights().items()}
        self.tasks = tuple(jnp.asarray(leaf, dtype) for leaf in setup.problem.data())
        self.mean_gradient = jax.jit(jax.grad(mean_query_loss(setup.problem)))
        self.result: Weights = {}

    def run(self) -> None:
        """One mean meta-gradient."""
        self.result = self.mean_gradient(self.weights, self.tasks)

    def wait(self) -> None:
        """Return when the device has finished."""
        jax.block_until_ready(self.result)

    def gradient(self) -> dict[str, Array]:
        """Parameter name → meta-gradient of the last run."""
        return {name: jax.device_get(value) for name, value in self.result.items()}


def mean_query_loss(problem: Problem):
    """(weights, tasks) → the mean query loss after adaptation."""
    depth = len(problem.kind.layers()) // 2

    def loss(weights: Weights, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        hidden = inputs
        for i in range(depth):
            hidden = hidden @ weights[f"layers.{2 * i}.weight"].T + weights[f"layers.{2 * i}.bias"]
            hidden = jax.nn.relu(hidden) if i < depth - 1 else hidden
        return jnp.mean((hidden - targets) ** 2)

    def after_adaptation(weights: Weights, support_inputs, support_targets, query_inputs, query_targets) -> jax.Array:
        for _ in range(problem.steps):
            gradient = jax.grad(loss)(weights, support_inputs, support_targets)
            weights = {name: value - problem.lr * gradient[name] for name, value in weights.items()}
        return loss(weights, query_inputs, query_targets)

    def mean(weights: Weights, tasks: tuple[jax.Array, ...]) -> jax.Array:
        return jax.vmap(after_adaptation, in_axes=(None, 0, 0, 0, 0))(weights, *tasks).mean()

    return mean


def prepare(setup: Setup) -> WithJax:
    if not isinstance(setup.problem.kind, Sinusoid):
        raise UnavailableError(
            "with weights for each task convolutions become grouped, which its CPU backend runs slowly"
        )
    if setup.device != "cpu":
        raise UnavailableError("it is compared on the CPU only")
    if hasattr(os, "sched_setaffinity"):  # the one dependable bound on XLA's threads; before its backend starts
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setup.threads])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", setup.dtype == "float64")
    return WithJax(setup)
