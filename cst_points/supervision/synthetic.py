"""Training on a cloud and a deformed copy of itself, whose field is known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from cst_core.affine import draw_similarity, in_mm
from cst_core.supervision import Example, SelfTraining
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig

Field = Callable[[Float[Tensor, "P 3"]], Float[Tensor, "P 3"]]
"""A displacement in mm at any points in mm."""
Deform = Callable[[CloudPair, PointsConfig, Generator], Field]
"""Draws a field for one pair's field of view."""

_WAVES = 64  # plane waves that a smooth field is the sum of


class Synthetic(SelfTraining[CloudPair]):
    """One cloud of the training pair in two samples, one of them deformed; the loss is Eq. 2, without pseudo labels.

    The samples are drawn independently, so that many points of one have no partner in the other, and what is left of
    them is jittered: as in keypoints that were detected twice. The one that plays the moving cloud keeps more points.
    """

    labelled = False

    def __init__(self, config: PointsConfig, deform: Deform) -> None:
        super().__init__()
        self._config, self._deform = config, deform

    def example(self, index: int, pair: CloudPair, label: Tensor | None, generator: Generator) -> Example[CloudPair]:
        """A new pair, and its exact field; a function of the pair and the (CPU) ``generator``."""
        del index, label
        config = self._config
        cloud = drawn_cloud(pair, generator)
        displacement = self._deform(pair, config, generator)
        fixed = cloud[sample(len(cloud), config.synthetic_fixed, generator)]
        moving = cloud[sample(len(cloud), config.synthetic_moving, generator)]
        noise = config.synthetic_jitter_mm * torch.randn(moving.shape, generator=generator)
        moving = moving + displacement(moving) + noise.to(moving)
        return Example(CloudPair(fixed, moving, pair.origin, pair.half_extent), displacement(fixed).T.contiguous())


def drawn_cloud(pair: CloudPair, generator: Generator) -> Float[Tensor, "P 3"]:
    """Fixed or moving, each as likely as it has points: half of the small one would be unlike any real cloud."""
    total = len(pair.fixed) + len(pair.moving)
    return pair.fixed if int(torch.randint(total, (), generator=generator)) < len(pair.fixed) else pair.moving


def sample(total: int, share: float, generator: Generator) -> Tensor:
    """Indices of a ``share`` of ``total`` points in random order, without repeats; four at least, as splines need."""
    return torch.randperm(total, generator=generator)[: max(4, round(share * total))]


def draw_rigid(pair: CloudPair, config: PointsConfig, generator: Generator) -> Field:
    """A similarity of normalised coordinates, drawn as the augmentation is, but for one of the clouds alone."""
    drawn = draw_similarity(generator, config.synthetic_degrees, config.synthetic_translation, config.synthetic_scale)
    affine = in_mm(drawn, pair.origin.cpu(), pair.half_extent.cpu())
    return lambda points: affine.apply(points) - points


def draw_smooth(pair: CloudPair, config: PointsConfig, generator: Generator) -> Field:
    """A translation, and two random smooth fields: the breath of a lung, and what differs within it.

    Each is as strong as a factor says that is drawn for the whole, uniform in [0.25, 1]: breaths are shallow and deep.
    """
    effort = float(0.25 + 0.75 * torch.rand((), dtype=torch.float64, generator=generator))
    shift = config.synthetic_shift_mm * torch.randn(3, dtype=torch.float64, generator=generator)
    coarse = draw_waves(config.synthetic_coarse_mm, config.synthetic_coarse_length_mm, generator)
    fine = draw_waves(config.synthetic_fine_mm, config.synthetic_fine_length_mm, generator)

    def displacement(points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        return effort * (shift.to(points) + coarse(points - pair.origin) + fine(points - pair.origin))

    return displacement


def draw_waves(amplitude: float, length: float, generator: Generator) -> Field:
    """A random field whose components have standard deviation ``amplitude`` and correlation exp(-r^2 / 2 length^2).

    The sum of plane waves with normally distributed wave vectors (Rahimi and Recht 2007): a Gaussian process in closed
    form, at any points and infinitely smooth. mm.
    """
    vectors = torch.randn(3, _WAVES, dtype=torch.float64, generator=generator) / length
    phases = 2 * math.pi * torch.rand(_WAVES, dtype=torch.float64, generator=generator)
    weights = torch.randn(_WAVES, 3, dtype=torch.float64, generator=generator) * amplitude * math.sqrt(2 / _WAVES)

    def displacement(points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        at = points.double()
        return (torch.cos(at @ vectors.to(at) + phases.to(at)) @ weights.to(at)).to(points)

    return displacement
