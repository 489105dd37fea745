"""Weights in a safetensors file that any reader of that format opens, with a checksum of names, shapes and numbers."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from metagrad.opening import read_bytes
from metagrad.training.files import replacing

_SUM = "sha256"


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Replace the file at `path`."""
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    owned = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    with replacing(path) as file:
        file.write(safetensors.torch.save(owned, {_SUM: _digest(owned)}))


def read_weights(path: Path, largest: int, summed: bool) -> dict[str, Tensor]:
    """The weights in the file.

    Args:
        path: the file.
        largest: most bytes that are read.
        summed: whether a file without a checksum is refused; one that has a checksum is held against it anyway.

    Raises:
        ValueError: it is missing, damaged, too large or something else.
    """
    try:
        data = read_bytes(path, largest)
        weights = safetensors.torch.load(data)
    except (OSError, KeyError, safetensors.SafetensorError) as error:  # KeyError: a dtype that torch lacks
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"the weights in {path} are missing or damaged ({why})") from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # which safetensors has checked
    known = header.get("__metadata__", {}).get(_SUM)
    if (known is not None or summed) and known != _digest(weights):
        raise ValueError(f"the weights in {path} are damaged: their checksum differs from the one saved with them")
    return weights


def _digest(weights: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name]
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
