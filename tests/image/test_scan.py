from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from cst_core.errors import DataError
from cst_image.scan import inspect, read_labels, read_mask, read_volume

AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])


def noise(shape=(5, 6, 7)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def put(folder: Path, name: str, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / name)
    return folder / name


def refused(path: Path, *words: str, read=read_volume) -> None:
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: "), message
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_values_spacing_and_world(tmp_path):
    affine = AFFINE.copy()
    affine[:3, 3] = [-10, 20, 30]
    for name in ("a.nii", "a.nii.gz"):
        path = put(tmp_path, name, noise(), affine)
        header = inspect(path)
        assert header.grid.shape == (5, 6, 7)
        assert header.grid.spacing == (2, 3, 4)
        assert header.axes == "RAS"
        assert header.placed
        np.testing.assert_array_equal(header.grid.affine, affine)
        volume = read_volume(path)
        assert volume.dtype == torch.float32
        np.testing.assert_array_equal(volume, noise())


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR", "SLA", "ASL"])
def test_axes_are_turned_and_every_voxel_keeps_its_place(tmp_path, axes):
    values = noise()
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(axes)
    )
    path = tmp_path / "turned.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, AFFINE).as_reoriented(turn), path)
    header = inspect(path)
    assert header.axes == axes
    assert header.grid.shape == values.shape
    np.testing.assert_allclose(header.grid.affine, AFFINE, atol=1e-6)
    np.testing.assert_array_equal(read_volume(path), values)
    assert read_volume(path).is_contiguous()


def test_oblique_axes_are_kept(tmp_path):
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    header = inspect(put(tmp_path, "a.nii", noise(), turn @ AFFINE))
    np.testing.assert_allclose(header.grid.affine, turn @ AFFINE, atol=1e-6)
    assert header.grid.spacing == pytest.approx((2, 3, 4), abs=1e-5)


def test_slope_and_intercept_count(tmp_path):
    stored = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(2.5, -1000)
    nibabel.save(image, tmp_path / "a.nii.gz")
    written = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz"), written.get_fdata(), rtol=1e-6)
    image = nibabel.Nifti1Image(stored, AFFINE, dtype=np.uint8)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([2.5, -1000], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "b.nii").write_bytes(bytes(raw))
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii"), stored * 2.5 - 1000)


def test_a_trailing_axis_of_length_one_is_left_out(tmp_path):
    path = put(tmp_path, "a.nii", noise()[..., None])
    assert inspect(path).grid.shape == (5, 6, 7)
    np.testing.assert_array_equal(read_volume(path), noise())


def test_the_header_is_read_without_a_voxel(tmp_path):
    path = put(tmp_path, "a.nii", noise())
    whole = path.read_bytes()
    path.write_bytes(whole[:352] + b"\xff" * (len(whole) - 352))
    assert inspect(path).grid.shape == (5, 6, 7)
    refused(path, "finite")
    path.write_bytes(whole[:400])
    refused(path, "cannot be read", "840 bytes", "copy it again")
    refused(path, "cannot be read", read=inspect)


def test_nifti_2_is_read(tmp_path):
    nibabel.save(nibabel.Nifti2Image(noise(), AFFINE), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii"), noise())


def test_damaged_files(tmp_path):
    refused(tmp_path / "none.nii", "no such file")
    (tmp_path / "text.nii.gz").write_text("nonsense")
    refused(tmp_path / "text.nii.gz", "NIfTI")
    (tmp_path / "empty.nii").write_bytes(b"")
    refused(tmp_path / "empty.nii", "NIfTI")
    good = put(tmp_path, "good.nii.gz", noise((30, 30, 30)))
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:50000])
    refused(tmp_path / "cut.nii.gz", "cannot be read", "copy it again")
    nibabel.save(nibabel.MGHImage(noise(), AFFINE), tmp_path / "a.mgz")
    refused(tmp_path / "a.mgz", "must be NIfTI", "MGHImage")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (noise((4, 4, 4, 2)), ("3-D", "(4, 4, 4, 2)")),
        (noise((4, 4)), ("3-D", "(4, 4)")),
        (noise((4, 4, 1)), ("at least 2 voxels", "(4, 4, 1)")),
        (noise().astype(np.complex64), ("real number", "complex64")),
        (np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), ("real number", "RGB")),
    ],
    ids=["series", "picture", "slice", "complex", "rgb"],
)
def test_what_is_no_volume(tmp_path, values, words):
    refused(put(tmp_path, "a.nii", values), *words, read=inspect)


