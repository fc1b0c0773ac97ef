import math

import pytest

from cst_core.field import Grid
from cst_image.config import ImageConfig
from cst_image.registration.covering import MOST_SITES, covering_grid


def test_a_model_with_a_resolution_keeps_it_over_the_whole_scan():
    scan = Grid.of((50, 41, 30), (0.9, 0.9, 5.0))
    grid = covering_grid(scan, ImageConfig(spacing=4.0, shape=(8, 8, 8)))
    assert grid.spacing == pytest.approx((4.0, 4.0, 4.0))
    assert grid.shape == (12, 10, 38)
    corners = grid.points_to_world(grid.centre[None]), scan.points_to_world(scan.centre[None])
    assert (corners[0] - corners[1]).abs().max() < 1e-9


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.1, 1.4)])
def test_without_one_nearly_cubic_voxels_are_kept(spacing):
    scan = Grid.of((35, 51, 34), spacing)
    grid = covering_grid(scan, ImageConfig(shape=(8, 8, 8)))
    assert grid.is_close(scan)


def test_without_one_slices_become_cubes_of_the_same_volume():
    scan = Grid.of((60, 60, 20), (1.0, 1.0, 8.0))
    grid = covering_grid(scan, ImageConfig())
    assert grid.spacing == pytest.approx((2.0, 2.0, 2.0))
    assert grid.shape == (30, 30, 80)


@pytest.mark.parametrize("strides", [(1, 1, 2, 1), (2, 1, 2, 1)])
def test_too_many_voxels_become_larger_ones(strides):
    config = ImageConfig(strides=strides, channels=(8, 8, 8, 8))
    grid = covering_grid(Grid.of((512, 512, 300), (0.7, 0.7, 1.0)), config)
    sites = math.prod(grid.shape) / config.label_stride**3
    assert 0.9 * MOST_SITES < sites < 1.05 * MOST_SITES
    assert max(grid.spacing) == pytest.approx(min(grid.spacing))
