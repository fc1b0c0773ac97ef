"""SimpleITK and ANTs apply what cst wrote to the original files: images and points agree, both ways."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from cst_core.formats.nifti import placed, read_volume
from cst_core.resample import Interpolation, by_transform, resample
from cst_core.transform import Transform, WorldAffine, WorldField
from cst_core.transforms_io import (
    read_transform,
    write_itk_affine,
    write_itk_composite,
    write_itk_field,
    write_transform,
)

LPS = np.array([-1.0, -1.0, 1.0])
Files = dict[str, Path]


@pytest.fixture
def files(pair, tmp_path: Path) -> Files:
    """The scans, and the whole transform (field, then affine map) in every form that the judges read."""
    made = {name: tmp_path / name for name in ("fixed.nii.gz", "moving.nii.gz", "labels.nii.gz", "u.nii.gz", "c.h5")}
    nibabel.save(placed(np.zeros(pair.fixed.shape, np.float32), pair.fixed), made["fixed.nii.gz"])
    nibabel.save(placed(pair.image, pair.moving), made["moving.nii.gz"])
    nibabel.save(placed(pair.labels, pair.moving), made["labels.nii.gz"])
    whole = whole_of(pair)
    write_itk_field(made["u.nii.gz"], whole.on(pair.fixed))
    write_itk_composite(made["c.h5"], whole)
    write_transform(whole, tmp_path / "ants_", "ants")
    return made


def whole_of(pair) -> Transform:
    return Transform((pair.field, pair.affine))


def ours(files: Files, transform: Transform, grid, name: str, interpolation: Interpolation = "linear") -> np.ndarray:
    volume = read_volume(files[name])
    return resample(volume, by_transform(transform, grid), grid, interpolation, -1000.0).values


def share_of_range(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference two voxels or more from every side, over the range."""
    inner = (slice(2, -2),) * 3
    return float(np.abs(one[inner].astype(float) - other[inner]).max() / (other.max() - other.min()))


