import numpy as np
import pytest

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.preparation.groupwise import _mean_shape, template
from cst_image.preparation.thumbnail import thumbnail


def test_mean_of_a_shape_and_its_inverse_is_none():
    shape = np.array([[1.2, 0.1, 0.0], [-0.1, 0.9, 0.05], [0.0, 0.1, 1.1]])
    np.testing.assert_allclose(_mean_shape([shape, np.linalg.inv(shape)]), np.eye(3), atol=1e-10)
    np.testing.assert_allclose(_mean_shape([np.diag([2.0, 1, 1]), np.diag([8.0, 1, 1])]), np.diag([4.0, 1, 1]))


def canonical() -> Grid:
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = (-190, -140, -200)
    return Grid.from_affine((76, 56, 80), affine)


def test_template_has_the_mean_size_and_sharp_organs(torso):
    scans = {}
    for id, scale in (("small", 1 / 0.92), ("large", 0.92)):
        affine = np.diag([5.0, 5.0, 5.0, 1.0])
        affine[:3, 3] = (-190, -140, -190)
        grid = Grid.from_affine((76, 56, 76), affine)
        values = torso(grid, np.diag([scale, scale, scale, 1]))
        affine[:3, 3] += 500 if id == "small" else -200
        scans[id] = thumbnail(values, Grid.from_affine(grid.shape, affine), id)
    made = template(scans, canonical())
    seen = thumbnail(made.values, canonical(), "mean")
    expected = thumbnail(torso(canonical(), np.eye(4)), canonical(), "torso")
    width, truth = (float(one.body[:, :, 30:50].any(1).sum(0).double().mean()) for one in (seen, expected))
    assert width == pytest.approx(truth, abs=1.5)  # voxels; the scans' own are 8 % off, 5 voxels
    assert made.central in scans
    bones = float((made.values[:, :, 25:55] > 240).sum())
    assert bones > 0.5 * float((torso(canonical(), np.eye(4))[:, :, 25:55] > 240).sum())  # a blurred spine has none


def test_one_scan_makes_no_template(torso):
    small = thumbnail(torso(canonical(), np.eye(4)), canonical(), "only")
    with pytest.raises(DataError, match="two scans or more, found 1"):
        template({"only": small}, canonical())
