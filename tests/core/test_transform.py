from __future__ import annotations

import pytest
import torch

from cst_core.field import DisplacementField, Grid, sample_at
from cst_core.transform import Transform, WorldAffine, WorldField
from cst_core.world_grid import slab_points

GRID = Grid.of((4, 4, 4), (1.0, 2.0, 3.0))


def test_affine_maps_as_its_matrix_and_back():
    matrix = torch.tensor([[0.0, -2, 0, 5], [1, 0, 0, -1], [0, 0, 3, 2], [0, 0, 0, 1]], dtype=torch.float64)
    affine, point = WorldAffine(matrix), torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert affine.map(point).tolist() == [[1.0, 0.0, 11.0]]
    torch.testing.assert_close(affine.inverse().map(affine.map(point)), point)


@pytest.mark.parametrize(
    ("change", "said"),
    [((0, 0, float("nan")), "finite"), ((3, 0, 1.0), "row 0 0 0 1"), ((2, 2, 0.0), "invertible")],
)
def test_affine_refuses_what_is_no_map(change: tuple[int, int, float], said: str):
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[change[0], change[1]] = change[2]
    with pytest.raises(ValueError, match=said):
        WorldAffine(matrix)


def test_field_is_linear_inside_and_nothing_beyond_the_outer_faces():
    """Along the first axis: voxel centres at 0..3 mm, faces at -0.5 and 3.5; u there 0, 1, 2, 3."""
    vectors = torch.zeros(3, 4, 4, 4)
    vectors[2] = torch.arange(4.0)[:, None, None]
    points = torch.tensor([[x, 2.0, 3.0] for x in (0.25, 3.0, 3.4, 3.6, -0.4, -0.6)])
    found = WorldField(vectors, GRID).at(points)
    assert found[:, 2].tolist() == pytest.approx([0.25, 3.0, 3.0, 0.0, 0.0, 0.0], abs=1e-5)
    assert found[:, :2].abs().max() == 0


def test_field_of_other_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 4, 4, 4\), got \(3, 4, 4, 5\)"):
        WorldField(torch.zeros(3, 4, 4, 5), GRID)


def test_grid_field_means_the_same_in_the_world(pair):
    """The field of array axes, asked in grid mm, and the world's, asked in RAS, lead to the same place."""
    in_axes = torch.einsum("wa,wxyz->axyz", pair.fixed.directions.float(), pair.field.vectors)
    field = DisplacementField(in_axes, pair.fixed)
    points = pair.inner_points(30)
    local = pair.fixed.points_from_world(points)
    expected = pair.fixed.points_to_world(local + sample_at(field, local.float()).double())
    found = WorldField.from_grid_field(field).map(points)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_parts_are_applied_in_order():
    shift = torch.eye(4, dtype=torch.float64)
    shift[0, 3] = 1.0
    double = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    point = torch.tensor([[1.0, 1.0, 1.0]])
    assert Transform((WorldAffine(shift), WorldAffine(double))).map(point).tolist() == [[4.0, 2.0, 2.0]]
    assert Transform((WorldAffine(double), WorldAffine(shift))).map(point).tolist() == [[3.0, 2.0, 2.0]]
    assert Transform(()).map(point).tolist() == point.tolist()


def test_inverse_undoes_the_whole(pair):
    transform, points = Transform((pair.affine, pair.field, pair.affine)), pair.inner_points(100)
    found = transform.invert(transform.map(points))
    torch.testing.assert_close(found.points, points, atol=1e-3, rtol=0)
    assert found.residual_mm.max() < 1e-4
    torch.testing.assert_close(transform.inverse_map(transform.map(points)), found.points)


def test_residual_says_where_there_is_no_inverse():
    """u = 4 mm within the grid and none beyond it: nothing is led to the grid itself."""
    vectors = torch.zeros(3, 4, 4, 4)
    vectors[0] = 4.0
    found = Transform((WorldField(vectors, GRID),)).invert(torch.tensor([[5.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    assert found.residual_mm[0] < 1e-4
    assert found.points[0].tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert found.residual_mm[1] > 0.4


def test_inverse_of_worlds_that_lie_far_apart(pair):
    """The field holds an affine map with half a metre of translation: moving points lie far beyond its grid."""
    matrix = pair.affine.matrix.clone()
    matrix[:3, 3] += torch.tensor([300.0, -400.0, 50.0])
    whole, points = Transform((pair.field, WorldAffine(matrix))).on(pair.fixed), pair.inner_points(100)
    found = Transform((whole,)).invert(whole.map(points))
    torch.testing.assert_close(found.points, points, atol=1e-3, rtol=0)


def test_inverse_where_steps_have_to_be_halved():
    """u rises by 1.5 mm a mm over a stretch of 4 mm: there, plain fixed-point iteration runs away."""
    grid = Grid.of((41, 3, 3), (1.0, 1.0, 1.0))
    vectors = torch.zeros(3, 41, 3, 3)
    vectors[0] = (1.5 * (torch.arange(41.0) - 20).clamp(-2, 2))[:, None, None]
    points = torch.tensor([[21.5, 1.0, 1.0], [18.0, 1.0, 1.0], [20.0, 1.0, 1.0]])
    found = Transform((WorldField(vectors, grid),)).invert(points)
    assert found.points[:, 0].tolist() == pytest.approx([20.6, 19.2, 20.0], abs=1e-4)


def test_field_on_its_own_grid_is_itself(pair):
    assert Transform((pair.field,)).on(pair.fixed) is pair.field
    whole = Transform((pair.field, pair.affine)).on(pair.fixed)
    points = slab_points(pair.fixed, 0, pair.fixed.shape[2])
    expected = Transform((pair.field, pair.affine)).map(points)
    torch.testing.assert_close(whole.map(points), expected, atol=1e-4, rtol=0)


def test_inverse_on_a_grid_leads_back(pair):
    transform = Transform((pair.field, pair.affine))
    back = transform.inverse_on(pair.moving)
    assert back.residual_mm.shape == pair.moving.shape
    points = slab_points(pair.moving, 0, pair.moving.shape[2])
    good = back.residual_mm.flatten() < 1e-4
    assert good.double().mean() > 0.8
    torch.testing.assert_close(transform.map(back.field.map(points))[good], points[good], atol=1e-3, rtol=0)
