"""Features whose value at any place is known, so that a pair can show any motion without resampling; one thread."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

Waves = Callable[[Tensor], Tensor]

# `import blobs`, in the tests beside it, wherever they are run from
_blobs = importlib.util.spec_from_file_location("blobs", Path(__file__).with_name("blobs.py"))
assert _blobs is not None
assert _blobs.loader is not None
sys.modules["blobs"] = importlib.util.module_from_spec(_blobs)
_blobs.loader.exec_module(sys.modules["blobs"])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The volumes here are so small that threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def waves() -> Callable[..., Waves]:
    """``waves(channels, wavelength, seed)`` gives a function from positions ``(3, *sites)`` to ``(channels, *sites)``.

    One sine a channel, of random direction and phase; ``wavelength`` in the unit of the positions.
    """

    def make(channels: int, wavelength: float, seed: int = 0) -> Waves:
        generator = torch.Generator().manual_seed(seed)
        direction = torch.randn(channels, 3, generator=generator, dtype=torch.float64)
        number = 2 * math.pi / wavelength * direction / direction.norm(dim=1, keepdim=True)
        phase = 2 * math.pi * torch.rand(channels, generator=generator, dtype=torch.float64)

        def at(points: Tensor) -> Tensor:
            angle = torch.einsum("ca,a...->...c", number, points.double()) + phase
            return torch.sin(angle).movedim(-1, 0).to(points.dtype)

        return at

    return make
