"""MNIST-1D: forty-point signals of ten digits, generated here, and their division by examples."""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from metagrad import checks
from metagrad.data.pools import ClassPool

Floats = npt.NDArray[np.float64]

SAMPLES = 5000
"""Signals of all ten digits together; the first 3200 of their shuffled order are for meta-training, the next 800 for
meta-validation, the last 1000 for test (the published division is 4000 and 1000)."""

LENGTH = 40
"""Points of a signal."""

# The generator's published defaults.
_STROKE = 12  # points of a digit's template
_PADDING = (36, 60)  # zeros put behind the template, at least and at most
_SCALE = 0.4  # amplitudes vary by this share, from end to end of their range
_SHIFT = 48  # cyclic shifts are below this many points
_SMOOTH_NOISE = 0.25  # standard deviation, before smoothing, of the noise beside the digit
_SMOOTHING = 2.0  # width of the Gaussian that smooths it, in points; cut off at four widths
_NOISE = 0.02  # standard deviation of the noise everywhere
_SHEAR = 0.75  # range of slopes
_NONZERO = 1e-8  # lifts the template off zero, which marks the places beside it

# What the published generator draws its digits from: heights of the strokes, before each digit is standardised.
_STROKES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


class ExampleSplit(NamedTuple):
    """Pools of the same classes for meta-training, meta-validation and meta-test, with different examples in each."""

    train: ClassPool
    validation: ClassPool
    test: ClassPool


@functools.lru_cache(maxsize=4)
def generate(seed: int = 42) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The signals of one seed, standardised together, and their digits: equal ones for equal seeds, on any machine.

    Seed 42 is the published data set, in its order: each digit's strokes are padded, dilated, scaled and shifted, noise
    is added, and the whole is sheared and reduced to 40 points. The draws come from numpy's legacy generator, whose
    stream is frozen. Do not write to the arrays: they are kept for the next call.

    Returns:
        float64 [5000, 40], of mean 0 and standard deviation 1 over all; and int64 [5000].

    Raises:
        TypeError: `seed` is not an integer.
        ValueError: `seed` is negative or above 2³² − 1.

    Source: Greydanus and Kobak, Scaling down deep learning with MNIST-1D (arXiv 2011.14439); defaults and strokes from
    the authors' repository (Apache-2.0).
    """
    checks.integer("seed", seed, least=0, most=2**32 - 1)
    draws = np.random.RandomState(seed)
    dilated = _STROKE + _PADDING[1]
    digits = np.arange(10).repeat(SAMPLES // 10)
    signals, beside, noise = (np.empty((SAMPLES, dilated)) for _ in range(3))
    slopes = np.empty(SAMPLES)
    templates = _templates() + _NONZERO
    for row, digit in enumerate(digits):
        low, high = _PADDING
        padded = np.zeros(_STROKE + low + int(draws.rand() * (high - low + 1)))
        padded[:_STROKE] = templates[digit]
        amplitude = 1 + _SCALE * (draws.rand() - 0.5)
        signals[row] = np.roll(_resampled(padded, dilated) * amplitude, draws.randint(_SHIFT))
        beside[row] = _SMOOTH_NOISE * draws.randn(dilated)
        noise[row] = _NOISE * draws.randn(dilated)
        slopes[row] = _SHEAR * (draws.rand() - 0.5)
    signals = np.where(signals != 0, signals, _smoothed(beside)) + noise
    signals -= slopes[:, None] * np.linspace(-0.5, 0.5, dilated)
    signals = np.stack([_resampled(signal, LENGTH) for signal in signals])
    order = draws.permutation(SAMPLES)
    signals = signals[order]
    return (signals - signals.mean()) / signals.std(), digits[order].astype(np.int64)


def load_mnist1d(seed: int = 42) -> ExampleSplit:
    """Pools of all ten digits, "0" to "9", for meta-training, validation and test, that share no signal.

    N-way K-shot tasks drawn from them differ in which digits take part and in how these are numbered, so the numbers
    must be learned from the support set; the digits themselves are the same in all three. (Ten classes are too few to
    hold out some.) Features are float32 [40].

    Cost: half a second, once for each seed.

    Raises:
        TypeError, ValueError: as `generate`.
    """
    signals, digits = generate(seed)
    features, labels = torch.from_numpy(signals).float(), torch.from_numpy(digits)
    names = [str(digit) for digit in range(10)]
    parts = (slice(0, 3200), slice(3200, 4000), slice(4000, SAMPLES))
    return ExampleSplit(*(ClassPool(features[part], labels[part], names) for part in parts))


def _templates() -> Floats:
    """Strokes of each digit [10, 12]: standardised, beginning at 0, and a sixth as high."""
    strokes = np.array(_STROKES)
    strokes = (strokes - strokes.mean(1, keepdims=True)) / strokes.std(1, keepdims=True)
    return (strokes - strokes[:, :1]) / 6


def _resampled(signal: Floats, points: int) -> Floats:
    """The signal at another number of points, linear between the old ones."""
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(signal)), signal)


def _smoothed(signals: Floats) -> Floats:
    """Each row convolved with a Gaussian, the signal mirrored at its ends."""
    reach = int(4 * _SMOOTHING + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTHING) ** 2)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(signals, ((0, 0), (reach, reach)), mode="symmetric"), 2 * reach + 1, axis=1
    )
    return windows @ (weights / weights.sum())
