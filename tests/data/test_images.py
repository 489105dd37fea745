"""Episodes: what one holds, what it depends on, and which are impossible."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from data.small_pools import corner_pool, generator, numbered_pool
from metagrad.data.images import ImageEpisodes
from metagrad.data.pools import ClassPool


def test_episodes_have_the_documented_shapes_and_types():
    pool, _ = numbered_pool()
    task = ImageEpisodes(pool, ways=3, shots=1, queries=2).sample(7, generator())
    assert task.support.inputs.shape == (7, 3, 1, 3, 3)
    assert task.query.inputs.shape == (7, 6, 1, 3, 3)
    assert task.support.targets.tolist() == [[0, 1, 2]] * 7
    assert task.query.targets.tolist() == [[0, 0, 1, 1, 2, 2]] * 7
    assert task.support.inputs.dtype == torch.float32
    assert task.support.targets.dtype == task.query.targets.dtype == torch.int64
    doubled = ImageEpisodes(pool, 3, 1, 2, dtype=torch.float64).sample(1, generator())
    assert doubled.query.inputs.dtype == torch.float64


def test_episodes_take_different_classes_and_disjoint_images_with_the_right_labels():
    pool, labels = numbered_pool()
    task = ImageEpisodes(pool, ways=4, shots=2, queries=2).sample(200, generator())
    support = (task.support.inputs[:, :, 0, 0, 0] * 255).round().long()
    query = (task.query.inputs[:, :, 0, 0, 0] * 255).round().long()
    for episode in range(200):
        drawn = torch.cat([support[episode], query[episode]])
        assert len(drawn.unique()) == 16
        classes = labels[support[episode]].reshape(4, 2)
        assert torch.equal(classes[:, 0], classes[:, 1])
        assert torch.equal(classes, labels[query[episode]].reshape(4, 2))
        assert len(classes[:, 0].unique()) == 4


def test_classes_images_and_label_orders_are_drawn_uniformly():
    pool, labels = numbered_pool()
    task = ImageEpisodes(pool, ways=2, shots=1, queries=1).sample(20000, generator())
    rows = (task.support.inputs[:, :, 0, 0, 0] * 255).round().long()
    pairs = labels[rows]
    frequency = torch.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25).reshape(5, 5) / 20000
    off_diagonal = frequency[~torch.eye(5, dtype=torch.bool)]
    assert frequency.diagonal().sum() == 0
    assert (off_diagonal - 1 / 20).abs().max() < 0.008  # five standard deviations
    images = torch.bincount(rows.flatten(), minlength=len(labels)) / 20000
    expected = (2 / 5) / torch.bincount(labels)[labels]
    assert (images - expected).abs().max() < 0.012


def test_a_class_just_large_enough_is_used_to_its_last_image():
    pool, labels = numbered_pool(counts=(3, 9))
    task = ImageEpisodes(pool, ways=2, shots=1, queries=2).sample(1, generator())
    rows = torch.cat([task.support.inputs, task.query.inputs], 1)[0, :, 0, 0, 0].mul(255).round().long()
    assert sorted(rows[labels[rows] == 0].tolist()) == (labels == 0).nonzero().flatten().tolist()


def test_episodes_depend_on_the_generator_alone():
    pool, _ = numbered_pool()
    episodes = ImageEpisodes(pool, ways=3, shots=1, queries=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    stream = generator(3)
    first, second = episodes.sample(4, stream), episodes.sample(4, stream)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = episodes.sample(4, generator(3))
    assert torch.equal(first.support.inputs, again.support.inputs)
    assert torch.equal(first.query.inputs, again.query.inputs)
    assert not torch.equal(first.query.inputs, second.query.inputs)


def test_uint8_is_scaled_floats_are_not_and_normalisation_follows():
    images = torch.stack([torch.full((2, 2, 2), value) for value in (0, 51, 102, 255)]).to(torch.uint8)
    labels = torch.tensor([0, 0, 1, 1])
    plain = ImageEpisodes(ClassPool(images, labels), 2, 1, 1).sample(1, generator())
    values = torch.cat([plain.support.inputs, plain.query.inputs], 1).unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 0.2, 0.4, 1.0]))
    floats = ImageEpisodes(ClassPool(images.float(), labels), 2, 1, 1).sample(1, generator())
    assert torch.cat([floats.support.inputs, floats.query.inputs], 1).unique().tolist() == [0, 51, 102, 255]
    normal = ImageEpisodes(ClassPool(images, labels), 2, 1, 1, mean=(0.5, 0.0), std=(0.5, 2.0))
    task = normal.sample(1, generator())
    torch.testing.assert_close(task.query.inputs[:, :, 0], (plain.query.inputs[:, :, 0] - 0.5) / 0.5)
    torch.testing.assert_close(task.query.inputs[:, :, 1], plain.query.inputs[:, :, 1] / 2.0)


def test_feature_vectors_make_episodes_too():
    features = torch.arange(12.0).reshape(6, 2)
    task = ImageEpisodes(ClassPool(features, torch.tensor([0, 1, 0, 1, 0, 1])), 2, 1, 2).sample(3, generator())
    assert task.query.inputs.shape == (3, 4, 2)
    assert {tuple(row) for row in task.query.inputs.flatten(0, 1).tolist()} <= set(map(tuple, features.tolist()))


def test_episodes_of_a_rotated_pool_turn_whole_classes():
    task = ImageEpisodes(corner_pool().with_rotations(), ways=8, shots=1, queries=3).sample(50, generator())
    support = task.support.inputs.mul(255).round().long().reshape(50, 8, 1, 4, 4)
    query = task.query.inputs.mul(255).round().long().reshape(50, 8, 3, 4, 4)
    images = torch.cat([support, query], 2)
    corners = torch.stack([images[..., 0, 0], images[..., 3, 0], images[..., 3, 3], images[..., 0, 3]], -1)
    where = corners.argmax(-1)
    assert torch.equal(where, where[..., :1].expand_as(where))
    assert set(where.flatten().tolist()) == {0, 1, 2, 3}
    values = corners.amax(-1)
    assert torch.equal(values.sort(-1).values % 10, torch.arange(1, 5).expand_as(values))
    assert torch.equal(values // 10, (values // 10)[..., :1].expand_as(values))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"ways": 6}, ValueError, "6 ways need 6 classes, and there are 5; take fewer"),
        ({"ways": 1}, ValueError, "ways must be at least 2, got 1"),
        ({"ways": 2.0}, TypeError, "ways must be an integer"),
        ({"shots": 0}, ValueError, "shots must be at least 1, got 0"),
        ({"queries": 0}, ValueError, "queries must be at least 1, got 0"),
        (
            {"shots": 2, "queries": 3},
            ValueError,
            "shots=2 and queries=3 need 5 images of a class, and class 'class 0' has 4",
        ),
        ({"std": 0.0}, ValueError, "std must be greater than 0"),
        ({"mean": math.nan}, ValueError, "mean must be finite"),
        ({"mean": (0.1, 0.2)}, ValueError, "mean must be one number or one for each of 1 channels, got 2"),
        ({"dtype": torch.uint8}, TypeError, "dtype must be a floating dtype"),
    ],
)
def test_impossible_episodes_are_named(settings, error, message):
    pool, _ = numbered_pool()
    with pytest.raises(error, match=message):
        ImageEpisodes(pool, **{"ways": 2, "shots": 1, "queries": 1, **settings})


def test_no_episode_at_all_is_refused():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        ImageEpisodes(corner_pool(), 2, 1, 1).sample(0, generator())


ACCELERATORS = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
    pytest.param(
        "mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="there is no MPS device")
    ),
]


def test_episodes_are_put_on_a_device_that_the_pool_is_not_on():
    pool, _ = numbered_pool()
    episodes = ImageEpisodes(pool, 2, 1, 2, mean=0.5, std=0.25, device=torch.device("meta")).sample(3, generator())
    assert {leaf.device.type for batch in episodes for leaf in batch} == {"meta"}
    assert episodes.query.inputs.shape == (3, 4, 1, 3, 3)
    assert pool.device.type == "cpu"


@pytest.mark.parametrize("device", ACCELERATORS)
def test_pools_on_a_device_give_the_same_episodes_there(device):
    pool = corner_pool().with_rotations()
    here = ImageEpisodes(pool, 4, 1, 2).sample(5, generator())
    there = ImageEpisodes(pool.to(device), 4, 1, 2).sample(5, generator())
    for one, two in zip([*here.support, *here.query], [*there.support, *there.query], strict=True):
        assert two.device.type == device
        torch.testing.assert_close(two.cpu(), one)


class CountOperations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        return func(*args, **(kwargs or {}))


def test_large_meta_batches_take_no_more_operations_than_small_ones():
    pool = ClassPool(torch.zeros(400, 1, 4, 4, dtype=torch.uint8), torch.arange(40).repeat_interleave(10))
    counted = []
    for count, ways, shots in ((1, 2, 1), (16, 20, 5)):
        with CountOperations() as mode:
            ImageEpisodes(pool, ways, shots, queries=2).sample(count, generator())
        counted.append(mode.operations)
    assert counted[0] == counted[1] < 100
