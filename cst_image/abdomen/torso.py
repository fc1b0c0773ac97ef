"""The body around the organs: skin, fat and muscle, lungs, bones, and what has no label in the belly.

Frame as in `anatomy`. The trunk's muscle wall is an ellipse-like cylinder; fat lies around it, the cavity inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from cst_image.abdomen.shapes import Depth, Points, Solid, Tube, ellipsoid, mirrored, tube

# The muscle wall's outer surface: half-width, half-depth and middle in y at heights z; mm. From body outlines of 12
# abdominal CTs less 15 mm of fat.
HEIGHTS = (-256, -200, -120, -40, 40, 120, 200, 256)
HALF_WIDTH = (154, 154, 152, 148, 146, 148, 150, 144)
HALF_DEPTH = (78, 82, 94, 102, 106, 106, 100, 92)
MIDDLE = (-22, -20, -12, -2, 3, 6, 2, -4)
BOXINESS = 0.5  # share of the norm of degree four: a trunk is fuller than an ellipse
WALL_HEIGHTS, WALL = (-256, -160, -110, 256), (62, 34, 12, 12)  # mm, thickness of the wall at heights z: hips below
SPINE = ((-60, -48), (-30, -37), (40, -34), (110, -38), (180, -46), (262, -52))  # z, y of the vertebral bodies' middle
SECOND_LUMBAR = 73.0  # z, mm, of that vertebra's middle
VERTEBRA = 35.0  # mm from one vertebra to the next
DISC = 8.0  # mm, height of a disc
LEVEL = 12.0  # mm, standard deviation of `Build.level`: organs are found up to a vertebra higher or lower
RIB_STEP = 27.0  # mm from rib to rib, along the spine
RIB_DROP = 190.0  # mm by which a rib is lower in front than at the spine


class Build(NamedTuple):
    """One patient's trunk."""

    fat: float
    """mm under the skin."""
    crowding: float
    """Deviations of a random field above which the belly's fat gives way to tissue that corresponds to nothing."""
    level: float
    """mm by which vertebrae and ribs lie higher beside the organs than usual."""
    domes: tuple[float, float]
    """z of the diaphragm's right and left dome."""


def draw_build(generator: Generator) -> Build:
    """Draw a build from lean to stout, and how deep the breath was."""
    breath = generator.normal(0, 6)
    fat = float(np.clip(generator.lognormal(np.log(15), 0.4), 5, 32))
    return Build(
        fat=fat,
        # the lean have little fat inside, too
        crowding=generator.normal(0.15 + 0.035 * (fat - 15), 0.25),
        level=generator.normal(0, LEVEL),
        domes=(214 + breath + generator.normal(0, 3), 203 + breath + generator.normal(0, 4)),
    )


def _at(heights: Sequence[float | int], values: Sequence[float | int], z: Float[np.ndarray, "*voxels"]) -> Depth:
    return np.interp(z, heights, values).astype(np.float32)


def wall_depth(points: Points) -> Depth:
    """mm inside the outer surface of the muscle wall; correct to first order near it."""
    x, y, z = points
    half_width, half_depth = _at(HEIGHTS, HALF_WIDTH, z), _at(HEIGHTS, HALF_DEPTH, z)
    u = (x / half_width) ** 2
    v = ((y - _at(HEIGHTS, MIDDLE, z)) / half_depth) ** 2
    ellipse = np.sqrt(u + v) + np.float32(1e-6)
    radius = np.float32(1 - BOXINESS) * ellipse + np.float32(BOXINESS) * np.sqrt(np.sqrt(u * u + v * v))
    steepness = np.sqrt(u / half_width**2 + v / half_depth**2) / ellipse
    return (1 - radius) / (steepness + np.float32(1e-6))


def cavity_depth(points: Points, wall: Depth) -> Depth:
    """mm inside the muscle wall's inner surface, where it is `wall_depth` inside the outer one."""
    return wall - _at(WALL_HEIGHTS, WALL, points[2])


def under_diaphragm(points: Points, build: Build) -> Depth:
    """mm below the diaphragm: two domes, and between them the central tendon that the heart lies on."""
    x, y, z = points
    right = build.domes[0] - np.float32(0.011) * (x - 72) ** 2 - np.float32(0.0085) * (y - 14) ** 2
    left = build.domes[1] - np.float32(0.011) * (x + 72) ** 2 - np.float32(0.0085) * (y - 8) ** 2
    middle = np.float32(build.domes[1] - 14) - np.float32(0.02) * x**2 - np.float32(0.012) * (y - 40) ** 2
    return np.maximum(np.maximum(right, left), middle) - z


