"""The trunk: layers from the skin inwards, bones where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from cst_image.abdomen.torso import (
    DISC,
    VERTEBRA,
    Build,
    canal_depth,
    cavity_depth,
    disc_depth,
    draw_bowel,
    draw_build,
    rib_depth,
    spine_offset,
    under_diaphragm,
    vertebra_depth,
    wall_depth,
)

BUILD = Build(fat=15.0, crowding=0.0, level=0.0, domes=(214.0, 203.0))


def at(*points: tuple[float, float, float]) -> np.ndarray:
    """Points as the depths want them, (3, N)."""
    return np.array(points, np.float32).T


def test_the_wall_lies_about_the_cavity() -> None:
    line = at(*[(float(x), 3.0, 40.0) for x in range(0, 190, 2)])
    wall = wall_depth(line)
    cavity = cavity_depth(line, wall)
    assert wall[0] > 60
    assert wall[-1] < -20
    # to first order a distance: along the axis, near the surface
    near = np.abs(wall) < 15
    assert np.diff(wall)[near[1:]].mean() == pytest.approx(-2, rel=0.1)
    assert np.all(cavity < wall)


def test_the_right_dome_is_the_higher_and_the_rim_is_low() -> None:
    z = 0.0
    right, left, flank = under_diaphragm(at((72, 14, z), (-72, 8, z), (142, 0, z)), BUILD)
    assert right == pytest.approx(214, abs=1)
    assert left == pytest.approx(203, abs=1)
    assert flank < right - 40


def test_vertebrae_and_discs_alternate() -> None:
    z = np.arange(-30, 250, 1.0)
    column = np.stack([np.zeros_like(z), np.full_like(z, -38), z]).astype(np.float32)
    _, offset = spine_offset(column)
    column[1] -= offset
    bony = vertebra_depth(column, BUILD) > 0
    assert np.all(disc_depth(column) > 0)
    assert bony.mean() == pytest.approx(1 - DISC / VERTEBRA, abs=0.05)


def test_the_spine_is_as_high_as_the_build_says() -> None:
    column = at(*[(0.0, -38.0, float(z)) for z in range(200)])
    higher = at(*[(0.0, -38.0, float(z)) for z in range(7, 207)])
    assert np.allclose(vertebra_depth(column, BUILD), vertebra_depth(higher, BUILD._replace(level=7.0)), atol=1.0)


def test_the_canal_lies_behind_the_bodies_and_in_the_arch() -> None:
    behind = at((0, -60, 73))
    assert canal_depth(behind)[0] > 0
    assert vertebra_depth(behind, BUILD)[0] < 0
    beside = at((12, -60, 73))
    assert canal_depth(beside)[0] < 0 < vertebra_depth(beside, BUILD)[0]


def test_ribs_lie_in_the_wall_of_the_chest() -> None:
    axes = np.arange(-160, 160, 4.0), np.arange(-130, 130, 4.0), np.arange(-200, 250, 4.0)
    points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    wall = wall_depth(points)
    rib = rib_depth(points, wall, BUILD) > 0
    assert wall[rib].min() > 0
    assert cavity_depth(points, wall)[rib].max() < 0
    assert points[2][rib].min() > 55
    chest = (wall > 4) & (wall < 8) & (points[2] > 200)
    assert 0.2 < rib[chest].mean() < 0.7


def test_builds_differ_and_the_lean_are_crowded() -> None:
    generator = np.random.default_rng(0)
    builds = [draw_build(generator) for _ in range(200)]
    fat, crowding = np.array([build.fat for build in builds]), np.array([build.crowding for build in builds])
    assert fat.min() < 10
    assert fat.max() > 25
    assert np.corrcoef(fat, crowding)[0, 1] > 0.3


def test_the_small_bowel_is_another_one_in_each_patient() -> None:
    generator = np.random.default_rng(0)
    one, other = draw_bowel(generator), draw_bowel(generator)
    assert np.linalg.norm(one.small.knots - other.small.knots, axis=1).mean() > 40
    shift = one.colon.knots - other.colon.knots
    assert 5 < np.linalg.norm(shift, axis=1).mean() < 50
    steps = np.linalg.norm(np.diff(one.small.knots, axis=0), axis=1)
    assert np.median(steps) < 35
