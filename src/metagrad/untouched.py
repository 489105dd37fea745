"""What a backward pass reads again, and so must find as the forward pass left it."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from metagrad import structure
from metagrad.functional import Statistics
from metagrad.structure import Data


class Untouched:
    """Modules and data as they are now; autograd does the same for the tensors that it saves.

    Args:
        modules: whose modes, parameters and buffers are read.
        statistics: by which batch norm normalises; running statistics that are not read may change.
        data: the support set; what is a function is called again, and not watched.
    """

    def __init__(self, modules: Sequence[nn.Module], statistics: Statistics, data: Data) -> None:
        parts = [part for module in modules for part in module.modules()]
        self._modes = [(type(part).__name__, part, part.training) for part in parts]
        tensors = [pair for module in modules for pair in _read(module, statistics)]
        leaves, shape = structure.flatten(data)
        tensors += [
            (f"support {path.removeprefix('data.')}".strip(), leaf)
            for path, leaf in zip(shape.paths, leaves, strict=True)
        ]
        self._versions = [(name, leaf, leaf._version) for name, leaf in tensors if not leaf.is_inference()]

    def require(self) -> None:
        """Refuse to go on with anything else.

        Raises:
            ValueError: a tensor was written on, or a module changed its mode.
        """
        written = [name for name, leaf, version in self._versions if leaf._version != version]
        if written:
            raise ValueError(
                f"{written[0]} was changed in place after unroll, and the backward pass reads it again; call backward "
                "first, or unroll a clone()"
            )
        switched = [name for name, part, training in self._modes if part.training != training]
        if switched:
            raise ValueError(
                f"{switched[0]} was switched between train and eval mode after unroll, and the backward pass calls it "
                "again; call backward first"
            )


def _read(module: nn.Module, statistics: Statistics) -> Iterator[tuple[str, Tensor]]:
    """Parameters, and the buffers that a call reads."""
    yield from ((f"parameter {name!r}", parameter) for name, parameter in module.named_parameters())
    for path, part in module.named_modules():
        for name, buffer in part.named_buffers(path, recurse=False):
            by_batch = part.training if statistics is None else statistics == "batch"
            unread = by_batch or name.endswith("num_batches_tracked")
            if not (isinstance(part, _BatchNorm) and unread):
                yield f"buffer {name!r}", buffer
