"""Where a meta-gradient first became NaN or infinite: the step, the parameter, and what is typical there."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from metagrad import tree
from metagrad.inner.by_autograd import ByAutograd
from metagrad.inner.curvature import reverse_over_reverse
from metagrad.inner.episode import TaskEpisode
from metagrad.inner.loop import InnerLoop
from metagrad.task import Task
from metagrad.tree import Tree

DIVERGES = "the inner loop diverges there; a smaller inner lr or gradient clipping may help"
AT_THE_START = "nothing has adapted yet: look for a logarithm, root or quotient of zero in model and loss"
AT_ZERO = (
    "the derivative of a root, norm or logarithm is infinite at zero, and 0/0 where nothing depends on it; add a small "
    "number under it"
)
OF_THE_RULE = "a root or quotient in the update rule has no derivative there, as that of a moment which is zero"
OF_THE_SUM = "every part of the exact one is finite, so the estimator overflows; take Exact() or a smaller inner lr"


def explanation(loop: InnerLoop, meta: Tree, task: Task) -> str:
    """What went wrong first with one task [N, ...] whose meta-gradient is not finite, as a sentence.

    The inner loop and the exact pullback are taken again, link by link. Cost: K gradients and K products.
    """
    seeded = loop if loop.seed is not None else replace(loop, seed=0)
    derivatives = ByAutograd(loop.learner, reverse_over_reverse)
    with torch.inference_mode(False), torch.no_grad():
        return next(_findings(seeded, derivatives, tree.detach(meta), task), f"the estimate overflowed: {OF_THE_SUM}")


def _findings(loop: InnerLoop, derivatives: ByAutograd, meta: Tree, task: Task) -> Iterator[str]:
    """What is not finite, in the order in which it is computed."""
    steps = loop.motion(meta, loop.evidence(task, loop.num_steps), derivatives)
    for k, step in enumerate(steps.steps(loop.initial_state(meta), 0, loop.num_steps)):
        if not step.loss.isfinite():
            what = f"the support loss became {step.loss.item()} at inner step {k}"
            yield f"{what}: {DIVERGES if k else AT_THE_START}"
        for name in _bad(step.gradient):
            yield f"the inner gradient of {name} is not finite at inner step {k}, while the loss is: {AT_ZERO}"
        for name in _bad(step.after["adapted"]):
            yield f"{name} is not finite after inner step {k}: {DIVERGES}"
    episode = TaskEpisode(replace(loop, reuse=0), meta, task, derivatives)
    if not episode.loss.isfinite():
        yield f"the query loss after adaptation is {episode.loss.item()}: {DIVERGES}, unless it has a logarithm of zero"
    outer, context = episode.outer()
    for name in (*_bad(outer), *_bad(context)):
        yield f"the gradient of the query loss on {name} is not finite, while the loss is: {AT_ZERO}"
    yield from _on_the_way_back(episode, outer)


def _on_the_way_back(episode: TaskEpisode, cotangent: Tree) -> Iterator[str]:
    for k in reversed(range(len(episode.chain))):
        pulled = episode.chain.direct(k, cotangent)
        for name in (*_bad(pulled.state), *_bad(pulled.gradient), *_bad(pulled.meta)):
            yield f"the derivative of inner step {k} on {name} is not finite: {OF_THE_RULE}"
        curved, mixed = episode.chain.curvature(k, pulled.gradient)
        for name in (*_bad(curved), *_bad(mixed)):
            yield f"the curvature on {name} is not finite at inner step {k}, while the gradient is: {AT_ZERO}"
        cotangent = tree.add(pulled.state, curved)


def _bad(values: Tree) -> list[str]:
    """Names of the leaves that are not finite, without the branches that a user does not know."""
    names = (path for path, leaf in tree.items(values) if not _finite(leaf))
    return [path.removeprefix("adapted.").removeprefix("model.") for path in names]


def _finite(leaf: Tensor) -> bool:
    return bool(leaf.isfinite().all())
