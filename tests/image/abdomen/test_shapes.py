"""Depths are distances: exact for balls and straight tubes, right in sign for everything else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cst_image.abdomen.shapes import SEGMENT, Cone, Ellipsoid, Placement, Tube, ellipsoid, mirrored, tube

GENERATOR = np.random.default_rng(0)
POINTS = GENERATOR.uniform(-60, 60, (3, 4000)).astype(np.float32)


def test_the_depth_of_a_ball_is_exact() -> None:
    ball = ellipsoid((5, -3, 10), (20, 20, 20))
    expected = 20 - np.linalg.norm(POINTS.T - [5, -3, 10], axis=1)
    assert_allclose(ball.depth(POINTS), expected, atol=1e-3)
    assert_allclose(ball.depth(np.array([[5], [-3], [10]], np.float32)), 20)


def test_an_ellipsoid_is_where_its_equation_says() -> None:
    solid = ellipsoid((5, -3, 10), (10, 20, 40), (20, 30, 40))
    axes = Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix()
    inside = np.linalg.norm((POINTS.T - [5, -3, 10]) @ axes / [10, 20, 40], axis=1) < 1
    assert inside.any()
    assert np.array_equal(solid.depth(POINTS) > 0, inside)


def test_the_depth_of_a_cone_is_that_of_its_axis() -> None:
    cone = Cone(np.array([0.0, 0, -20]), np.array([0.0, 0, 20]), (4.0, 8.0))
    at = np.array([[0.0, 3, 0, 0], [0, 0, 0, 0], [0, 10, -20, 30]], dtype=np.float32)
    assert_allclose(cone.depth(at), [6, 4, 4, -2], atol=1e-5)


def test_a_tube_passes_its_knots_in_short_pieces() -> None:
    solid = tube((0, 0, 0, 3), (30, 10, 0, 5), (50, 40, 20, 4))
    pieces = solid.pieces()
    ends = np.array([pieces[0].start, *(piece.end for piece in pieces)])
    for knot in solid.knots:
        assert np.linalg.norm(ends - knot, axis=1).min() < 1e-9
    assert max(np.linalg.norm(piece.end - piece.start) for piece in pieces) < 1.5 * SEGMENT


@pytest.mark.parametrize(
    "solid", [ellipsoid((5, -3, 10), (10, 20, 40), (20, 30, 40)), *tube((0, 0, 0, 9), (20, 10, 5, 12)).pieces()]
)
def test_nothing_is_inside_but_outside_the_bounds(solid: Ellipsoid | Cone) -> None:
    low, high = solid.bounds()
    inside = POINTS.T[solid.depth(POINTS) > 0]
    assert len(inside)
    assert np.all(inside >= low - 1e-3)
    assert np.all(inside <= high + 1e-3)


def test_a_placed_solid_holds_the_placed_points() -> None:
    rotation = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix()
    placement = Placement(np.array([5.0, -3, 10]), np.array([7.0, 1, -4]), np.full(3, 1.2), rotation)
    solid = ellipsoid((9, -3, 10), (10, 20, 30), (20, 30, 40))
    moved = placement.point(POINTS.T.astype(float)).T.astype(np.float32)
    clear = np.abs(solid.depth(POINTS)) > 1e-2
    assert np.array_equal(solid.placed(placement).depth(moved)[clear] > 0, solid.depth(POINTS)[clear] > 0)


def test_a_mirrored_solid_holds_the_mirrored_points() -> None:
    flipped = POINTS * np.array([[-1], [1], [1]], np.float32)
    solid = ellipsoid((9, -3, 10), (10, 20, 30), (20, 30, 40))
    ball, pipe = mirrored(solid), mirrored(tube((1, 2, 3, 4), (5, 6, 7, 8)))
    assert isinstance(ball, Ellipsoid)
    assert isinstance(pipe, Tube)
    assert_allclose(ball.depth(flipped), solid.depth(POINTS), atol=1e-3)
    assert_allclose(pipe.knots[:, 0], [-1, -5])
