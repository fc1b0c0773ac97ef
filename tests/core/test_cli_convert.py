"""``cst convert`` as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from cst_core.cli_transforms import FormatChoice
from cst_core.formats.nifti import placed
from cst_core.transform import Transform
from cst_core.transforms_io import EXTENSIONS, read_transform, write_itk_composite, write_itk_field

Cst = Callable[..., Any]


@pytest.fixture
def pair(pair_of):
    """One orientation, as others are tested where files are read and written."""
    return pair_of("oblique")


@pytest.fixture
def folder(pair, tmp_path: Path) -> Path:
    nibabel.save(placed(np.zeros(pair.fixed.shape, np.uint8), pair.fixed), tmp_path / "fixed.nii.gz")
    nibabel.save(placed(pair.image, pair.moving), tmp_path / "moving.nii.gz")
    write_itk_composite(tmp_path / "t.h5", Transform((pair.field, pair.affine)))
    return tmp_path


def test_to_every_format_and_on_to_the_next(pair, folder: Path, cst: Cst):
    """A chain through all formats that keep everything ends where it began, in millimetres at inner points."""
    grids = ["--like", folder / "fixed.nii.gz", "--moving", folder / "moving.nii.gz"]
    source = folder / "t.h5"
    for format in FormatChoice:
        if format == FormatChoice.LEARN2REG_NPZ:
            continue
        out = folder / f"{format.value}{(*EXTENSIONS[format.value], '_')[0]}"
        said = cst("convert", source, "--to", format.value, "--out", out, *grids)
        assert (said.code, said.err) == (0, "")
        source = out
    points = pair.inner_points(30)
    on_grid = Transform((Transform((pair.field, pair.affine)).on(pair.fixed),))
    back = read_transform(source)
    torch.testing.assert_close(back.map(points), on_grid.map(points), atol=1e-3, rtol=0)


def test_half_resolution_file(pair, folder: Path, cst: Cst):
    grids = ["--like", folder / "fixed.nii.gz", "--moving", folder / "moving.nii.gz"]
    said = cst("convert", folder / "t.h5", "--to", "learn2reg-npz", "--out", folder / "d.npz", *grids)
    assert said.out == f"{folder / 'd.npz'}: written\n"
    assert np.load(folder / "d.npz")["arr_0"].shape == (3, *(n // 2 for n in pair.fixed.shape))


def test_folder_of_a_registration(pair, folder: Path, cst: Cst):
    write_itk_field(folder / "displacement.nii.gz", pair.field)
    assert cst("convert", folder, "--to", "niftyreg", "--out", folder / "n.nii").code == 0
    (back,) = read_transform(folder / "n.nii").parts
    torch.testing.assert_close(back.vectors, pair.field.vectors, atol=1e-4, rtol=0)


def test_inputs_are_never_replaced(pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cst: Cst):
    monkeypatch.chdir(tmp_path)
    write_itk_field(tmp_path / "displacement.nii.gz", pair.field)
    itk, ants = ("--to", "itk", "--overwrite", "--out"), ("--to", "ants", "--overwrite", "--out")
    assert cst("convert", ".", *ants, "p").code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (
        (".", *itk, "displacement.nii.gz"),
        ("displacement.nii.gz", *itk, "./displacement.nii.gz"),
        ("p", *ants, "p"),
        ("p", *itk, "p1Warp.nii.gz"),
    ):
        said = cst("convert", *arguments)
        assert said.code == 2
        assert "is one of the inputs" in said.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["u.nii", "--to", "itk", "--out", "u.h5"], "for --to itk the name must end with .nii or"),
        (["u.nii", "--to", "learn2reg", "--out", "o.nii"], "pass it with --moving"),
        (["u.nii", "--to", "fsl", "--out", "o.nii"], "pass it with --moving"),
        (["u.nii", "--to", "itk", "--out", "o.tfm"], "holds one affine map, and the transform has a field"),
        (["u.nii", "--to", "itk", "--out", "there.nii"], "exists already"),
        (["u.nii", "--to", "spm", "--out", "o.nii"], "'spm' is not one of"),
        (["none.nii", "--to", "itk", "--out", "o.nii"], "none.nii: no such file"),
    ],
)
def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cst: Cst, arguments: list[str], said: str):
    monkeypatch.chdir(tmp_path)
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), np.eye(4))
    image.header.set_intent("vector")
    nibabel.save(image, "u.nii")
    (tmp_path / "there.nii").touch()
    result = cst("convert", *arguments)
    assert result.code in (1, 2)
    assert said in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.nii", "u.nii"]
