"""The thirteen organs of an average patient, as solids, and how they differ between patients.

Frame: RAS mm about the field of view's centre; the midplane is x = 0, the second lumbar vertebra lies at z = 73.
Places, sizes and spreads follow what was measured on the label maps of 20 abdominal CTs (Learn2Reg AbdomenCTCT), the
two sides made to mirror each other about the spine; courses and neighbours are those of anatomy textbooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from cst_image.abdomen.shapes import Placement, Solid, Tube, ellipsoid, tube

KIDNEYS, GALLBLADDER, LIVER, STOMACH = (2, 3), 4, 6, 7
ORGANS = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "oesophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}


class Variation(NamedTuple):
    """Standard deviations between patients, beyond those of the whole body."""

    shift: tuple[float, float, float]
    """mm."""
    size: float
    """Of the logarithm of a common scale."""
    shape: float
    """Of the logarithm of each axis's own scale."""
    turn: float
    """Degrees, about each axis."""
    wobble: float
    """mm by which the surface rises and falls; of a tube, by which its knots move."""


@dataclass(frozen=True)
class Organ:
    """What an organ is made of: the union of ``parts`` without that of ``cuts``."""

    parts: tuple[Solid, ...]
    variation: Variation
    cuts: tuple[Solid, ...] = ()
    inner: tuple[Solid, ...] = ()
    """Painted inside it, without a label of their own: a kidney's sinus, a liver's vessels."""


GLAND = Variation((4, 4, 5), 0.10, 0.08, 8, 1.6)
VESSEL = Variation((2, 3, 3), 0.10, 0.03, 1.5, 2.0)

