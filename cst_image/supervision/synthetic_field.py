"""Supervised without labels: one scan and a copy of it, warped by a random smooth field that is known exactly."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from cst_core.field import positions, sample, warp
from cst_core.supervision import Example
from cst_image.backend import ImageBackend
from cst_image.intensity import lowest
from cst_image.lattice import lattice_grid, lattice_shape
from cst_image.pair import ImagePair
from cst_image.supervision.smooth_field import draw_smooth_field


class SyntheticField:
    """Both scans of an example are of one subject: fixed(x) = scan(x + u(x)), moving = scan, so that u is the label.

    u is drawn on the label lattice, and read between its sites as every field of that lattice is; contrast and noise
    are drawn for each of the two.
    """

    labelled = False
    fields = True

    def __init__(self, backend: ImageBackend) -> None:
        self._backend = backend

    def example(self, index: int, pair: ImagePair, label: Tensor | None, generator: Generator) -> Example[ImagePair]:
        """Made of one scan of ``pair``, either as often."""
        del index, label
        if torch.rand(1, generator=generator) < 0.5:
            pair = pair.swapped()
        u = self._drawn_field(pair, generator).to(pair.fixed)
        vectors, spacing = self._backend.on_grid(pair, u), pair.grid.spacing
        mask = torch.ones_like(pair.moving) if pair.moving_mask is None else pair.moving_mask.to(pair.moving)
        made = ImagePair(
            self._varied(warp(pair.moving, vectors, spacing), generator),
            self._varied(pair.moving, generator),
            pair.grid,
            warp(mask, vectors, spacing, padding="zeros") > 0.5,
            mask > 0.5,
        )
        return Example(made, u)

    def loss(self, pair: ImagePair, predicted: Tensor, target: Tensor | None) -> Tensor:
        """Mean |u_predicted - u| (Eq. 2) over the sites whose content both scans show, mm."""
        if target is None:
            raise ValueError("target: synthetic-field makes one for every example, got None")
        stride = self._backend.config.label_stride
        spacing = lattice_grid(pair.grid, stride).spacing
        seen = torch.ones_like(predicted[0], dtype=torch.bool)
        if pair.fixed_mask is not None:
            seen = seen & pair.fixed_mask[0, ::stride, ::stride, ::stride]
        if pair.moving_mask is not None:
            at = positions(target.shape[1:], spacing, target.dtype, target.device) + target
            shown = sample(pair.moving_mask.to(target), at, pair.grid.spacing, padding="zeros")
            seen = seen & (shown[0] > 0.5)
        error = torch.linalg.vector_norm(predicted - target, dim=0)
        return (error * seen).sum() / seen.sum().clamp(min=1)

    def _drawn_field(self, pair: ImagePair, generator: Generator) -> Float[Tensor, "3 x y z"]:
        config = self._backend.config
        shape = lattice_shape(pair.grid.shape, config.label_stride)
        grain = config.synthetic_grain * config.stride / config.label_stride
        farthest = config.reach * config.stride * torch.tensor(pair.grid.spacing)[:, None, None, None]
        deviation = config.synthetic_amplitude * torch.rand(1, generator=generator) * farthest
        return deviation * draw_smooth_field(shape, (grain, grain, grain), generator)

    def _varied(self, scan: Float[Tensor, "1 X Y Z"], generator: Generator) -> Float[Tensor, "1 X Y Z"]:
        """Another exponent of the mapped intensities, which are 1 wide, and noise."""
        config = self._backend.config
        gamma = (config.synthetic_contrast * torch.randn(1, generator=generator)).exp().item()
        noise = torch.randn(scan.shape, generator=generator).to(scan)
        low = lowest(config)
        return low + (scan - low).clamp(0.0, 1.0) ** gamma + config.synthetic_noise * noise
