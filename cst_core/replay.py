"""A function of tensors on CUDA whose kernels are recorded once and launched all at once (a CUDA graph).

Fifty small steps are a thousand launches of some microseconds each, during most of which the GPU waits. A recording is
of one kind of arguments: of shapes, types and devices, and of what else the function is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SWITCH = "CST_CUDA_GRAPHS"
"""Environment variable: 0 launches every kernel by itself, should a driver not record them."""


class Recording(NamedTuple):
    """Kernels that read ``inputs`` and write ``output``, always the same memory."""

    inputs: tuple[Tensor, ...]
    output: Tensor
    launch: Callable[[], None]


class Replay:
    """``function(*tensors, settings)``, launched at once where it is called again and again with one kind of arguments.

    The first call of a kind runs as it is: kernels are compiled and libraries get ready, which cannot be recorded. The
    second records, and from then on recordings are replayed. Only the last kind is kept, since a recording holds on to
    the memory that it works in. ``function`` must have no side effects and no gradients, and the CPU may not read any
    value in it. Where a tensor is not on CUDA, it is called and no more.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._kind: Hashable = None
        self._recording: Recording | None = None

    def __call__(self, *tensors: Tensor, settings: Hashable) -> Tensor:
        """What ``function`` returns.

        Raises:
            torch.OutOfMemoryError: there is no room for the recording.
        """
        if not recordable(tensors):
            return self._function(*tensors, settings)
        kind = (settings, *((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors))
        if kind != self._kind:
            self._kind, self._recording = kind, None
            return self._function(*tensors, settings)
        if self._recording is None:
            self._recording = record(self._function, tensors, settings)
        for place, tensor in zip(self._recording.inputs, tensors, strict=True):
            place.copy_(tensor)
        self._recording.launch()
        return self._recording.output.clone()


def recordable(tensors: Sequence[Tensor]) -> bool:
    """Whether all of it happens on CUDA, and nobody has switched recording off."""
    return all(tensor.is_cuda for tensor in tensors) and os.environ.get(SWITCH) != "0"


def record(function: Callable[..., Tensor], tensors: Sequence[Tensor], settings: Hashable) -> Recording:
    """The kernels of ``function(*tensors, settings)``, on CUDA; they do not run yet."""
    inputs = tuple(tensor.clone() for tensor in tensors)
    graph = torch.cuda.CUDAGraph()
    # what other threads do meanwhile (a process group's watchdog) is no part of it
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = function(*inputs, settings)
    return Recording(inputs, output, graph.replay)
