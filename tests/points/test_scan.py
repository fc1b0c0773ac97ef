from pathlib import Path

import nibabel
import numpy as np
import pytest

from cst_core.errors import DataError
from cst_points.scan import Scan, read_mask, read_scan, resample


def put(folder: Path, name: str, values: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / name)
    return folder / name


def test_resampling_keeps_millimetres():
    x = np.arange(20)[:, None, None] * 2.0 + np.zeros((20, 16, 16))
    out = resample(x, np.array([2.0, 1.0, 1.0]), (1.0, 2.0, 1.5))
    assert out.shape == (39, 8, 11)
    np.testing.assert_allclose(out[:, 3, 3], np.arange(39), atol=1e-4)


def test_oblique_scans_keep_landmarks_on_their_voxels():
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    scan = Scan(np.zeros((4, 4, 4)), turn @ np.diag([2.0, 3.0, 4.0, 1.0]) + np.eye(4)[:, [3]] * 0)
    world = (turn @ np.diag([2.0, 3.0, 4.0, 1.0]) @ [1, 2, 3, 1])[:3][None]
    np.testing.assert_allclose(scan.along_axes(world), [[2, 6, 12]])
    np.testing.assert_allclose(scan.in_scanner(scan.along_axes(world)), world)


def test_axes_run_right_anterior_superior_whatever_the_file_says(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    scan = read_scan(put(tmp_path, "lps.nii.gz", values, np.diag([-1.0, -2.0, 3.0, 1.0])))
    np.testing.assert_array_equal(scan.values, values[::-1, ::-1])
    np.testing.assert_allclose(scan.spacing, (1, 2, 3))


def test_bad_volumes_and_masks_are_named(tmp_path):
    affine = np.diag([3.0, 2.5, 3.5, 1.0])
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    good = put(tmp_path, "good.nii.gz", noise, affine)
    nan = put(tmp_path, "nan.nii.gz", np.full((4, 4, 4), np.nan, np.float32), np.eye(4))
    flat = put(tmp_path, "flat.nii.gz", np.zeros((4, 4, 4, 2), np.float32), np.eye(4))
    (tmp_path / "text.nii.gz").write_text("nonsense")
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:20000])
    for path, word in ((nan, "finite"), (flat, "3-D"), (tmp_path / "text.nii.gz", "NIfTI"),
                       (tmp_path / "cut.nii.gz", "read"), (tmp_path / "none.nii", "no such file")):  # fmt: skip
        with pytest.raises(DataError, match=f"{path.name}.*{word}"):
            read_scan(path)
    scan = read_scan(good)
    other = put(tmp_path, "other.nii.gz", np.ones((4, 4, 4), np.uint8), np.eye(4))
    empty = put(tmp_path, "empty.nii.gz", np.zeros(noise.shape, np.uint8), affine)
    for path, word in ((other, "grid"), (empty, "no voxel")):
        with pytest.raises(DataError, match=f"{path.name}.*{word}"):
            read_mask(path, scan)
    whole = put(tmp_path, "whole.nii.gz", np.ones(noise.shape, np.uint8), affine)
    assert read_mask(whole, scan).all()
