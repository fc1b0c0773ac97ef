from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from cst_core.errors import DataError
from cst_core.formats.nifti import forms_note, placed, read_grid, read_volume, save_nifti


def test_numbers_are_kept_as_stored(tmp_path: Path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.diag([2.0, 2.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert (volume.values.dtype, volume.is_scaled) == (np.uint8, False)
    np.testing.assert_array_equal(volume.values, np.arange(24).reshape(2, 3, 4))
    image.header.set_slope_inter(0.5, -10.0)
    image = nibabel.Nifti1Image(np.linspace(-1, 1, 24).reshape(2, 3, 4), image.affine)
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "b.nii.gz")
    scaled = read_volume(tmp_path / "b.nii.gz")
    assert (scaled.values.dtype, scaled.is_scaled) == (np.int16, True)
    meant = scaled.values * scaled.slope + scaled.intercept
    np.testing.assert_allclose(meant.ravel(), np.linspace(-1, 1, 24), atol=1e-4)


def test_axes_of_length_one_after_the_third_are_left_out(tmp_path: Path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(values[..., None, None], np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").values, values)
    assert read_grid(tmp_path / "a.nii").shape == (2, 3, 4)


def test_grid_is_that_of_the_file_unturned(oriented, tmp_path: Path):
    for axes in ("LAS", "PSR", "oblique"):
        grid = oriented(axes)
        save_nifti(tmp_path / "a.nii.gz", placed(np.zeros(grid.shape, np.float32), grid))
        assert read_grid(tmp_path / "a.nii.gz").is_close(grid)
        header = nibabel.load(tmp_path / "a.nii.gz").header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
        np.testing.assert_allclose(header.get_qform(), grid.affine.numpy(), atol=1e-4)


def test_same_content_makes_the_same_file(oriented, tmp_path: Path):
    grid = oriented("RAS")
    for name in ("a.nii.gz", "b.nii.gz"):
        save_nifti(tmp_path / name, placed(np.zeros(grid.shape, np.float32), grid))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_other_units_and_formats_are_refused(tmp_path: Path):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "m.nii")
    with pytest.raises(DataError, match="found metres"):
        read_grid(tmp_path / "m.nii")
    nibabel.save(nibabel.MGHImage(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.mgz")
    with pytest.raises(DataError, match=r"must be NIfTI .*found MGHImage"):
        read_volume(tmp_path / "a.mgz")
    image.header.set_xyzt_units("mm")
    image.header["srow_x"] = 0
    image.header["sform_code"] = 1
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), None, image.header), tmp_path / "s.nii")
    with pytest.raises(DataError, match="every axis a voxel size"):
        read_grid(tmp_path / "s.nii")


def test_two_places_in_one_header_are_told(tmp_path: Path):
    path, affine = tmp_path / "a.nii", np.diag([2.0, 2.0, 3.0, 1.0])
    image = nibabel.Nifti1Image(np.zeros((20, 20, 10), np.uint8), affine)
    other = affine.copy()
    for shift, codes, told in ((30.0, (2, 1), True), (0.1, (2, 1), False), (30.0, (2, 0), False), (0.0, (1, 1), False)):
        other[0, 3] = shift
        image.set_sform(affine, code=codes[0])
        image.set_qform(other, code=codes[1])
        note = forms_note(path, image)
        assert (note is not None) == told
    damaged = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), affine)
    damaged.set_sform(affine, code=1)
    damaged.set_qform(affine, code=1)
    told = "a.nii: its qform is damaged; the sform counts here, other programs may refuse the file"
    damaged.header["qoffset_x"] = np.nan
    assert forms_note(path, damaged) == told
    damaged.header["qoffset_x"] = 0.0
    damaged.header["quatern_b"] = damaged.header["quatern_c"] = 1.0
    assert forms_note(path, damaged) == told
    # the same corner, other axes
    turned = np.diag([-2.0, -2.0, 3.0, 1.0])
    image.set_sform(affine, code=1)
    image.set_qform(turned, code=1)
    assert forms_note(path, image) == (
        "a.nii: its sform and qform lie 107 mm apart; the sform counts here, other programs may take the qform: make "
        "them one (nibabel: image.set_qform(image.affine, code=1))"
    )
