"""Complete few-shot experiments on colour images and on MNIST-1D, by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from metagrad.estimators import Binomial
from metagrad.experiments.config import Experiment
from metagrad.experiments.groups import Machine, Optimizer, Testing, Validation
from metagrad.experiments.image_problem import Dataset, ImageClassification
from metagrad.experiments.mnist1d_problem import Mnist1dClassification
from metagrad.rules import SGD

# Means and standard deviations of red, green and blue in 0…1 that MetaOptNet (Lee et al. 2019) normalises by, of
# miniImageNet's and of CIFAR's training images. tieredImageNet and folders, for which it has none, take the former.
_IMAGENET = ((0.4721, 0.4533, 0.4100), (0.2772, 0.2678, 0.2845))
_CIFAR = ((0.5074, 0.4867, 0.4411), (0.2675, 0.2566, 0.2763))


def mini_imagenet_5way1shot() -> Experiment:
    """miniImageNet, 5 classes with one 84×84 image each; wants a GPU."""
    return _imagenet("mini-imagenet", shots=1)


def mini_imagenet_5way5shot() -> Experiment:
    """miniImageNet, 5 classes with five 84×84 images each; wants a GPU."""
    return _imagenet("mini-imagenet", shots=5)


def tiered_imagenet_5way1shot() -> Experiment:
    """tieredImageNet, 5 classes with one 84×84 image each; wants a GPU."""
    return _imagenet("tiered-imagenet", shots=1)


def tiered_imagenet_5way5shot() -> Experiment:
    """tieredImageNet, 5 classes with five 84×84 images each; wants a GPU."""
    return _imagenet("tiered-imagenet", shots=5)


def cifar_fs_5way1shot() -> Experiment:
    """CIFAR-FS, 5 classes of CIFAR-100 with one 32×32 image each."""
    return _small("cifar-fs", shots=1)


def cifar_fs_5way5shot() -> Experiment:
    """CIFAR-FS, 5 classes of CIFAR-100 with five 32×32 images each."""
    return _small("cifar-fs", shots=5)


def fc100_5way1shot() -> Experiment:
    """FC100, 5 classes of CIFAR-100 with one 32×32 image each, from other superclasses than in training."""
    return _small("fc100", shots=1)


def fc100_5way5shot() -> Experiment:
    """FC100, 5 classes of CIFAR-100 with five 32×32 images each, from other superclasses than in training."""
    return _small("fc100", shots=5)


def folder_5way1shot() -> Experiment:
    """Your own images in folders train, val and test, 5 classes with one image each, brought to 84×84 pixels."""
    return _imagenet("folder", shots=1)


def folder_5way5shot() -> Experiment:
    """Your own images in folders train, val and test, 5 classes with five images each, brought to 84×84 pixels."""
    return _imagenet("folder", shots=5)


def mnist1d_5way1shot() -> Experiment:
    """MNIST-1D, 5 of ten digits with one signal of 40 points each; needs no files and minutes of one CPU."""
    return _mnist1d(shots=1)


def mnist1d_5way5shot() -> Experiment:
    """MNIST-1D, 5 of ten digits with five signals of 40 points each; needs no files and minutes of one CPU."""
    return _mnist1d(shots=5)


def _imagenet(dataset: Dataset, shots: int) -> Experiment:
    """The settings of BinomMAML's tables (K, both step sizes, meta-batch, width, query images, meta-steps, early stop).

    Ours are the order of the estimator (they compare 0 to 5), the colours' statistics and the validation.
    """
    mean, std = _IMAGENET
    return Experiment(
        problem=ImageClassification(
            dataset=dataset,
            data=None,
            ways=5,
            shots=shots,
            queries=15,
            test_queries=15,
            size=84,
            mean=mean,
            std=std,
            filters=32,
            pooling="max",
        ),
        rule=SGD(lr=0.01),
        num_steps=5,
        estimator=Binomial(order=3, scale="paper"),
        adapts=(),
        proximal=None,
        meta_steps=20000,
        meta_batch=4,
        seed=0,
        checkpoint_every=100,
        optimizer=Optimizer(name="adam", lr=1e-3, momentum=0.9, clip=None, schedule="constant"),
        validation=Validation(every=500, tasks=200, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        machine=Machine(
            device="auto", dtype="float32", threads=None, task_chunk=None, evaluation_chunk=10, capture="auto"
        ),
    )


def _small(dataset: Dataset, shots: int) -> Experiment:
    """Ours throughout, after Omniglot's presets: no published settings go with these estimators and data sets."""
    like = _imagenet(dataset, shots)
    assert isinstance(like.problem, ImageClassification)
    mean, std = _CIFAR
    return replace(
        like,
        problem=replace(like.problem, size=32, mean=mean, std=std),
        rule=SGD(lr=0.05),
        estimator=Binomial(order=3),
        meta_steps=5000,
        optimizer=Optimizer(name="adam", lr=3e-3, momentum=0.9, clip=1.0, schedule="cosine"),
    )


def _mnist1d(shots: int) -> Experiment:
    """Ours throughout, but for the signals: FO-B-MAML's settings on MNIST-1D are not published."""
    return Experiment(
        problem=Mnist1dClassification(
            data_seed=42, ways=5, shots=shots, queries=15, test_queries=15, hidden=(100, 100)
        ),
        rule=SGD(lr=0.5),  # the best of 0.1, 0.5 and 1 after 1000 meta-steps
        num_steps=5,
        # Plain, it overshoots within 20 meta-steps and ends 8 points lower.
        estimator=Binomial(order=3, center="auto"),
        adapts=(),
        proximal=None,
        meta_steps=3000,
        meta_batch=8,
        seed=0,
        checkpoint_every=250,
        optimizer=Optimizer(name="adam", lr=1e-3, momentum=0.9, clip=1.0, schedule="cosine"),
        validation=Validation(every=500, tasks=200, seed=1),
        test=Testing(tasks=600, steps=10, seed=2),
        # One thread: the tensors are too small to share.
        machine=Machine(
            device="auto", dtype="float32", threads=1, task_chunk=None, evaluation_chunk=100, capture="auto"
        ),
    )


IMAGE_PRESETS: Mapping[str, Callable[[], Experiment]] = {
    "mini-imagenet-5way-1shot": mini_imagenet_5way1shot,
    "mini-imagenet-5way-5shot": mini_imagenet_5way5shot,
    "tiered-imagenet-5way-1shot": tiered_imagenet_5way1shot,
    "tiered-imagenet-5way-5shot": tiered_imagenet_5way5shot,
    "cifar-fs-5way-1shot": cifar_fs_5way1shot,
    "cifar-fs-5way-5shot": cifar_fs_5way5shot,
    "fc100-5way-1shot": fc100_5way1shot,
    "fc100-5way-5shot": fc100_5way5shot,
    "mnist1d-5way-1shot": mnist1d_5way1shot,
    "mnist1d-5way-5shot": mnist1d_5way5shot,
    "folder-5way-1shot": folder_5way1shot,
    "folder-5way-5shot": folder_5way5shot,
}
"""Presets by the name that users type."""
