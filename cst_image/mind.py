"""MIND-SSC, the self-similarity context of a volume (Heinrich et al., MICCAI 2013): features that are not learned."""

from __future__ import annotations

from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_NEIGHBOURS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
_OPPOSITE = 4  # the squared distance of two neighbours that face each other; all other pairs have 2
_LOWEST, _HIGHEST = 0.001, 1000.0  # of the noise estimate, in units of its mean over the volume


def mind_ssc(volume: Float[Tensor, "1 X Y Z"], radius: int = 1, dilation: int = 2) -> Float[Tensor, "12 X Y Z"]:
    """One channel a pair of the six neighbours that are sqrt(2) from each other, in (0, 1]; the best one is 1.

    The neighbours lie ``dilation`` voxels away. D = mean squared difference of the two patches of
    (2 radius + 1)^3 voxels around them; from D its minimum over the channels is taken, V = the mean of that over the
    channels, clamped to 0.001 and 1000 times the volume's mean of V; the feature is exp(-D / V). Beyond the volume lies
    the value of its border. A volume without contrast has 1 everywhere. Differentiable, with that clamp held fixed.

    Raises:
        ValueError: ``radius`` is negative or ``dilation`` below 1.
    """
    if radius < 0 or dilation < 1:
        raise ValueError(f"radius must be 0 or more and dilation 1 or more, got {radius} and {dilation}")
    distance = _patch_distances(volume, radius, dilation)
    distance = distance - distance.amin(dim=0, keepdim=True)
    noise = distance.mean(dim=0, keepdim=True)
    typical = float(noise.detach().mean())
    lowest = max(_LOWEST * typical, torch.finfo(volume.dtype).tiny)  # no contrast: 0 divided by something
    return (-distance / noise.clamp(lowest, max(_HIGHEST * typical, lowest))).exp()


def _patch_distances(volume: Float[Tensor, "1 X Y Z"], radius: int, dilation: int) -> Float[Tensor, "12 X Y Z"]:
    padded = functional.pad(volume, (radius + dilation,) * 6, mode="replicate")[0]
    # every neighbour of the sites of the volume and of ``radius`` sites around it
    seen = [
        padded[
            tuple(
                slice(dilation * (1 + step), size - dilation * (1 - step))
                for step, size in zip(n, padded.shape, strict=True)
            )
        ]
        for n in _NEIGHBOURS
    ]
    squared = torch.stack(
        [
            (seen[a] - seen[b]).square()
            for a, b in combinations(range(6), 2)
            if sum((p - q) ** 2 for p, q in zip(_NEIGHBOURS[a], _NEIGHBOURS[b], strict=True)) < _OPPOSITE
        ]
    )
    patch = 2 * radius + 1
    for axis in (1, 2, 3):  # axis by axis: a fifth of the time of a pooling over all three
        sites = squared.shape[axis] - 2 * radius
        squared = torch.stack([squared.narrow(axis, first, sites) for first in range(patch)]).sum(dim=0)
    return squared / patch**3
