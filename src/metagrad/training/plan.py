"""The lengths and intervals of a training run."""

from dataclasses import dataclass

from metagrad import checks


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to train, on how much, and when to look and to save.

    Args:
        meta_steps: updates of the meta-parameters in all.
        meta_batch: tasks of one update.
        validate_every: updates between validations; there is one after the last update in any case.
        checkpoint_every: updates between checkpoints, which also happen at validations and at the end.
        clip: largest norm of the mean meta-gradient; None does not clip.
        evaluation_chunk: validation tasks side by side.
        probe_every: updates between probes, the first at the first update: the exact meta-gradient of the first task of
            the meta-batch, and so the true error of the estimator on it; None never. They change no weight.
    """

    meta_steps: int
    meta_batch: int
    validate_every: int
    checkpoint_every: int
    clip: float | None
    evaluation_chunk: int
    probe_every: int | None = None

    def __post_init__(self) -> None:
        checks.integer("meta_steps", self.meta_steps, least=0)
        for name in ("meta_batch", "validate_every", "checkpoint_every", "evaluation_chunk"):
            checks.integer(name, getattr(self, name), least=1)
        if self.probe_every is not None:
            checks.integer("probe_every (None for never)", self.probe_every, least=1)
        if self.clip is not None:
            checks.number("clip", self.clip, above=0)
