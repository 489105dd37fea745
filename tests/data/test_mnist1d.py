"""MNIST-1D: the published signals, to the last digits of a float, and pools that share none of them."""

import numpy as np
import pytest
import torch

from metagrad.data.images import ImageEpisodes
from metagrad.data.mnist1d import generate, load_mnist1d

# What make_dataset of the authors' package mnist1d 0.0.2.post1 gives with its default arguments (with scipy 1.17).
FIRST_DIGITS = [2, 6, 4, 5, 6, 6, 6, 0, 3, 1, 6, 9, 4, 3, 4, 5, 1, 9, 0, 3]
FIRST_SIGNAL = [
    *(-0.33200566736939013, -0.4719103656557236, -0.778697076293495),
    *(-1.0097408265367045, -0.8823525654053073, 0.10393481264623418),
]
LAST_SIGNAL = [0.4472328851428726, 0.6598756470890784, 0.8777343497528006, 1.1931518368352758]
MIDDLES = [
    *(1.5934880211319844, -0.16448528817770455, -0.5134140642572873, 0.43828143977962636, -1.4673490497444892),
    *(-0.11521478236775122, 0.31914439862898725, 0.6090006825911659, -1.0839331678123738, -1.8449689685400477),
]
WEIGHTED_SUM, CUBES = 26954.090994414175, -13126.103828802175


def test_default_signals_are_the_published_ones():
    signals, digits = generate()
    assert signals.shape == (5000, 40)
    assert digits[:20].tolist() == FIRST_DIGITS
    np.testing.assert_allclose(signals[0, :6], FIRST_SIGNAL, rtol=0, atol=1e-13)
    np.testing.assert_allclose(signals[4999, -4:], LAST_SIGNAL, rtol=0, atol=1e-13)
    np.testing.assert_allclose(signals[::500, 20], MIDDLES, rtol=0, atol=1e-13)
    np.testing.assert_allclose((signals * np.arange(40)).sum(), WEIGHTED_SUM, rtol=1e-12)
    np.testing.assert_allclose((signals**3).sum(), CUBES, rtol=1e-12)
    assert np.bincount(digits).tolist() == [500] * 10


@pytest.mark.slow
def test_the_seed_decides_the_signals_and_numpy_is_left_alone():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    generate.cache_clear()
    first, _ = generate(7)
    assert np.random.rand() == expected
    generate.cache_clear()
    again, _ = generate(7)
    other, _ = generate(8)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pools_have_all_digits_and_no_signal_twice():
    pools = load_mnist1d()
    signals, digits = generate()
    assert [int(pool.counts.sum()) for pool in pools] == [3200, 800, 1000]
    assert {pool.names for pool in pools} == {tuple("0123456789")}
    seen = set()
    for pool, part in zip(pools, (slice(0, 3200), slice(3200, 4000), slice(4000, 5000)), strict=True):
        for digit in range(10):
            taken = pool.take(torch.tensor(digit), torch.arange(int(pool.counts[digit])))
            expected = signals[part][digits[part] == digit].astype(np.float32)
            assert np.array_equal(taken.numpy(), expected)
            seen |= {row.tobytes() for row in expected}
    assert len(seen) == 5000


def test_episodes_are_signals_of_forty_points_as_they_are():
    task = ImageEpisodes(load_mnist1d().test, ways=5, shots=2, queries=3).sample(4, torch.Generator().manual_seed(0))
    assert task.support.inputs.shape == (4, 10, 40)
    assert task.query.targets[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    test = generate()[0][4000:].astype(np.float32)
    assert all(any(np.array_equal(signal, row) for row in test) for signal in task.query.inputs[0].numpy())


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed must be at"):
        load_mnist1d(seed)
