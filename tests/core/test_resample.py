from __future__ import annotations

import numpy as np
import pytest
import torch

from cst_core import world_grid
from cst_core.field import Grid
from cst_core.formats.nifti import Volume
from cst_core.resample import by_transform, default_outside, resample
from cst_core.transform import Transform, WorldAffine
from cst_core.world_grid import slab_points

GRID = Grid.of((6, 5, 4), (1.0, 1.0, 1.0))


def shifted(x: float) -> Transform:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 3] = x
    return Transform((WorldAffine(matrix),))


def ramp(dtype: type, slope: float = 1.0, intercept: float = 0.0) -> Volume:
    """10 times the first index."""
    values = np.broadcast_to((10 * np.arange(6))[:, None, None], (6, 5, 4)).astype(dtype)
    return Volume(values, slope, intercept, GRID)


def test_value_is_taken_from_where_the_transform_leads():
    """T(x) = x + 1.25 mm: the image moves to the left."""
    result = resample(ramp(np.float32), by_transform(shifted(1.25), GRID), GRID, outside=-7.0)
    assert result.values[:, 2, 2].tolist() == pytest.approx([12.5, 22.5, 32.5, 42.5, 50.0, -7.0])
    assert result.inside_share == pytest.approx(5 / 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_unscaled_whole_numbers_keep_their_type_and_are_rounded(dtype: type):
    result = resample(ramp(dtype), by_transform(shifted(0.26), GRID), GRID, outside=-7.0)
    assert result.values.dtype == dtype
    assert result.values[:4, 0, 0].tolist() == [3, 13, 23, 33]
    low = resample(ramp(dtype), by_transform(shifted(100.0), GRID), GRID, outside=-7.0)
    assert low.values.max() == (0 if np.dtype(dtype).kind == "u" else -7)
    assert low.inside_share == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, ">i2"])
def test_all_else_becomes_single_precision(dtype):
    slope = 1.0 if np.dtype(dtype).kind == "f" else 0.5
    result = resample(ramp(dtype, slope, 100.0 if slope != 1 else 0.0), by_transform(shifted(0.5), GRID), GRID)
    expected = 5.0 if slope == 1 else 0.5 * 5 + 100
    assert result.values.dtype == np.float32
    assert result.values[0, 0, 0] == pytest.approx(expected)


def test_large_whole_numbers_are_exact():
    volume = ramp(np.int32)._replace(values=ramp(np.int32).values + 2**30)
    assert resample(volume, by_transform(shifted(0.0), GRID), GRID).values[3, 0, 0] == 2**30 + 30


def test_nearest_takes_the_nearer_voxel_and_halves_go_up():
    result = resample(ramp(np.int16), by_transform(shifted(0.5), GRID), GRID, "nearest")
    assert result.values[:5, 0, 0].tolist() == [10, 20, 30, 40, 50]
    assert resample(ramp(np.int16), by_transform(shifted(0.4), GRID), GRID, "nearest").values[2, 0, 0] == 20


def test_label_is_the_largest_share_of_one_label():
    """Between labels 1 and 9 there is no 5; of three labels the one with most weight wins though none has half."""
    values = np.zeros((6, 5, 4), np.uint8)
    values[:3], values[3:] = 1, 9
    volume = Volume(values, 1.0, 0.0, GRID)
    result = resample(volume, by_transform(shifted(0.4), GRID), GRID, "label").values
    assert result[:, 0, 0].tolist() == [1, 1, 1, 9, 9, 9]
    assert set(np.unique(resample(volume, by_transform(shifted(0.6), GRID), GRID, "label").values)) == {0, 1, 9}
    tie = resample(volume, by_transform(shifted(0.5), GRID), GRID, "label").values
    assert tie[2, 0, 0] == 1


def test_blocks_do_not_show(pair, monkeypatch: pytest.MonkeyPatch):
    volume = Volume(pair.image, 1.0, 0.0, pair.moving)
    transform = Transform((pair.field, pair.affine))
    whole = resample(volume, by_transform(transform, pair.fixed), pair.fixed)
    monkeypatch.setattr(world_grid, "_SITES", 1000)
    assert len(world_grid.slabs(pair.fixed.shape)) == 7
    parts = resample(volume, by_transform(transform, pair.fixed), pair.fixed)
    np.testing.assert_array_equal(whole.values, parts.values)
    assert whole.inside_share == parts.inside_share


def test_image_comes_back_through_the_inverse(pair):
    """apply, then apply --inverse: the smooth image itself, where it was not led out of the fixed grid."""
    transform = Transform((pair.field, pair.affine))
    volume = Volume(pair.image, 1.0, 0.0, pair.moving)
    warped = resample(volume, by_transform(transform, pair.fixed), pair.fixed, outside=-5000.0).values
    back = resample(
        Volume(warped, 1.0, 0.0, pair.fixed),
        lambda start, stop: transform.inverse_map(slab_points(pair.moving, start, stop)),
        pair.moving,
        outside=-5000.0,
    ).values
    points = slab_points(pair.moving, 0, pair.moving.shape[2])
    middle = ((points - pair.inner_points(1000).mean(0)).norm(dim=1) < 9).numpy().reshape(pair.moving.shape)
    assert middle.sum() > 300
    assert np.abs(back.astype(int) - pair.image)[middle].max() < 0.03 * np.ptp(pair.image)


def test_outside_is_air_for_scans_and_nothing_for_labels():
    scan = ramp(np.int16)._replace(values=ramp(np.int16).values - 1000)
    assert [default_outside(scan, mode) for mode in ("linear", "nearest")] == [-1000.0, -1000.0]
    above = ramp(np.uint8)._replace(values=ramp(np.uint8).values + 3)
    assert [default_outside(above, mode) for mode in ("linear", "nearest", "label")] == [3.0, 0.0, 0.0]
    assert default_outside(ramp(np.uint8, -2.0, 4.0), "linear") == -96.0
