"""Who takes part: one file each, imported only in the child process that runs it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One way to compute a meta-gradient.

    Args:
        label: what tables and figures call it.
        module: the file of this package that does it.
        needs: the library beyond metagrad and torch that must be installed.
        options: what else the file wants to know, such as metagrad's capture mode or estimator.
    """

    label: str
    module: str
    needs: str | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


LISTED = (
    Contender("metagrad", "with_metagrad", options={"capture": "off"}),
    Contender("metagrad-auto", "with_metagrad", options={"capture": "auto"}),
    Contender("metagrad-pieces", "with_metagrad", options={"capture": "pieces"}),
    Contender("metagrad-whole", "with_metagrad", options={"capture": "whole"}),
    Contender("higher", "with_higher", needs="higher"),
    Contender("torchopt", "with_torchopt", needs="torchopt"),
    Contender("loop", "plain_loop"),
    Contender("jax", "with_jax", needs="jax"),
)
BY_NAME = {contender.label: contender for contender in LISTED}
USUAL = ("metagrad", "metagrad-auto", "higher", "torchopt", "loop", "jax")
PEERS = ("higher", "torchopt")
REFERENCE = BY_NAME["loop"]