class TestSimpleITK:
    def resampled(self, files: Files, transform: Any, name: str, interpolator: int) -> np.ndarray:
        fixed, moving = (SimpleITK.ReadImage(str(files[key])) for key in ("fixed.nii.gz", name))
        image = SimpleITK.Resample(moving, fixed, transform, interpolator, -1000.0 if "moving" in name else 0.0)
        return SimpleITK.GetArrayFromImage(image).T

    def field(self, files: Files) -> Any:
        image = SimpleITK.ReadImage(str(files["u.nii.gz"]), SimpleITK.sitkVectorFloat64)
        return SimpleITK.DisplacementFieldTransform(image)

    def test_field_warps_as_ours(self, pair, files: Files):
        theirs = self.resampled(files, self.field(files), "moving.nii.gz", SimpleITK.sitkLinear)
        mine = ours(files, Transform((whole_of(pair).on(pair.fixed),)), pair.fixed, "moving.nii.gz")
        assert mine.dtype == np.int16
        assert share_of_range(mine, theirs) < 0.001
        assert np.abs(mine.astype(int) - theirs).max() <= 1  # rounding; at the scan's faces too

    def test_composite_warps_as_ours(self, pair, files: Files):
        theirs = self.resampled(
            files, SimpleITK.ReadTransform(str(files["c.h5"])), "moving.nii.gz", SimpleITK.sitkLinear
        )
        assert share_of_range(ours(files, whole_of(pair), pair.fixed, "moving.nii.gz"), theirs) < 0.001

    def test_labels_agree(self, pair, files: Files):
        composite = SimpleITK.ReadTransform(str(files["c.h5"]))
        theirs = self.resampled(files, composite, "labels.nii.gz", SimpleITK.sitkNearestNeighbor)
        volume = read_volume(files["labels.nii.gz"])
        mine = resample(volume, by_transform(whole_of(pair), pair.fixed), pair.fixed, "nearest").values
        assert (mine != theirs).mean() < 1e-3

    def test_label_interpolation_agrees(self, pair, files: Files):
        composite = SimpleITK.ReadTransform(str(files["c.h5"]))
        theirs = self.resampled(files, composite, "labels.nii.gz", SimpleITK.sitkLabelLinear)
        volume = read_volume(files["labels.nii.gz"])
        mine = resample(volume, by_transform(whole_of(pair), pair.fixed), pair.fixed, "label").values
        assert (mine != theirs).mean() < 1e-3

    @pytest.mark.parametrize("composite", [False, True])
    def test_points_map_as_ours(self, pair, files: Files, composite: bool):
        transform = SimpleITK.ReadTransform(str(files["c.h5"])) if composite else self.field(files)
        points = pair.inner_points(50)
        theirs = np.array([transform.TransformPoint(point) for point in (points.numpy() * LPS).tolist()]) * LPS
        mine = (whole_of(pair) if composite else Transform((whole_of(pair).on(pair.fixed),))).map(points).numpy()
        assert np.linalg.norm(mine - theirs, axis=1).max() < 1e-3
        assert (
            np.linalg.norm(mine - points.numpy(), axis=1).mean() > 1.5
        )  # mm: a transform that does nothing would not pass

    def test_points_come_back(self, pair, files: Files):
        """What our inverse finds, their forward map leads to where it came from."""
        there = whole_of(pair).map(pair.inner_points(50))
        back = whole_of(pair).invert(there)
        assert back.residual_mm.max() < 1e-4
        composite = SimpleITK.ReadTransform(str(files["c.h5"]))
        theirs = np.array([composite.TransformPoint(point) for point in (back.points.numpy() * LPS).tolist()]) * LPS
        assert np.linalg.norm(theirs - there.numpy(), axis=1).max() < 1e-3

    def test_inverse_as_a_field_maps_points_back(self, pair, tmp_path: Path):
        points = pair.inner_points(50)
        there = whole_of(pair).map(points)
        path = tmp_path / "inverse.nii.gz"
        back = whole_of(pair).inverse_on(pair.moving).field
        write_itk_field(path, back)
        image = SimpleITK.ReadImage(str(path), SimpleITK.sitkVectorFloat64)
        inverse = SimpleITK.DisplacementFieldTransform(image)
        theirs = np.array([inverse.TransformPoint(point) for point in (there.numpy() * LPS).tolist()]) * LPS
        mine = back.map(there).numpy()
        assert np.linalg.norm(mine - theirs, axis=1).max() < 1e-3
        assert np.linalg.norm(mine - points.numpy(), axis=1).max() < 0.2  # linear between the inverse's voxels

    def test_affine_file(self, pair, tmp_path: Path):
        points = pair.inner_points(20)
        for name in ("a.tfm", "a.mat"):
            write_itk_affine(tmp_path / name, pair.affine)
            affine = SimpleITK.ReadTransform(str(tmp_path / name))
            theirs = np.array([affine.TransformPoint(point) for point in (points.numpy() * LPS).tolist()]) * LPS
            np.testing.assert_allclose(pair.affine.map(points).numpy(), theirs, atol=1e-9)


@pytest.fixture(scope="module")
def ants() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "ants", reason="antspyx is not installed (pip install antspyx)", exc_type=ImportError
        )


