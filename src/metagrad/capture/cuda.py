"""A traced graph as a CUDA graph: all its kernels launched by one call."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from metagrad.capture.trace import Flat

WARM_UPS = 3  # runs before a capture, as torch asks for: libraries choose their algorithms and workspaces in them


def cuda_graph_compiler(graph: fx.GraphModule, inputs: list[Tensor]) -> Flat:
    """Record the graph on a side stream and replay it on inputs copied into fixed memory.

    Memory: what one run of the graph needs stays reserved, with a copy of its inputs. Results are copied out, so that
    the next replay cannot overwrite them.
    """
    fixed = [leaf.clone() for leaf in inputs]
    device = inputs[0].device
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(WARM_UPS):
            graph(*fixed)
    torch.cuda.current_stream(device).wait_stream(side)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded), torch.no_grad():
        outputs: Sequence[Tensor | None] = graph(*fixed)

    def replay(*leaves: Tensor) -> Sequence[Tensor | None]:
        for place, leaf in zip(fixed, leaves, strict=True):
            place.copy_(leaf)
        recorded.replay()
        return [None if output is None else output.clone() for output in outputs]

    return replay