def spine_offset(points: Points) -> tuple[Float[np.ndarray, "*voxels"], Float[np.ndarray, "*voxels"]]:
    """x and y, mm, relative to the middle of the vertebral bodies at the same height."""
    heights, middle = zip(*SPINE, strict=True)
    return points[0], points[1] - _at(heights, middle, points[2])


def vertebra_depth(points: Points, build: Build) -> Depth:
    """Bodies, arches and processes, without the discs; mm."""
    x, y = spine_offset(points)
    above = points[2] - np.float32(SECOND_LUMBAR + build.level - VERTEBRA / 2)
    level = np.mod(above, np.float32(VERTEBRA)) - np.float32(VERTEBRA / 2)
    body = np.float32(18) * (1 - np.sqrt((x / 23) ** 2 + (y / 16) ** 2))
    body = np.minimum(body, np.float32((VERTEBRA - DISC) / 2) - np.abs(level))
    ring = np.sqrt(x**2 + (y + 25) ** 2)
    arch = np.float32(4) - np.abs(ring - 12)
    spinous = np.minimum(np.minimum(4 - np.abs(x), 9 - np.abs(y + 40)), 11 - np.abs(level + 4))
    transverse = np.minimum(np.minimum(33 - np.abs(x), 4 - np.abs(y + 22)), np.minimum(5 - np.abs(level), ring - 10))
    return np.maximum(np.maximum(body, arch), np.maximum(spinous, transverse))


def disc_depth(points: Points) -> Depth:
    """The column that fills the gaps between the vertebral bodies; mm."""
    x, y = spine_offset(points)
    return np.float32(16) * (1 - np.sqrt((x / 22) ** 2 + (y / 15) ** 2))


def canal_depth(points: Points) -> Depth:
    """The spinal canal; mm."""
    x, y = spine_offset(points)
    return np.float32(8) - np.sqrt(x**2 + (y + 25) ** 2)


def rib_depth(points: Points, wall: Depth, build: Build) -> Depth:
    """mm inside the nearest rib: each runs in the wall, down from the spine and round to the front."""
    x, y, z = points
    round_the_trunk = np.arctan2(np.abs(x), -y) / np.float32(np.pi)
    slope = z - np.float32(build.level) + np.float32(RIB_DROP) * round_the_trunk
    level = np.mod(slope, np.float32(RIB_STEP)) - np.float32(RIB_STEP / 2)
    rib = np.float32(4.5) - np.sqrt((wall - np.float32(6)) ** 2 + (np.float32(0.75) * level) ** 2)
    # the costal arch: at the flanks the ribs reach down to the kidneys, in front up to the breastbone
    arch = 62 + 128 * np.clip(y / 100, 0, 1) * np.clip(np.float32(1.25) - np.abs(x) / 120, 0, 1)
    return np.minimum(rib, (z - arch) * np.float32(0.5))


def _both(*solids: Solid) -> tuple[Solid, ...]:
    return (*solids, *map(mirrored, solids))


