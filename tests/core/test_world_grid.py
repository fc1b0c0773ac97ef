from __future__ import annotations

import torch

from cst_core.field import Grid
from cst_core.world_grid import is_inside, same_grid, slab_points, slabs, to_indices

GRID = Grid.of((4, 4, 4), (1.0, 2.0, 3.0))


def test_slabs_cover_the_third_axis_once():
    ranges = slabs((1024, 1024, 3))
    assert ranges == [(0, 1), (1, 2), (2, 3)]
    assert slabs((2048, 1024, 2)) == [(0, 1), (1, 2)]  # one plane is the least
    assert slabs((4, 4, 4)) == [(0, 4)]


def test_slab_points_are_the_voxels_of_the_range(pair):
    points = slab_points(pair.fixed, 3, 5)
    index = to_indices(pair.fixed, points)
    assert (
        index.round().tolist()
        == torch.cartesian_prod(torch.arange(20.0), torch.arange(18.0), torch.tensor([3.0, 4.0])).tolist()
    )
    torch.testing.assert_close(index, index.round(), atol=1e-9, rtol=0)
    assert is_inside(index, pair.fixed.shape).all()


def test_same_grid_to_a_micrometre():
    moved = GRID.affine.clone()
    moved[0, 3] += 5e-4
    assert same_grid(GRID, Grid.from_affine(GRID.shape, moved))
    moved[0, 3] += 1e-3
    assert not same_grid(GRID, Grid.from_affine(GRID.shape, moved))
    assert not same_grid(GRID, Grid.of((4, 4, 5), GRID.spacing))


def test_inside_ends_with_the_outer_faces():
    index = torch.tensor([[-0.5, 0, 0], [-0.6, 0, 0], [3.5, 3.5, 3.5], [0, 3.6, 0], [2, 2, 2]], dtype=torch.float64)
    assert is_inside(index, (4, 4, 4)).tolist() == [True, False, True, False, True]
