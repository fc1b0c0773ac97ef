"""``cst apply`` as a user calls it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from cst_core.formats.itk_field import FieldFile
from cst_core.formats.nifti import placed, read_volume
from cst_core.formats.point_list import read_points, write_points
from cst_core.resample import by_transform, resample
from cst_core.transform import Transform, WorldAffine, WorldField
from cst_core.transforms_io import write_itk_affine, write_itk_composite, write_itk_field, write_transform
from cst_core.world_grid import slab_points

Cst = Callable[..., Any]


@pytest.fixture
def pair(pair_of):
    """One orientation, as others are tested where files are read and written."""
    return pair_of("oblique")


@pytest.fixture
def folder(pair, tmp_path: Path) -> Path:
    """The scans, the transform and a list of points."""
    nibabel.save(placed(np.zeros(pair.fixed.shape, np.uint8), pair.fixed), tmp_path / "fixed.nii.gz")
    nibabel.save(placed(pair.image, pair.moving), tmp_path / "moving.nii.gz")
    nibabel.save(placed(pair.labels, pair.moving), tmp_path / "labels.nii.gz")
    write_itk_composite(tmp_path / "t.h5", whole(pair))
    write_itk_field(tmp_path / "u.nii.gz", whole(pair).on(pair.fixed))
    write_points(tmp_path / "points.csv", pair.inner_points(30))
    return tmp_path


def whole(pair) -> Transform:
    return Transform((pair.field, pair.affine))


def test_image(pair, folder: Path, cst: Cst):
    for name in ("t.h5", "u.nii.gz"):  # the second is read block by block
        out = folder / f"warped_{name[0]}.nii.gz"
        said = cst("apply", folder / name, folder / "moving.nii.gz", "--like", folder / "fixed.nii.gz", "--out", out)
        assert (said.code, said.err) == (0, "")
        assert "20 x 18 x 14 voxels, int16" in said.out
        result = read_volume(out)
        assert result.grid.is_close(pair.fixed)
        moving, air = read_volume(folder / "moving.nii.gz"), float(pair.image.min())
        expected = resample(moving, by_transform(whole(pair), pair.fixed), pair.fixed, "linear", air)
        inner = (slice(2, -2),) * 3
        assert np.abs(result.values.astype(int) - expected.values)[inner].max() <= 1


def test_field_on_the_reference_grid_is_never_read_as_a_whole(folder: Path, cst: Cst, monkeypatch: pytest.MonkeyPatch):
    def load(self: FieldFile) -> WorldField:
        raise AssertionError(f"{self.path} is read at once")

    monkeypatch.setattr(FieldFile, "load", load)
    arguments = [folder / "u.nii.gz", folder / "moving.nii.gz", "--out", folder / "w.nii.gz", "--like"]
    assert cst("apply", *arguments, folder / "fixed.nii.gz").code == 0
    assert "is read at once" in cst("apply", *arguments, folder / "moving.nii.gz", "--overwrite").err


def test_field_that_ends_too_early_leaves_no_result(folder: Path, cst: Cst):
    whole_file = (folder / "u.nii.gz").read_bytes()
    (folder / "u.nii.gz").write_bytes(whole_file[: len(whole_file) // 2])
    before = sorted(folder.iterdir())
    options = ["--like", folder / "fixed.nii.gz", "--out", folder / "w.nii.gz"]
    said = cst("apply", folder / "u.nii.gz", folder / "moving.nii.gz", *options)
    assert (said.code, said.out) == (1, "")
    assert "u.nii.gz: voxels cannot be read" in said.err
    assert sorted(folder.iterdir()) == before


def test_labels_keep_their_type_and_gain_none(pair, folder: Path, cst: Cst):
    for mode in ("nearest", "label"):
        out = folder / f"{mode}.nii.gz"
        options = ["--like", folder / "fixed.nii.gz", "--out", out, "--interpolation", mode]
        assert cst("apply", folder / "t.h5", folder / "labels.nii.gz", *options).code == 0
        values = read_volume(out).values
        assert values.dtype == np.uint8
        assert set(np.unique(values)) <= {0, *np.unique(pair.labels)}


def test_outside_is_what_was_asked_for(folder: Path, cst: Cst):
    write_itk_affine(folder / "far.tfm", _shift(500.0))
    options = ["--like", folder / "fixed.nii.gz", "--out", folder / "w.nii", "--outside", -1024]
    said = cst("apply", folder / "far.tfm", folder / "moving.nii.gz", *options)
    assert said.code == 0
    assert "warning: no voxel of fixed.nii.gz is led into moving.nii.gz: the result is all -1024" in said.out
    assert (read_volume(folder / "w.nii").values == -1024).all()


def test_points_go_from_fixed_to_moving_and_back(pair, folder: Path, cst: Cst):
    there, back = folder / "there.csv", folder / "back.csv"
    said = cst("apply", folder / "t.h5", folder / "points.csv", "--out", there)
    assert (said.code, said.out.split(": ")[1]) == (0, "30 points, fixed to moving, RAS mm\n")
    torch.testing.assert_close(read_points(there), whole(pair).map(pair.inner_points(30)), atol=2e-4, rtol=0)
    said = cst("apply", folder / "t.h5", there, "--inverse", "--out", back)
    assert "moving to fixed" in said.out
    torch.testing.assert_close(read_points(back), pair.inner_points(30), atol=1e-3, rtol=0)


def test_points_and_images_go_opposite_ways(folder: Path, cst: Cst):
    """T(x) = x + 4 mm to the right: the point moves right, the image moves left."""
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    image = np.zeros((10, 4, 4), np.int16)
    image[3, 2, 1] = 100  # R = -6 mm
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / "dot.nii")
    write_itk_affine(folder / "a.tfm", _shift(4.0))
    (folder / "dot.csv").write_text("x,y,z\n-6,4,2\n")
    options = ["--like", folder / "dot.nii", "--out", folder / "w.nii"]
    assert cst("apply", folder / "a.tfm", folder / "dot.nii", *options).code == 0
    assert np.argwhere(read_volume(folder / "w.nii").values == 100).tolist() == [[5, 2, 1]]  # R = -10 mm
    assert cst("apply", folder / "a.tfm", folder / "dot.csv", "--out", folder / "p.csv").code == 0
    assert read_points(folder / "p.csv").tolist() == [[-2.0, 4.0, 2.0]]
    assert cst("apply", folder / "a.tfm", folder / "dot.nii", *options, "--inverse", "--overwrite").code == 0
    assert np.argwhere(read_volume(folder / "w.nii").values == 100).tolist() == [[1, 2, 1]]


def test_lps_lists_are_mapped_as_the_same_points(pair, folder: Path, cst: Cst):
    write_points(folder / "lps.csv", pair.inner_points(30), "lps")
    assert cst("apply", folder / "t.h5", folder / "lps.csv", "--out", folder / "o.csv", "--frame", "lps").code == 0
    expected = whole(pair).map(pair.inner_points(30))
    torch.testing.assert_close(read_points(folder / "o.csv", "lps"), expected, atol=2e-4, rtol=0)
    with (folder / "o.csv").open() as stream:
        assert float(list(csv.reader(stream))[1][0]) == pytest.approx(-float(expected[0, 0]), abs=1e-3)


def test_folder_of_a_registration_both_ways(pair, folder: Path, cst: Cst):
    run = folder / "run"
    run.mkdir()
    write_itk_field(run / "displacement.nii.gz", whole(pair).on(pair.fixed))
    assert cst("apply", run, folder / "points.csv", "--out", folder / "1.csv").code == 0
    assert cst("apply", run, folder / "1.csv", "--out", folder / "2.csv", "--inverse").code == 0  # by inversion
    torch.testing.assert_close(read_points(folder / "2.csv"), pair.inner_points(30), atol=1e-3, rtol=0)
    marked = WorldAffine.identity()
    marked.matrix[:3, 3] = 7.0
    write_itk_field(run / "displacement_inverse.nii.gz", Transform((marked,)).on(pair.moving))
    assert cst("apply", run, folder / "points.csv", "--out", folder / "3.csv", "--inverse").code == 0
    torch.testing.assert_close(read_points(folder / "3.csv"), pair.inner_points(30) + 7.0, atol=1e-3, rtol=0)


def test_learn2reg_field_takes_its_grids_from_the_scans(pair, folder: Path, cst: Cst):
    write_transform(whole(pair), folder / "d.nii.gz", "learn2reg", pair.fixed, pair.moving)
    like, moving = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    assert cst("apply", folder / "d.nii.gz", moving, "--like", like, "--out", folder / "w.nii.gz").code == 0
    assert cst("apply", folder / "u.nii.gz", moving, "--like", like, "--out", folder / "v.nii.gz").code == 0
    found, expected = (read_volume(folder / name).values.astype(int) for name in ("w.nii.gz", "v.nii.gz"))
    assert np.abs(found - expected).max() <= 1
    grids = ["--like", like, "--moving", moving]
    assert cst("apply", folder / "d.nii.gz", folder / "points.csv", *grids, "--out", folder / "p.csv").code == 0
    said = cst("apply", folder / "d.nii.gz", folder / "points.csv", "--out", folder / "q.csv")
    assert (said.code, "pass both, with --like FIXED and --moving MOVING" in said.err) == (2, True)


def test_learn2reg_field_backwards_swaps_the_scans(pair, folder: Path, cst: Cst):
    """--inverse pulls the fixed scan onto the moving grid: --like is then the moving scan."""
    write_transform(whole(pair), folder / "d.nii.gz", "learn2reg", pair.fixed, pair.moving)
    points = slab_points(pair.fixed, 0, pair.fixed.shape[2])
    ramp = (points[:, 0] * 10).reshape(pair.fixed.shape).float().numpy()
    nibabel.save(placed(ramp, pair.fixed), folder / "ramp.nii.gz")
    options = ["--like", folder / "moving.nii.gz", "--out", folder / "b.nii.gz", "--inverse", "--outside", -9999]
    assert cst("apply", folder / "d.nii.gz", folder / "ramp.nii.gz", *options).code == 0
    there = Transform((whole(pair).on(pair.fixed),)).invert(slab_points(pair.moving, 0, pair.moving.shape[2]))
    values = read_volume(folder / "b.nii.gz").values.reshape(-1)
    good = (values > -9000) & (there.residual_mm.numpy() < 1e-4)
    assert good.sum() > 500
    np.testing.assert_allclose(values[good], 10 * there.points[good, 0], atol=15.1)  # half a voxel at the faces
    assert np.median(np.abs(values[good] - 10 * there.points[good, 0].numpy())) < 0.01


def test_what_is_doubtful_is_said(pair, folder: Path, cst: Cst):
    write_points(folder / "far.csv", pair.inner_points(3) + 500.0)
    said = cst("apply", folder / "u.nii.gz", folder / "far.csv", "--out", folder / "o.csv")
    assert "warning: 3 of 3 points lie outside the field and stay where they are" in said.out
    assert read_points(folder / "o.csv").tolist() == pytest.approx(read_points(folder / "far.csv"))


def _shift(right: float) -> WorldAffine:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 3] = right
    return WorldAffine(matrix)


class TestRefusals:
    """One line each, exit code, and no file."""

    @pytest.fixture
    def small(self, tmp_path: Path) -> Path:
        write_itk_affine(tmp_path / "t.tfm", _shift(1.0))
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "m.nii")
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), tmp_path / "four.nii")
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4), np.int16), np.eye(4)), tmp_path / "two.nii")
        nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), np.nan, np.float32), np.eye(4)), tmp_path / "nan.nii")
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), tmp_path / "complex.nii")
        sheared = np.eye(4) + np.eye(4, k=1) * [0, 0.5, 0, 0]
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), sheared), tmp_path / "sheared.nii")
        (tmp_path / "p.csv").write_text("x,y,z\n1,2,3\n")
        (tmp_path / "bad.csv").write_text("a,b,c\n1,2,3\n")
        (tmp_path / "nan.csv").write_text("x,y,z\nnan,2,3\n")
        (tmp_path / "cut.nii").write_bytes((tmp_path / "m.nii").read_bytes()[:400])
        (tmp_path / "empty").mkdir()
        return tmp_path

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            ("none.tfm m.nii --like m.nii --out o.nii", 1, "none.tfm: no such file"),
            ("t.tfm none.nii --like m.nii --out o.nii", 1, "none.nii: no such file"),
            ("t.tfm m.nii --like none.nii --out o.nii", 1, "none.nii: no such file"),
            ("t.tfm m.nii --out o.nii", 2, "--like: needed for images"),
            ("t.tfm two.nii --like m.nii --out o.nii", 1, "one 3-D volume, found the shape (4, 4)"),
            ("t.tfm nan.nii --like m.nii --out o.nii", 1, "found 16 NaN or infinite ones in plane 0"),
            ("t.tfm complex.nii --like m.nii --out o.nii", 1, "found complex64"),
            ("t.tfm cut.nii --like m.nii --out o.nii", 1, "voxels cannot be read"),
            ("m.nii m.nii --like m.nii --out o.nii", 1, "m.nii: no transform"),
            ("empty m.nii --like m.nii --out o.nii", 1, "empty: holds no displacement.nii.gz"),
            ("t.tfm p.csv --out o.nii", 2, "the name must end with .csv"),
            ("t.tfm m.nii --like m.nii --out o.csv", 2, "the name must end with .nii or .nii.gz"),
            ("t.tfm bad.csv --out o.csv", 1, "bad.csv: the first line must be x,y,z, found 'a,b,c'"),
            ("t.tfm nan.csv --out o.csv", 1, "nan.csv, line 2: must be three finite numbers"),
            ("t.tfm m.nii --like m.nii --out m.nii --overwrite", 2, "is one of the inputs"),
            ("t.tfm p.csv --out ./p.csv --overwrite", 2, "is one of the inputs"),
            ("t.tfm m.nii --like m.nii --out nan.nii", 2, "exists already"),
            ("t.tfm m.nii --like m.nii --out none/o.nii", 2, "the folder none does not exist"),
            ("t.tfm m.nii --like m.nii --out o.nii --interpolation cubic", 2, "cubic"),
        ],
    )
    def test_message(
        self, small: Path, monkeypatch: pytest.MonkeyPatch, cst: Cst, arguments: str, code: int, said: str
    ):
        monkeypatch.chdir(small)
        before = {path: path.read_bytes() for path in small.iterdir() if path.is_file()}
        result = cst("apply", *arguments.split())
        assert (result.code, result.out) == (code, "")
        assert said in result.err
        assert "cubic" in said or result.err.count("\n") == 1
        assert {path: path.read_bytes() for path in small.iterdir() if path.is_file()} == before


def test_two_places_in_one_header_are_told(folder: Path, cst: Cst):
    image = nibabel.load(folder / "moving.nii.gz")
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)  # type: ignore[attr-defined]
    image.set_sform(image.affine, code=2)
    image.set_qform(image.affine, code=1)
    nibabel.save(image, folder / "alike.nii.gz")
    elsewhere = np.array(image.affine)
    elsewhere[0, 3] += 30.0
    image.set_qform(elsewhere, code=1)
    nibabel.save(image, folder / "apart.nii.gz")
    arguments = ["--like", folder / "fixed.nii.gz", "--out", folder / "w.nii.gz", "--overwrite"]
    assert cst("apply", folder / "t.h5", folder / "alike.nii.gz", *arguments).out.startswith(str(folder / "w.nii.gz"))
    said = cst("apply", folder / "t.h5", folder / "apart.nii.gz", *arguments)
    assert "apart.nii.gz: its sform and qform lie 30 mm apart" in said.out
    said = cst("convert", folder / "t.h5", "--to", "fsl", "--out", folder / "fsl.nii.gz", "--like",
               folder / "fixed.nii.gz", "--moving", folder / "apart.nii.gz")  # fmt: skip
    assert (said.code, "lie 30 mm apart" in said.out) == (0, True)
