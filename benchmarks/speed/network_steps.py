"""The network's part of registering one pair of volumes, and what its convolutions cannot do without."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from benchmarks.speed.step import Step
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.lattice import lattice_shape
from cst_image.pair import ImagePair


def network_steps(backend: ImageBackend, network: nn.Module, pair: ImagePair) -> list[Step]:
    """g whole, thrice a pair with the second warp, and its first blocks again for every further round of Adam."""
    config = backend.config
    least = network_floor(config, pair)
    return [
        Step("network, one volume", lambda: network(pair.fixed[None])[0], None, *least, 3),
        Step("network in bfloat16", lambda: in_half(network, pair), None, *least),
        Step(
            "its blocks for Adam, one volume",
            lambda: backend.instance_features(network, pair.fixed),
            None,
            *network_floor(config, pair, max(config.instance_blocks)),
            config.adam_rounds - 1,
        ),
    ]


def in_half(network: nn.Module, pair: ImagePair) -> Tensor:
    """As `precision=bfloat16` has it."""
    with torch.autocast("cpu", torch.bfloat16):
        return network(pair.fixed[None])[0]


def network_floor(config: ImageConfig, pair: ImagePair, blocks: int | None = None) -> tuple[float, float]:
    """Operations of the convolutions of g on one volume, and numbers: what goes into and comes out of each.

    ``blocks``: those of the first so many alone.
    """
    operations, numbers, stride, before, sites = 0.0, 0.0, 1, 1, prod(pair.grid.shape)
    layers = zip(
        (*config.channels, config.features), (*config.strides, 1), (*(27 for _ in config.channels), 1), strict=True
    )
    for width, by, taps in tuple(layers)[:blocks]:
        stride *= by
        out = prod(lattice_shape(pair.grid.shape, stride))
        operations += 2.0 * taps * before * width * out
        numbers += before * sites + width * out
        before, sites = width, out
    return operations, numbers