class TestANTs:
    def lists(self, files: Files) -> dict[str, list[str]]:
        folder = files["u.nii.gz"].parent
        return {
            "field": [str(files["u.nii.gz"])],
            "warp and affine": [str(folder / "ants_1Warp.nii.gz"), str(folder / "ants_0GenericAffine.mat")],
            "composite": [str(files["c.h5"])],
        }

    @pytest.mark.parametrize("which", ["field", "warp and affine", "composite"])
    def test_images_warp_as_ours(self, ants: Any, pair, files: Files, which: str):
        fixed, moving = (ants.image_read(str(files[key])) for key in ("fixed.nii.gz", "moving.nii.gz"))
        image = ants.apply_transforms(fixed, moving, self.lists(files)[which], "linear", defaultvalue=-1000)
        transform = whole_of(pair) if which != "field" else Transform((whole_of(pair).on(pair.fixed),))
        mine = ours(files, transform, pair.fixed, "moving.nii.gz")
        assert share_of_range(mine, image.numpy()) < 0.001

    @pytest.mark.parametrize("which", ["field", "warp and affine", "composite"])
    def test_points_map_as_ours(self, ants: Any, pair, files: Files, which: str):
        points = pair.inner_points(50)
        theirs = self.mapped(ants, points, self.lists(files)[which], [False] * len(self.lists(files)[which]))
        mine = whole_of(pair).map(points).numpy()
        assert np.linalg.norm(mine - theirs, axis=1).max() < (0.01 if which != "field" else 0.2)
        if which == "field":
            on_grid = Transform((whole_of(pair).on(pair.fixed),)).map(points).numpy()
            assert np.linalg.norm(on_grid - theirs, axis=1).max() < 0.01

    def test_affine_inverts_as_ours(self, ants: Any, pair, files: Files):
        points = pair.inner_points(50)
        theirs = self.mapped(ants, points, self.lists(files)["warp and affine"][1:], [True])
        mine = Transform((pair.affine,)).inverse_map(points).numpy()
        assert np.linalg.norm(mine - theirs, axis=1).max() < 0.01

    def test_its_own_registration_is_read_as_it_means_it(self, ants: Any, pair, files: Files, tmp_path: Path):
        """Files that ANTs made, by their prefix; the registration need not be good for that."""
        warped = ours(files, whole_of(pair), pair.fixed, "moving.nii.gz").astype(np.float32)
        nibabel.save(placed(warped, pair.fixed), tmp_path / "target.nii.gz")
        fixed, moving = (ants.image_read(str(tmp_path / name)) for name in ("target.nii.gz", "moving.nii.gz"))
        effort = {"reg_iterations": (4, 2), "aff_iterations": (9, 9), "aff_shrink_factors": (2, 1)}
        made = ants.registration(
            fixed, moving, "SyN", outprefix=str(tmp_path / "own_"), aff_smoothing_sigmas=(1, 0), random_seed=1, **effort
        )
        transform, points = read_transform(tmp_path / "own_"), pair.inner_points(50)
        assert [type(part) for part in transform.parts] == [WorldField, WorldAffine]
        theirs = self.mapped(ants, points, made["fwdtransforms"], [False, False])
        assert np.linalg.norm(transform.map(points).numpy() - theirs, axis=1).max() < 0.01
        back = self.mapped(ants, torch.from_numpy(theirs), made["invtransforms"], [True, False])
        mine = transform.inverse_map(torch.from_numpy(theirs)).numpy()
        assert np.linalg.norm(mine - points.numpy(), axis=1).max() < 0.01
        assert np.linalg.norm(mine - back, axis=1).max() < 0.5  # its own way back is a field that it stores

    def mapped(self, ants: Any, points: torch.Tensor, names: Sequence[str], invert: Sequence[bool]) -> np.ndarray:
        """ANTs maps points in LPS, by the same transforms as images, in the same order."""
        import pandas

        table = pandas.DataFrame(points.numpy() * LPS, columns=["x", "y", "z"])
        map_: Callable[..., Any] = ants.apply_transforms_to_points
        return map_(3, table, list(names), whichtoinvert=list(invert))[["x", "y", "z"]].to_numpy() * LPS


class TestNitransforms:
    """What it writes for FSL is right where array axes run along the world's, right or left first; elsewhere not."""

    @pytest.mark.parametrize(("axes", "format"), [("RAS", "fsl"), ("LAS", "fsl"), ("oblique", "itk")])
    def test_fields_hold_the_same_numbers(self, axes: str, format: str, oriented, tmp_path: Path):
        nonlinear = pytest.importorskip("nitransforms.nonlinear", reason="nitransforms is not installed")
        grid = oriented(axes)
        vectors = torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(0))
        image = placed(np.moveaxis(vectors.numpy(), 0, -1), grid)
        nonlinear.DenseFieldTransform(image, reference=image).to_filename(tmp_path / "theirs.nii", fmt=format)
        write_transform(Transform((WorldField(vectors, grid),)), tmp_path / "ours.nii", format, None, grid)
        theirs, mine = (nibabel.load(tmp_path / name).get_fdata() for name in ("theirs.nii", "ours.nii"))
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
