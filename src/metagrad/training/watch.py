"""When an estimator's error leaves its safe range: said once, with the remedy."""

from collections.abc import Mapping
from typing import Any

from metagrad.estimators import Estimator
from metagrad.estimators.families import family

UNSAFE = 1.0
"""Relative error from which an estimate is worse than none: that of zero, ‖0 − exact‖ / ‖exact‖."""

PROBES_IN_A_ROW = 2
"""How many probes in a row must be unsafe: each is of one task, and some tasks have hardly any meta-gradient."""


class ErrorWatch:
    """Looks at every meta-step's own estimate (median over the meta-batch) and at every probe (one task).

    Its state says whether it has spoken, so that a resumed run is not warned again.
    """

    def __init__(self) -> None:
        self._warned = False
        self._unsafe_probes = 0

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"warned": self._warned, "unsafe_probes": self._unsafe_probes}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken; KeyError where it is none."""
        self._warned, self._unsafe_probes = state["warned"], state["unsafe_probes"]

    def look(self, estimator: Estimator, estimate: float | None, probe: float | None) -> str | None:
        """A warning the first time that one of the two is unsafe; None otherwise."""
        if probe is not None:
            self._unsafe_probes = self._unsafe_probes + 1 if probe > UNSAFE else 0
        if self._warned:
            return None
        found = None
        if estimate is not None and estimate > UNSAFE:
            found = f"its own estimate, the median over the meta-batch, is {estimate:.2g}"
        if probe is not None and self._unsafe_probes >= PROBES_IN_A_ROW:
            found = f"the last {PROBES_IN_A_ROW} probes were above {UNSAFE:g}, the latest {probe:.2g}"
        if found is None:
            return None
        self._warned = True
        return (
            f"the meta-gradient of {estimator!r} is outside the safe range, above 100 % relative error ({found}): "
            f"take a smaller inner lr, {family(estimator).remedy}, or Exact()"
        )
