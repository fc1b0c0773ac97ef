"""Painting: surfaces cut voxels in part, labels do not, and boxes miss nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cst_image.abdomen.canvas import AIR, OUTSIDE, Canvas
from cst_image.abdomen.random_field import draw_lattice
from cst_image.abdomen.shapes import Bounds, ellipsoid, tube

BALL = ellipsoid((10, -5, 20), (30, 30, 30))
VOLUME = 4 / 3 * np.pi * 30**3


def canvas(spacing: float, bend: float = 0.0) -> Canvas:
    """A canvas of 160 mm a side; ``bend``: mm by which the anatomy is bent."""
    at = np.arange(-80 + spacing / 2, 80, spacing)
    canonical = np.stack(np.meshgrid(at, at, at, indexing="ij")).astype(np.float32)
    lattice = draw_lattice(np.random.default_rng(0), (160.0, 160.0, 160.0), 40.0, channels=3)
    return Canvas((at, at, at), canonical + np.float32(bend) * lattice.on((at, at, at)), spacing)


@pytest.mark.parametrize("spacing", [2.0, 4.0, 8.0])
def test_a_painted_solid_keeps_its_volume(spacing: float) -> None:
    blank = canvas(spacing)
    found = blank.depth([BALL])
    assert found is not None
    blank.paint(*found, 0.0, 3)
    covered = ((blank.volume - AIR) / -AIR).sum() * spacing**3
    assert_allclose(covered, VOLUME, rtol=0.02)
    assert_allclose((blank.labels == 3).sum() * spacing**3, VOLUME, rtol=0.05)
    # only voxels that the surface cuts are mixtures
    mixed = (blank.volume > AIR) & (blank.volume < 0)
    distance = np.linalg.norm(blank.canonical - BALL.centre[:, None, None, None], axis=0)
    assert np.abs(distance[mixed] - 30).max() <= spacing / 2 + 1e-3


def test_paint_without_a_label_leaves_the_labels() -> None:
    blank = canvas(4.0)
    box, depth = blank.everywhere, np.full(blank.volume.shape, 5, np.float32)
    blank.paint(box, depth, 10.0, 7)
    blank.paint(box, depth, np.full(blank.volume.shape, 20, np.float32))
    assert np.all(blank.labels == 7)
    assert np.all(blank.volume == 20)


@pytest.mark.parametrize("spacing", [2.0, 5.0, 16.0])
def test_boxes_hold_all_that_is_inside(spacing: float) -> None:
    blank = canvas(spacing, bend=4.0)
    generator = np.random.default_rng(1)
    for _ in range(50):
        low = generator.uniform(-70, 60, 3)
        bounds = Bounds(low, low + generator.uniform(2, 40, 3))
        inside = np.all([(a > b) & (a < c) for a, b, c in zip(blank.canonical, *bounds, strict=True)], axis=0)
        box = blank.box(bounds)
        held = np.zeros_like(inside)
        if box is not None:
            held[box] = True
        assert not np.any(inside & ~held)


def test_what_is_out_of_view_is_not_there() -> None:
    blank = canvas(4.0)
    assert blank.box(Bounds(np.full(3, 500.0), np.full(3, 520.0))) is None
    assert blank.depth([ellipsoid((500, 0, 0), (9, 9, 9))]) is None
    assert np.all(blank.depth_in(blank.everywhere, [ellipsoid((500, 0, 0), (9, 9, 9))]) == OUTSIDE)


def test_a_union_holds_its_parts() -> None:
    blank = canvas(4.0)
    parts = (BALL, ellipsoid((-20, 0, 0), (20, 30, 25)), tube((0, 0, -60, 6), (0, 20, 0, 6), (30, 0, 60, 9)))
    union = blank.depth_in(blank.everywhere, parts)
    for part in parts:
        alone = blank.depth_in(blank.everywhere, [part])
        assert np.all(union >= alone - 1e-3)
    box, depth = blank.depth(parts) or pytest.fail("the parts are in view")
    assert_allclose(depth, union[box], atol=1e-4)
