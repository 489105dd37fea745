"""What is known of the curvature along an inner loop: a range for every link."""

from collections.abc import Sequence
from dataclasses import dataclass

from metagrad import checks


@dataclass(frozen=True)
class CurvatureRange:
    """Where the curvature factors of a chain lie: low_k·I ≤ E_k ≤ high_k·I, link 0 first.

        ‖E_k − ½(low_k + high_k)·I‖ ≤ ½(high_k − low_k)

    For a symmetric E_k = α·H_k these are the extreme eigenvalues of the Hessian times the inner learning rate. Bounds
    use nothing but the inequality above, in the spectral norm, which a factor that is not symmetric can meet too.

    Args:
        low: smallest eigenvalue of each link, K numbers without unit (α times a curvature).
        high: largest eigenvalue of each link, K numbers.

    Raises:
        TypeError: an entry is not a number.
        ValueError: an entry is not finite, lengths differ, or some low is above its high.

    Example:
        >>> len(CurvatureRange(low=(-0.01, 0.0), high=(0.2, 0.3)))
        2
        >>> CurvatureRange.convex([0.2, 0.3]).low
        (0.0, 0.0)
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("low", self.low), ("high", self.high)):
            for k, value in enumerate(values):
                checks.number(f"{name}[{k}]", value)
        # Sequences of any kind come in; the instance stays hashable.
        object.__setattr__(self, "low", tuple(float(value) for value in self.low))
        object.__setattr__(self, "high", tuple(float(value) for value in self.high))
        if len(self.low) != len(self.high):
            raise ValueError(f"low and high need one number for each link, got {len(self.low)} and {len(self.high)}")
        for k, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if low > high:
                raise ValueError(f"low[{k}] = {low:g} is above high[{k}] = {high:g}; swap them")

    @classmethod
    def lipschitz(cls, norms: Sequence[float]) -> "CurvatureRange":
        """‖E_k‖ ≤ norms[k] and no more (theorem 3.6): one number a link, each at least 0.

        Raises:
            ValueError: a norm is negative or not finite.
        """
        for k, norm in enumerate(norms):
            checks.number(f"norms[{k}]", norm, least=0)
        return cls(tuple(-norm for norm in norms), tuple(norms))

    @classmethod
    def convex(cls, norms: Sequence[float]) -> "CurvatureRange":
        """0 ≤ E_k ≤ norms[k]: convex inner losses (theorem 3.8), one number a link, each at least 0.

        Raises:
            ValueError: a norm is negative or not finite.
        """
        for k, norm in enumerate(norms):
            checks.number(f"norms[{k}]", norm, least=0)
        return cls((0.0,) * len(norms), tuple(norms))

    @classmethod
    def finally_convex(cls, norms: Sequence[float], smallest: float, steps: int) -> "CurvatureRange":
        """‖E_k‖ ≤ norms[k], and E_k ≥ smallest in the last `steps` links (theorem 3.10, with αh and M).

        Raises:
            ValueError: a norm is negative, `smallest` is negative or above a norm, `steps` is negative or above K.
        """
        anywhere = cls.lipschitz(norms)
        checks.number("smallest", smallest, least=0)
        checks.integer("steps", steps, least=0, most=len(norms))
        early = len(norms) - steps
        return cls(anywhere.low[:early] + (smallest,) * steps, anywhere.high)

    def __len__(self) -> int:
        return len(self.low)

    def window(self, start: int, stop: int) -> "CurvatureRange":
        """The links `start` to `stop - 1`."""
        return CurvatureRange(self.low[start:stop], self.high[start:stop])

    def farthest_from(self, point: float, scale: float = 1.0) -> list[float]:
        """The largest ‖scale·E_k − point·I‖ of every link."""
        return [
            max(abs(scale * low - point), abs(scale * high - point))
            for low, high in zip(self.low, self.high, strict=True)
        ]
