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
        r"use_reentrant=True, torch.utils.checkpoint is incompatible",
        "no checkpoint of this kind can be differentiated twice: call checkpoint(…, use_reentrant=False), at Hugging "
        "Face gradient_checkpointing_enable(gradient_checkpointing_kwargs={{'use_reentrant': False}})",
    ),
    Remedy(
        r"does not require grad",
        "the model or loss differentiates by a tensor that requires no gradient: call requires_grad_() on a copy first",
    ),
    Remedy(
        r"mutate a captured Tensor|a leaf Variable that requires grad",
        "the model or loss writes on a tensor that is not its own: write on a copy of it, or out of place",
    ),
    Remedy(
        r"[Ee]xpected more than 1 value per channel",
        "batch norm takes the statistics of each batch, and one example has none: give two or more, or take GroupNorm",
    ),
)
"""In the order in which they are tried."""


def add_remedy(error: Exception) -> None:
    """Add what helps to an error of torch as a note; nothing where nothing is known, or it has one."""
    for known in REMEDIES:
        match = re.search(known.symptom, str(error))
        if match and not getattr(error, "__notes__", ()):
            error.add_note(known.cure.format(*match.groups()))
