"""Files of other software: round trips, what the numbers in them are, and what is said of bad ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage

from cst_core.cli_transforms import FormatChoice
from cst_core.errors import ConfigError, CstError, DataError
from cst_core.field import Grid
from cst_core.formats.fsl import to_fsl
from cst_core.formats.itk_field import open_field
from cst_core.formats.nifti import placed
from cst_core.transform import Transform, WorldAffine, WorldField
from cst_core.transforms_io import (
    EXTENSIONS,
    input_files,
    output_files,
    read_transform,
    write_itk_affine,
    write_itk_field,
    write_transform,
)
from cst_core.world_grid import slab_points, to_indices

FIELDS = [
    ("itk", "u.nii.gz"),
    ("itk", "u.nii"),
    ("itk", "u.nrrd"),
    ("itk", "u.mha"),
    ("itk-composite", "u.h5"),
    ("itk-composite", "u.tfm"),
    ("ants", "u_"),
    ("learn2reg", "disp_0001_0002.nii.gz"),
    ("fsl", "u.nii.gz"),
    ("niftyreg", "u.nii.gz"),
]


def test_formats_of_the_command_line_are_those_that_are_written():
    assert [choice.value for choice in FormatChoice] == list(EXTENSIONS)


@pytest.mark.parametrize(("format", "name"), FIELDS)
def test_field_comes_back(pair, tmp_path: Path, format: str, name: str):
    path = tmp_path / name
    whole = Transform((pair.field, pair.affine)).on(pair.fixed)
    written = write_transform(Transform((whole,)), path, format, None, pair.moving)
    assert sorted(written) == sorted(tmp_path.iterdir())
    back = read_transform(path, pair.fixed, pair.moving).on(pair.fixed)
    assert float((back.vectors - whole.vectors).abs().max()) < 1e-3
    assert back.grid.is_close(pair.fixed)


@pytest.mark.parametrize(("format", "name"), [("itk-composite", "c.h5"), ("itk-composite", "c.tfm"), ("ants", "c_")])
def test_parts_come_back_apart_and_in_order(pair, tmp_path: Path, format: str, name: str):
    whole = Transform((pair.field, pair.affine))
    write_transform(whole, tmp_path / name, format)
    back = read_transform(tmp_path / name)
    assert [type(part) for part in back.parts] == [WorldField, WorldAffine]
    points = pair.inner_points(20)
    torch.testing.assert_close(back.map(points), whole.map(points), atol=1e-4, rtol=0)


def test_affine_before_a_field_stays_before_it(pair, tmp_path: Path):
    whole, points = Transform((pair.affine, pair.field)), pair.inner_points(20)
    write_transform(whole, tmp_path / "c.h5", "itk-composite")
    torch.testing.assert_close(read_transform(tmp_path / "c.h5").map(points), whole.map(points), atol=1e-4, rtol=0)
    write_transform(whole, tmp_path / "c_", "ants", pair.fixed)  # ANTs cannot hold it: one field on the fixed grid
    on_grid = Transform((whole.on(pair.fixed),))
    torch.testing.assert_close(read_transform(tmp_path / "c_").map(points), on_grid.map(points), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["a.tfm", "a.txt", "a.mat"])
def test_affine_comes_back_exactly(pair, tmp_path: Path, name: str):
    write_transform(Transform((pair.affine, pair.affine)), tmp_path / name, "itk")
    (back,) = read_transform(tmp_path / name).parts
    assert isinstance(back, WorldAffine)
    torch.testing.assert_close(back.matrix, pair.affine.matrix @ pair.affine.matrix, atol=1e-12, rtol=0)


def test_itk_field_is_lps_in_the_file(pair, tmp_path: Path):
    write_itk_field(tmp_path / "u.nii.gz", pair.field)
    image = nibabel.load(tmp_path / "u.nii.gz")
    header = image.header
    assert (int(header["intent_code"]), list(header["dim"][:6])) == (1007, [5, *pair.fixed.shape, 1, 3])
    assert header.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine, pair.fixed.affine.numpy(), atol=1e-4)
    expected = pair.field.vectors.numpy() * np.array([-1, -1, 1])[:, None, None, None]
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0, :], np.moveaxis(expected, 0, -1))


def test_itk_field_marked_as_displacements_is_ras(pair, tmp_path: Path):
    """ITK turns vectors of this intent itself, so there they are RAS."""
    image = placed(np.moveaxis(pair.field.vectors.numpy(), 0, -1)[..., None, :], pair.fixed)
    image.header.set_intent(1006)
    nibabel.save(image, tmp_path / "u.nii")
    (back,) = read_transform(tmp_path / "u.nii").parts
    torch.testing.assert_close(back.vectors, pair.field.vectors)


def test_field_is_read_in_ranges(pair, tmp_path: Path):
    write_itk_field(tmp_path / "u.nii.gz", pair.field)
    field = open_field(tmp_path / "u.nii.gz")
    parts = [field.slab(start, min(start + 5, 14)) for start in range(0, 14, 5)]
    torch.testing.assert_close(torch.cat(parts, dim=-1), pair.field.vectors, atol=0, rtol=0)
    torch.testing.assert_close(field.slab(2, 3), pair.field.vectors[..., 2:3], atol=0, rtol=0)  # backwards, too


def test_learn2reg_is_what_its_evaluation_looks_up(pair, tmp_path: Path):
    """``map_coordinates(moving, identity + disp)``, the line of the evaluation, is the warped image."""
    write_transform(Transform((pair.field, pair.affine)), tmp_path / "d.nii.gz", "learn2reg", pair.fixed, pair.moving)
    disp = nibabel.load(tmp_path / "d.nii.gz").get_fdata()
    assert disp.shape == (*pair.fixed.shape, 3)
    index = np.stack(np.meshgrid(*map(np.arange, pair.fixed.shape), indexing="ij")) + np.moveaxis(disp, -1, 0)
    points = Transform((pair.field, pair.affine)).map(slab_points(pair.fixed, 0, pair.fixed.shape[2]))
    np.testing.assert_allclose(index.reshape(3, -1).T, to_indices(pair.moving, points).numpy(), atol=1e-4)


def test_learn2reg_npz_is_the_published_half_resolution(pair, tmp_path: Path):
    path = tmp_path / "disp_0001_0002.npz"
    transform = Transform((pair.field,))
    write_transform(transform, path, "learn2reg-npz", None, pair.fixed)
    halves = np.load(path)["arr_0"]
    assert (halves.dtype, halves.shape) == (np.float16, (3, 10, 9, 7))
    write_transform(transform, tmp_path / "full.nii.gz", "learn2reg", None, pair.fixed)
    full = np.moveaxis(nibabel.load(tmp_path / "full.nii.gz").get_fdata(), -1, 0)
    restored = np.stack([ndimage.zoom(half.astype(np.float32), 2, order=2) for half in halves])
    assert np.abs(restored - full).max() < 0.25  # voxels: what every second voxel of so small a field cannot hold
    back = read_transform(path, pair.fixed, pair.fixed).on(pair.fixed)
    steps = pair.fixed.affine[:3, :3] @ torch.from_numpy(restored).double().reshape(3, -1)
    torch.testing.assert_close(back.vectors.reshape(3, -1), steps.float(), atol=1e-4, rtol=0)


def test_learn2reg_npz_refuses_odd_axes(tmp_path: Path):
    grid = Grid.of((5, 4, 4), (1.0, 1.0, 1.0))
    field = WorldField(torch.zeros(3, 5, 4, 4), grid)
    with pytest.raises(ConfigError, match=r"even numbers of voxels, the fixed grid has \(5, 4, 4\)"):
        write_transform(Transform((field,)), tmp_path / "d.npz", "learn2reg-npz", None, grid)
    assert list(tmp_path.iterdir()) == []


def test_fsl_coordinates_by_hand():
    """RAS voxels count their first axis backwards, LAS voxels do not; mm are voxels times voxel size."""
    shape, step = (5, 4, 3), (2.0, 3.0, 4.0)
    for sign in (1.0, -1.0):
        affine = np.diag([sign * 2.0, 3.0, 4.0, 1.0])
        affine[:3, 3] = [7.0, -8.0, 9.0]
        grid = Grid.from_affine(shape, affine)
        world = grid.affine @ torch.tensor([1.0, 2.0, 2.0, 1.0], dtype=torch.float64)
        first = (5 - 1 - 1) * step[0] if sign > 0 else 1 * step[0]
        assert (to_fsl(grid) @ world).tolist() == pytest.approx([first, 6.0, 8.0, 1.0])


def test_fsl_warp_by_hand(tmp_path: Path):
    """The moving scan is the fixed scan on other voxels: with the identity, only FSL coordinates differ."""
    fixed = Grid.from_affine((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    moving = Grid.from_affine((8, 4, 4), np.diag([-1.0, 2.0, 2.0, 1.0]))  # LAS, first voxel at the same place
    write_transform(Transform((WorldAffine.identity(),)), tmp_path / "w.nii.gz", "fsl", fixed, moving)
    image = nibabel.load(tmp_path / "w.nii.gz")
    assert (int(image.header["intent_code"]), image.shape) == (2006, (4, 4, 4, 3))
    # fixed voxel 1 lies at R 2 mm: FSL 6 - 2 = 4 there, and -2 (two voxels off the other way) in the moving scan
    np.testing.assert_allclose(np.asarray(image.dataobj)[1, 1, 1], [-2.0 - 4.0, 0.0, 0.0])


def test_niftyreg_holds_world_positions(pair, tmp_path: Path):
    write_transform(Transform((pair.field,)), tmp_path / "n.nii.gz", "niftyreg")
    image = nibabel.load(tmp_path / "n.nii.gz")
    assert image.header["intent_name"].item() == b"NREG_TRANS"
    assert (int(image.header["intent_code"]), float(image.header["intent_p1"])) == (1007, 0.0)
    points = slab_points(pair.fixed, 0, pair.fixed.shape[2])
    np.testing.assert_allclose(
        np.asarray(image.dataobj).reshape(-1, 3), pair.field.map(points).numpy(), atol=1e-4, rtol=0
    )


def test_niftyreg_displacements_are_read(pair, tmp_path: Path):
    image = placed(np.moveaxis(pair.field.vectors.numpy(), 0, -1)[..., None, :], pair.fixed)
    image.header.set_intent("vector", name="NREG_TRANS")
    image.header["intent_p1"] = 1
    nibabel.save(image, tmp_path / "n.nii")
    (back,) = read_transform(tmp_path / "n.nii").parts
    torch.testing.assert_close(back.vectors, pair.field.vectors)


def test_folder_of_a_registration(pair, tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no displacement\.nii\.gz"):
        read_transform(tmp_path)
    write_itk_field(tmp_path / "displacement.nii.gz", pair.field)
    assert len(read_transform(tmp_path).parts) == 1
    assert input_files(tmp_path) == [tmp_path / "displacement.nii.gz"]


def test_output_files_are_those_written(pair, tmp_path: Path):
    written = write_transform(Transform((pair.field, pair.affine)), tmp_path / "p", "ants")
    assert written == output_files(tmp_path / "p", "ants") == input_files(tmp_path / "p")
    assert sorted(written) == sorted(tmp_path.iterdir())


def _field(path: Path, shape: tuple[int, ...] = (4, 4, 4, 1, 3), intent: int = 1007, fill: float = 0.0) -> None:
    image = nibabel.Nifti1Image(np.full(shape, fill, np.float32), np.eye(4))
    image.header["intent_code"] = intent
    nibabel.save(image, path)


def _niftyreg_spline(path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), np.eye(4))
    image.header.set_intent("vector", name="NREG_TRANS")
    image.header["intent_p1"] = 2
    nibabel.save(image, path)


def _sheared(path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), np.eye(4) + np.eye(4, k=1) * [0, 1, 0, 0])
    image.header.set_intent("vector")
    nibabel.save(image, path)


def _truncated(path: Path) -> None:
    write_itk_field(path, WorldField(torch.rand(3, 9, 9, 9), Grid.of((9, 9, 9), (1.0, 1.0, 1.0))))
    path.write_bytes(path.read_bytes()[:4000])


def _absolute_fsl(path: Path) -> None:
    index = np.stack(np.meshgrid(*map(np.arange, (6, 6, 6)), indexing="ij"), axis=-1).astype(np.float32)
    index[..., 0] = 5 - index[..., 0]
    image = nibabel.Nifti1Image(index, np.eye(4))
    image.header["intent_code"] = 2006
    nibabel.save(image, path)


def _bspline(path: Path) -> None:
    import SimpleITK

    SimpleITK.WriteTransform(SimpleITK.BSplineTransform(3), str(path))


def _two_dimensional(path: Path) -> None:
    import SimpleITK

    SimpleITK.WriteTransform(SimpleITK.AffineTransform(2), str(path))


def _singular(path: Path) -> None:
    write_itk_affine(path, WorldAffine.identity())
    path.write_text(path.read_text().replace("1.0 0.0 0.0 0.0 1.0", "0 0 0 0 1").replace("1 0 0 0 1", "0 0 0 0 1"))


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("u.nii.gz", lambda path: path.with_name("other").touch(), "no such file"),
        ("u.nii.gz", lambda path: path.write_bytes(b""), "no readable NIfTI file"),
        ("u.nii.gz", lambda path: path.write_bytes(b"\x1f\x8b\x08" + b"x" * 90), "no readable NIfTI file"),
        ("u.nii.gz", _truncated, "voxels cannot be read"),
        ("u.nii.gz", lambda path: _field(path, (4, 4, 4)), r"no transform: .* found \(4, 4, 4\)"),
        ("u.nii.gz", lambda path: _field(path, (4, 4, 4, 1, 2)), r"no transform: .* found \(4, 4, 4, 1, 2\)"),
        ("u.nii.gz", lambda path: _field(path, intent=0), "intent code 1007 .*found 0"),
        ("u.nii.gz", lambda path: _field(path, fill=np.nan), "found 192 NaN"),
        ("u.nii.gz", _sheared, "axes of affine must be orthogonal"),
        ("u.nii.gz", _niftyreg_spline, "kind 2; convert it with reg_transform"),
        ("u.nii.gz", _absolute_fsl, "found positions"),
        ("u.nii.gz", lambda path: _field(path, (5, 4, 4, 3), 0), r"voxels of the fixed scan, \(4, 4, 4\), found \(5"),
        ("u.nii.gz", lambda path: _field(path, (4, 4, 4, 3), 0, np.inf), "found 192 NaN or infinite"),
        ("u.npz", lambda path: path.write_bytes(b"PK\x03\x04 no archive"), "no readable Learn2Reg file"),
        ("u.npz", lambda path: np.savez(path, other=np.zeros(3)), r"one array arr_0 \(KeyError\)"),
        ("u.npz", lambda path: np.savez(path, np.zeros((2, 2, 2))), r"found \(2, 2, 2\)"),
        ("u.npz", lambda path: np.savez(path, np.zeros((3, 3, 2, 2))), r"voxels of the fixed scan"),
        ("u.tfm", lambda path: path.write_text("hello"), "no transform that cst knows"),
        ("u.tfm", lambda path: path.write_text("#Insight Transform File V1.0\nTransform: None"), "that ITK reads"),
        ("u.tfm", _bspline, "BSplineTransform is neither linear nor"),
        ("u.tfm", _two_dimensional, "3 dimensions, found 2"),
        ("u.tfm", _singular, "matrix must be invertible"),
        ("u.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)), "that ITK reads, or a damaged file"),
        ("u.nrrd", lambda path: path.write_bytes(b"NRRD0004\n"), "nothing that ITK reads"),
        ("u.json", lambda path: path.write_text("{}"), "no transform that cst knows"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, make: Callable[[Path], None], said: str):
    make(tmp_path / name)
    grid = Grid.of((4, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(DataError, match=said) as error:
        read_transform(tmp_path / name, grid, grid)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_grids_that_are_missing_are_asked_for(pair, tmp_path: Path):
    transform = Transform((pair.field,))
    for format, name in (("learn2reg", "l.nii.gz"), ("learn2reg-npz", "l.npz"), ("fsl", "f.nii.gz")):
        with pytest.raises(ConfigError, match="pass it with --moving"):
            write_transform(transform, tmp_path / name, format)
        write_transform(transform, tmp_path / name, format, None, pair.moving)
        with pytest.raises(ConfigError, match="--moving"):
            read_transform(tmp_path / name, pair.fixed)
    with pytest.raises(ConfigError, match=r"has 0 fields; pass the fixed scan"):
        write_transform(Transform((pair.affine,)), tmp_path / "u.nii.gz", "itk")


@pytest.mark.parametrize(
    ("format", "name", "said"),
    [
        ("itk", "u.h5", r"must end with \.nii or \.nii\.gz or"),
        ("itk-composite", "u.nii.gz", r"must end with \.h5"),
        ("learn2reg-npz", "u.nii.gz", r"must end with \.npz"),
        ("itk", "u.tfm", "holds one affine map, and the transform has a field"),
        ("spm", "u.nii", "no such format; known: itk, "),
    ],
)
def test_names_that_do_not_fit(pair, tmp_path: Path, format: str, name: str, said: str):
    with pytest.raises(ConfigError, match=said):
        write_transform(Transform((pair.field,)), tmp_path / name, format)
    assert list(tmp_path.iterdir()) == []


def test_disk_errors_leave_nothing(pair, tmp_path: Path):
    folder = tmp_path / "none"
    for name, format in (("u.h5", "itk-composite"), ("u.mha", "itk")):
        with pytest.raises(CstError, match="cannot be written"):
            write_transform(Transform((pair.field,)), folder / name, format)
