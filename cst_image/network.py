"""g: the feature extractor (Sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["batch", "instance"]
LABEL_BLOCK = 2
"""The block at whose lattice labels lie and instance optimisation runs."""


class Features(NamedTuple):
    """What g makes of a batch of volumes."""

    last: Float[Tensor, "B C x y z"]
    """For the correlation, at the network's stride."""
    instance: Float[Tensor, "B D X Y Z"]
    """For instance optimisation: of one or both of the first two blocks, at the stride of labels."""


class FeatureCNN(nn.Module):
    """3x3x3 convolutions with normalisation and ReLU, then a 1x1x1 convolution; `towers` of them side by side.

    ``channels`` and ``strides``: one a block (Sec. 3: 32, 64, 128, 128, 128 and 2, 1, 2, 1, 2). ``features``: channels
    of the output (published code: 16). ``instance_blocks``: those whose features make `Features.instance`
    (Sec. 3: 2). Towers differ in their random weights and see the same volume; their features are concatenated.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 128, 128),
        strides: Sequence[int] = (2, 1, 2, 1, 2),
        features: int = 16,
        norm: Norm = "batch",
        towers: int = 1,
        instance_blocks: Sequence[int] = (LABEL_BLOCK,),
    ) -> None:
        super().__init__()
        if len(channels) != len(strides) or len(channels) < LABEL_BLOCK:
            raise ValueError(f"channels and strides must be as many, two or more, got {channels} and {strides}")
        self.towers = nn.ModuleList(_Tower(channels, strides, features, norm, instance_blocks) for _ in range(towers))

    def forward(self, volumes: Float[Tensor, "B 1 X Y Z"]) -> Features:
        """Both kinds of features of a batch of volumes of one size."""
        lasts, instances = zip(*(tower(volumes) for tower in self.towers), strict=True)
        return Features(torch.cat(lasts, dim=1), torch.cat([part for parts in instances for part in parts], dim=1))

    def instance(self, volumes: Float[Tensor, "B 1 X Y Z"]) -> Float[Tensor, "B D x y z"]:
        """`Features.instance` alone: no block is computed beyond the last that it is made of."""
        towers = (cast(_Tower, tower) for tower in self.towers)
        return torch.cat([part for tower in towers for part in tower.instance(volumes)], dim=1)


class _Tower(nn.Module):
    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], features: int, norm: Norm, instance_blocks: Sequence[int]
    ) -> None:
        super().__init__()
        self.instance_blocks = tuple(instance_blocks)
        blocks, before = [], 1
        for width, stride in zip(channels, strides, strict=True):
            blocks.append(
                nn.Sequential(
                    nn.Conv3d(before, width, 3, stride, padding=1),
                    nn.BatchNorm3d(width) if norm == "batch" else nn.InstanceNorm3d(width, affine=True),
                    nn.ReLU(inplace=True),
                )
            )
            before = width
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv3d(before, features, 1)

    def forward(self, volumes: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, instance = self._through(volumes, len(self.blocks))
        return self.last(x), instance

    def instance(self, volumes: Tensor) -> list[Tensor]:
        return self._through(volumes, max(self.instance_blocks))[1]

    def _through(self, volumes: Tensor, count: int) -> tuple[Tensor, list[Tensor]]:
        """What the first ``count`` blocks make, and what of it is kept for instance optimisation."""
        x, instance = volumes, []
        for place, block in enumerate(self.blocks[:count], start=1):
            x = block(x)
            if place in self.instance_blocks:
                instance.append(x)
        return x, instance
