"""What helps against an error that torch raised inside the user's model or loss: one remedy for each cause."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Remedy:
    """One cause.

    Attributes:
        symptom: a pattern that torch's message contains; what its group matches is filled in for `{}`.
        cure: what helps.
    """

    symptom: str
    cure: str


REMEDIES = (
    Remedy(
        r"derivative for '?(?:aten::)?(\w+?)(?:_backward)?'? is not implemented",
        "torch has no second derivative of {}: take curvature=metagrad.inner.curvature.central_difference, which takes "
        "differences of gradients, or the estimator FirstOrder(), which needs none",
    ),
    Remedy(
        r"forward AD with (\w+)|set a forward gradient that has a different size|ZeroTensors are immutable",
        "torch cannot push a tangent through this model or loss: take curvature=metagrad.inner.curvature."
        "reverse_over_reverse",
    ),
    Remedy(
        r"saved tensor hooks",
        "torch.utils.checkpoint cannot be differentiated here: leave it out; the graph of one inner step at a time is "
        "all that is kept",
    ),
    Remedy(
        r"must override the setup_context staticmethod",
        "give that autograd.Function a setup_context, and generate_vmap_rule = True or task_chunk=1, link_chunk=1",
    ),
    Remedy(
        r"not have vmap support|generate_vmap_rule",
        "give that autograd.Function generate_vmap_rule = True, or run tasks in a plain loop: task_chunk=1 and "
        "link_chunk=1",
    ),
    Remedy(
        r"requires_grad_\(\) inside|does not require grad and does not have a grad_fn",
        "the model or loss differentiates by itself: write that gradient with torch.func.grad",
    ),
    Remedy(
        r"mutate a captured Tensor|a leaf Variable that requires grad",
        "the model or loss writes on a tensor that is not its own: write on a copy of it, or out of place",
    ),
    Remedy(
        r"[Ee]xpected more than 1 value per channel",
        "batch norm takes the statistics of each batch, and one example has none: give two or more, or take GroupNorm",
    ),
    Remedy(
        r"data pointer of Tensor that doesn't have storage",
        "packed sequences, and other code that reads a tensor's memory, cannot be differentiated here: keep sequences "
        "padded, and mask what is beyond their ends",
    ),
    Remedy(
        r"vmap|[Bb]atching rule|doesn't match the broadcast shape|data-dependent control flow",
        "`vmap` cannot map this model: run it in a plain loop, with task_chunk=1 and link_chunk=1",
    ),
)
"""In the order in which they are tried."""


def add_remedy(error: Exception) -> None:
    """Add what helps to an error of torch as a note; nothing where nothing is known, or it has one."""
    for known in REMEDIES:
        match = re.search(known.symptom, str(error))
        if match and not getattr(error, "__notes__", ()):
            error.add_note(known.cure.format(*match.groups()))