def test_values_that_cannot_be_used(tmp_path):
    values = noise()
    values[1, 2, 3], values[0, 0, 0] = np.nan, np.inf
    refused(put(tmp_path, "a.nii", values), "finite", "2 of 210")
    refused(put(tmp_path, "b.nii", np.full((4, 4, 4), -7.0, np.float32)), "differ", "-7 in every voxel")
    refused(put(tmp_path, "c.nii", noise().astype(np.float64) * 1e300), "finite")


def test_affines_that_cannot_be_used(tmp_path):
    shear = AFFINE.copy()
    shear[0, 2] = 0.5
    refused(put(tmp_path, "shear.nii", noise(), shear), "orthogonal", "resample", read=inspect)
    slightly = AFFINE.copy()
    slightly[0, 2] = 0.001
    assert inspect(put(tmp_path, "slightly.nii", noise(), slightly)).grid.shape == (5, 6, 7)
    image = nibabel.Nifti1Image(noise(), AFFINE)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "metres.nii")
    refused(tmp_path / "metres.nii", "in mm", "metres", read=inspect)
    raw = bytearray(nibabel.Nifti1Image(noise(), AFFINE).to_bytes())
    raw[280:296] = np.zeros(4, "<f4").tobytes()  # srow_x
    (tmp_path / "flat.nii").write_bytes(bytes(raw))
    refused(tmp_path / "flat.nii", "affine", "correct it", read=inspect)
    image = nibabel.Nifti1Image(noise(), None)
    nibabel.save(image, tmp_path / "nowhere.nii")
    assert not inspect(tmp_path / "nowhere.nii").placed


def test_label_maps(tmp_path):
    image = inspect(put(tmp_path, "image.nii.gz", noise()))
    labels = np.random.default_rng(0).integers(0, 14, (5, 6, 7))
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        read = read_labels(put(tmp_path, "labels.nii.gz", labels.astype(dtype)), image)
        assert read.dtype == torch.uint8
        np.testing.assert_array_equal(read, labels)
    assert read_labels(put(tmp_path, "many.nii", labels.astype(np.int32) * 100), image).dtype == torch.int16


def test_label_maps_that_cannot_be_used(tmp_path):
    image = inspect(put(tmp_path, "image.nii.gz", noise()))

    def read(path: Path):
        return read_labels(path, image)

    ones = np.ones((5, 6, 7), np.float32)
    half = ones.copy()
    half[0, 1, 2] = 1.5
    refused(put(tmp_path, "half.nii", half), "whole numbers", "1.5 in 1 voxels", "nearest", read=read)
    refused(put(tmp_path, "minus.nii", -ones), "whole numbers", "-1 in 210", read=read)
    refused(put(tmp_path, "nan.nii", ones * np.nan), "whole numbers", "nan", read=read)
    refused(put(tmp_path, "huge.nii", ones * 40000), "whole numbers", "40000", read=read)
    refused(put(tmp_path, "none.nii", ones * 0), "mark something", read=read)
    refused(put(tmp_path, "shape.nii", ones[1:]), "image.nii.gz", "5 x 6 x 7", "4 x 6 x 7", read=read)
    refused(put(tmp_path, "spacing.nii", ones, np.diag([2, 3, 5, 1])), "2 x 3 x 4 mm", "2 x 3 x 5 mm", read=read)
    moved = AFFINE.copy()
    moved[0, 3] = 1
    refused(put(tmp_path, "moved.nii", ones, moved), "(0.00, 0.00, 0.00)", "(1.00, 0.00, 0.00)", read=read)


def test_masks(tmp_path):
    image = inspect(put(tmp_path, "image.nii.gz", noise()))
    values = np.zeros((5, 6, 7), np.float32)
    values[1:3] = 1
    mask = read_mask(put(tmp_path, "mask.nii", values), image)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask, values > 0)

    def read(path: Path):
        return read_mask(path, image)

    refused(put(tmp_path, "empty.nii", values * 0), "no voxel above 0.5", read=read)
    refused(put(tmp_path, "nan.nii", values * np.nan), "finite", read=read)
    refused(put(tmp_path, "shape.nii", values[1:]), "image.nii.gz", read=read)
