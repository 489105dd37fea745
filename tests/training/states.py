"""Runs as strangers leave them: a real run whose checkpoint is written again, with a right checksum."""

import copy
import hashlib
import io

import torch

WRONG = {
    "none": None,
    "true": True,
    "negative": -7,
    "fraction": 0.5,
    "huge": 10**40,
    "nan": float("nan"),
    "text": "seven",
    "list": [1, [2]],
    "names": {"a": 1},
    "bytes": bytearray(b"12345"),
    "short": torch.zeros(1),
    "empty": torch.zeros(0, 3),
    "integers": torch.ones(4, dtype=torch.int64),
    "complex": torch.ones(4, 1, dtype=torch.complex64),
    "sparse": torch.eye(4).to_sparse(),
    "meta": torch.empty(4, 1, device="meta"),
    "enormous": torch.zeros(1).expand(2**40),
}
"""What may stand in place of any leaf."""


def read(path):
    """What a checkpoint holds."""
    return torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)


def write(path, state):
    """Replace a checkpoint by a whole one that holds `state`."""
    payload = io.BytesIO()
    torch.save(state, payload)
    path.write_bytes(hashlib.sha256(payload.getvalue()).digest() + payload.getvalue())


def places(value, at=()):
    """The way to every branch and leaf of nested mappings and lists."""
    if at:
        yield at
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*at, name))
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from places(part, (*at, number))


def replaced(state, at, value):
    """A copy with another value at one place; `Ellipsis` takes the place away."""
    inner = changed = copy.deepcopy(state)
    for name in at[:-1]:
        if isinstance(inner[name], tuple):
            inner[name] = list(inner[name])
        inner = inner[name]
    if value is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return changed