CANONICAL = {
    1: Organ(
        (ellipsoid((-102, -20, 137), (35, 53, 61), (25, -14, 20)),),
        Variation((6, 9, 10), 0.13, 0.10, 15, 4.5),
        cuts=(ellipsoid((-62, 12, 140), (24, 34, 46), (20, -10, 20)),),
    ),
    2: Organ(
        (ellipsoid((65, -30, 73), (28, 26, 55), (10, 10, -25)),),
        Variation((6, 8, 15), 0.06, 0.05, 10, 2.2),
        inner=(ellipsoid((46, -21, 73), (18, 10, 26), (10, 10, -25)),),
    ),
    3: Organ(
        (ellipsoid((-68, -24, 76), (28, 26, 55), (10, -10, 25)),),
        Variation((6, 8, 15), 0.06, 0.05, 10, 2.2),
        inner=(ellipsoid((-49, -15, 76), (18, 10, 26), (10, -10, 25)),),
    ),
    4: Organ(
        (tube((66, 28, 106, 7), (72, 40, 94, 14), (78, 50, 78, 16)),),
        Variation((8, 8, 11), 0.18, 0.08, 20, 2.0),
    ),
    5: Organ(
        (tube((0, -12, 262, 5.5), (-3, -8, 230, 5.5), (-8, 0, 200, 6), (-18, 8, 178, 6.5), (-34, 12, 166, 6)),),
        Variation((2, 3, 3), 0.10, 0.03, 2, 2.0),
    ),
    6: Organ(
        (
            ellipsoid((80, 2, 131), (66, 86, 97), (0, -8, 8)),
            ellipsoid((44, 36, 160), (72, 60, 56), (0, 18, -8)),
            ellipsoid((-14, 54, 164), (62, 38, 32), (0, 12, 0)),
        ),
        Variation((5, 7, 8), 0.05, 0.06, 7, 7.0),
        cuts=(
            ellipsoid((20, 4, 84), (44, 56, 48), (0, 25, 0)),
            ellipsoid((66, -36, 72), (31, 29, 58)),
        ),
        # hepatic veins, gathering at the vena cava, and the branches of the portal vein
        inner=(
            tube((26, 8, 190, 5.5), (52, 2, 178, 5), (92, -12, 150, 3.5), (112, -20, 122, 2)),
            tube((26, 8, 190, 5.5), (40, 26, 176, 4.5), (58, 44, 148, 3), (66, 56, 126, 2)),
            tube((26, 8, 190, 5), (10, 30, 180, 4), (-14, 48, 168, 2.5)),
            tube((50, 20, 134, 6.5), (72, 8, 136, 5.5), (98, 4, 132, 4), (118, 18, 122, 2)),
            tube((72, 8, 136, 5), (88, -24, 148, 3.5), (96, -44, 156, 2)),
            tube((50, 20, 134, 6), (34, 38, 150, 5), (12, 52, 160, 3.5), (-10, 58, 166, 2)),
        ),
    ),
    7: Organ(
        (
            tube(
                (-68, -2, 178, 23),
                (-74, 14, 154, 29),
                (-68, 36, 124, 28),
                (-48, 56, 98, 23),
                (-14, 64, 82, 18),
                (18, 58, 84, 15),
                (38, 48, 94, 11),
            ),
        ),
        Variation((9, 8, 11), 0.14, 0.10, 9, 6.0),
    ),
    8: Organ(
        (tube((-15, -25, 262, 11.5), (-15, -24, 205, 11.5), (-8, -14, 150, 10.5), (-4, -6, 95, 9), (-2, -3, 4, 8)),),
        VESSEL,
    ),
    9: Organ(
        (
            tube(
                (26, 14, 212, 12),
                (27, 6, 185, 12.5),
                (24, 1, 145, 12.5),
                (22, -1, 95, 11.5),
                (17, -4, 40, 11),
                (12, -6, 0, 10.5),
            ),
        ),
        VESSEL,
    ),
    10: Organ(
        (
            tube((62, 16, 136, 7), (48, 20, 132, 8), (26, 20, 120, 8.5), (10, 20, 106, 9), (8, 28, 72, 7.5)),
            tube((10, 20, 106, 7.5), (-14, 16, 111, 6.5), (-46, 2, 122, 6), (-80, -12, 130, 5)),
        ),
        Variation((5, 5, 6), 0.10, 0.04, 6, 3.0),
    ),
    11: Organ(
        (
            tube(
                (22, 20, 56, 11),
                (30, 26, 72, 16),
                (22, 32, 84, 14),
                (4, 38, 92, 11),
                (-22, 30, 97, 12),
                (-52, 10, 106, 13),
                (-80, -8, 114, 10),
            ),
        ),
        Variation((7, 5, 8), 0.10, 0.06, 7, 4.0),
    ),
    12: Organ(
        (
            tube((31, -12, 152, 3.8), (31, -17, 136, 4.6), (27, -26, 120, 3.8)),
            tube((31, -17, 138, 4.4), (38, -28, 124, 3.5)),
        ),
        Variation((4, 5, 8), 0.10, 0.08, 10, 1.2),
    ),
    13: Organ(
        (
            tube((-30, 0, 142, 4), (-33, -6, 126, 5.4), (-28, -14, 104, 4)),
            tube((-33, -6, 128, 5), (-43, -18, 112, 4)),
        ),
        Variation((4, 5, 8), 0.12, 0.08, 10, 1.2),
    ),
}


def draw_organ(organ: Organ, generator: Generator) -> Organ:
    """One patient's version of an organ: all of it moved together, tubes bent besides."""
    spread = organ.variation
    pivot = np.mean([solid.knots.mean(0) if isinstance(solid, Tube) else solid.centre for solid in organ.parts], axis=0)
    placement = Placement(
        pivot=pivot,
        shift=generator.normal(0, spread.shift),
        scale=np.exp(spread.size * generator.standard_normal() + spread.shape * generator.standard_normal(3)),
        rotation=Rotation.from_euler("xyz", generator.normal(0, spread.turn, 3), degrees=True).as_matrix(),
    )

    def draw(solid: Solid) -> Solid:
        moved = solid.placed(placement)
        if isinstance(moved, Tube):
            offsets = generator.normal(0, spread.wobble, moved.knots.shape)
            # where tubes of one organ meet, they meet in their first knots
            offsets[0] = 0
            return moved.jittered(offsets)
        return moved

    return Organ(tuple(map(draw, organ.parts)), spread, tuple(map(draw, organ.cuts)), tuple(map(draw, organ.inner)))
