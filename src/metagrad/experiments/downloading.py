"""The files of an experiment, fetched where that is possible."""

import os
from collections.abc import Callable
from pathlib import Path

from metagrad.data.download import CIFAR100, OMNIGLOT, Download, fetch
from metagrad.experiments.image_problem import ImageClassification
from metagrad.experiments.options import DATA_VARIABLE
from metagrad.experiments.problem import Problem
from metagrad.experiments.problems import OmniglotClassification


def download(problem: Problem, announce: Callable[[str], None]) -> None:
    """Fetch what the problem's data directory lacks: Omniglot, or CIFAR-100 for CIFAR-FS and FC100.

    The files go into a folder `omniglot` or `cifar100` of the directory, unless they lie in the directory itself.

    Raises:
        ValueError: the problem needs no files, or files that must be got by hand; no directory is named; or as `fetch`.
    """
    files, folder = _wanted(problem)
    named = getattr(problem, "data", None) or os.environ.get(DATA_VARIABLE)
    if named is None:
        raise ValueError(f"--download needs a place for the files: give --data DIR, or set ${DATA_VARIABLE}")
    directory = Path(named)
    if not all((directory / file.name).is_file() for file in files):
        fetch(files, directory / folder, announce)


def _wanted(problem: Problem) -> tuple[tuple[Download, ...], str]:
    if isinstance(problem, OmniglotClassification):
        return OMNIGLOT, "omniglot"
    if not isinstance(problem, ImageClassification):
        raise ValueError("this experiment makes its tasks itself: --download has no use here")
    if problem.dataset in ("cifar-fs", "fc100"):
        return CIFAR100, "cifar100"
    if problem.dataset == "folder":
        raise ValueError("a folder of your own images cannot be downloaded; name it with --data DIR")
    raise ValueError(
        f"{problem.dataset} cannot be downloaded here, because ImageNet's terms are between you and its makers; "
        "docs/how-to/data.md says which files to get, then give --data DIR"
    )