BACK_MUSCLES: tuple[Solid, ...] = _both(
    tube((34, -74, 262, 18), (36, -72, 120, 21), (36, -68, 20, 24), (30, -80, -60, 17)),
    tube((16, -76, 262, 10), (16, -72, 120, 12), (17, -68, 20, 14), (16, -84, -60, 11)),
    tube((24, -36, 112, 7), (34, -32, 60, 15), (44, -24, 0, 21), (58, -6, -90, 19), (80, 20, -180, 14)),
    tube((58, -52, 90, 8), (66, -54, 40, 13), (70, -56, 0, 12)),
)
HIP_MUSCLES: tuple[Solid, ...] = _both(
    ellipsoid((78, -76, -130), (56, 34, 78), (0, 0, 30)),
    ellipsoid((112, -30, -120), (34, 52, 62), (0, 0, 20)),
    ellipsoid((104, -12, -225), (48, 62, 62)),
)
HIP_BONES: tuple[Solid, ...] = _both(
    ellipsoid((86, -36, -92), (64, 9, 58), (0, 0, 46)),
    ellipsoid((88, -14, -158), (26, 30, 30)),
    tube((84, 6, -170, 10), (50, 28, -190, 9), (10, 34, -206, 10)),
    tube((82, -28, -178, 13), (66, -44, -214, 13), (62, -36, -236, 11)),
    tube((20, 32, -210, 7), (62, -36, -236, 9)),
    ellipsoid((24, -80, -92), (32, 15, 50), (28, 0, 0)),
)
HIP_JOINTS: tuple[Solid, ...] = _both(ellipsoid((92, -10, -172), (27, 27, 27)))
FEMORA: tuple[Solid, ...] = _both(
    ellipsoid((92, -10, -172), (24, 24, 24)),
    tube((92, -10, -172, 16), (128, -18, -190, 17), (140, -20, -205, 19), (136, -10, -262, 15)),
)
HEART: tuple[Solid, ...] = (ellipsoid((-26, 44, 238), (64, 46, 42), (0, -20, 25)),)
ARTERIES: tuple[Solid, ...] = (
    *_both(tube((-2, -3, 6, 7), (30, 2, -40, 6), (52, 8, -90, 5.5), (70, 34, -190, 5))),
    tube((-4, 4, 118, 3.5), (-2, 18, 100, 3.5), (-2, 24, 60, 3.5), (10, 34, 0, 2.5)),
    tube((-4, 4, 130, 3.5), (-4, 18, 128, 3.5), (20, 24, 126, 3), (44, 24, 130, 2.5)),
    tube((-8, -8, 84, 3.2), (-30, -16, 80, 3), (-50, -18, 76, 2.5)),
    tube((2, -10, 84, 3.2), (26, -20, 80, 3), (48, -22, 74, 2.5)),
)
VEINS: tuple[Solid, ...] = (
    *_both(tube((12, -8, -10, 8), (36, -6, -50, 7), (58, 0, -100, 6.5), (66, 24, -190, 6))),
    tube((16, 2, 88, 5), (-14, 6, 86, 4.5), (-50, -12, 78, 4)),
    tube((26, -4, 82, 5), (48, -18, 75, 4)),
)
DUODENUM = tube(
    (36, 48, 94, 12), (50, 34, 86, 13), (50, 22, 56, 13), (30, 14, 36, 12), (-6, 14, 38, 11), (-24, 26, 58, 11)
)
COLON = tube(
    (88, 6, -70, 24),
    (98, 2, -20, 23),
    (100, 8, 30, 22),
    (86, 34, 56, 20),
    (50, 68, 42, 18),
    (0, 80, 28, 18),
    (-50, 74, 46, 18),
    (-88, 42, 86, 18),
    (-108, 4, 92, 17),
    (-110, -14, 40, 16),
    (-106, -8, -40, 16),
    (-84, 8, -90, 15),
    (-40, 20, -98, 14),
    (-4, -4, -112, 14),
    (0, -44, -140, 17),
    (0, -62, -180, 19),
    (0, -58, -230, 15),
)
BLADDER: tuple[Solid, ...] = (ellipsoid((0, 18, -166), (40, 34, 32)),)
PELVIC_FLOOR: tuple[Solid, ...] = (ellipsoid((0, -8, -190), (26, 22, 26)), ellipsoid((0, -20, -236), (60, 40, 24)))
BOWEL_CENTRE, BOWEL_REACH = (-5.0, 42.0, -15.0), (92.0, 44.0, 108.0)  # mm: where the small bowel winds
BOWEL_KNOTS = 120
COLON_SHIFT = 9.0  # mm, standard deviation by which each bend of the large bowel lies elsewhere


class Bowel(NamedTuple):
    """One patient's gut below the stomach."""

    colon: Tube
    duodenum: Tube
    small: Tube


def draw_bowel(generator: Generator) -> Bowel:
    """Colon and duodenum somewhat elsewhere; the small bowel winds anew, so that nothing in it corresponds."""
    colon, duodenum = (
        solid.jittered(generator.normal(0, COLON_SHIFT * part, solid.knots.shape))
        for solid, part in ((COLON, 1.0), (DUODENUM, 0.5))
    )
    free = generator.uniform(-1, 1, (4 * BOWEL_KNOTS, 3))
    free = free[np.linalg.norm(free, axis=1) < 1][:BOWEL_KNOTS] * BOWEL_REACH + BOWEL_CENTRE
    path = [free[0]]
    while len(free) > 1:
        free = free[np.any(free != path[-1], axis=1)]
        path.append(free[np.linalg.norm(free - path[-1], axis=1).argmin()])
    return Bowel(colon, duodenum, Tube(np.array(path), generator.uniform(9, 14, len(path))))
