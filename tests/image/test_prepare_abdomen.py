"""Raw scans of a made-up torso, turned, moved and cropped, to one grid and back."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
import typer
from typer.testing import CliRunner

from cst_core.errors import ConfigError, CstError, DataError
from cst_core.field import Grid
from cst_core.formats.nifti import read_volume
from cst_core.resample import by_transform, resample
from cst_core.transform import Transform, WorldAffine
from cst_core.transforms_io import read_transform
from cst_image.config import ImageConfig
from cst_image.data import read_dataset
from cst_image.preparation.prepare_abdomen import Wanted, find_sources, prepare
from cst_image.prepare import abdomen

SHAPE, SPACING = (80, 60, 84), 5.0
RAW = {  # axes of the file, voxels, mm, lowest mm along the body, the patient's size
    "a": ("LPS", (96, 72, 50), (4.0, 4.0, 8.0), -200, 1.0),
    "b": ("PSR", (90, 64, 60), (4.5, 4.5, 6.0), -220, 0.94),
    "c": ("RAS", (76, 58, 80), (5.0, 5.0, 5.0), -180, 1.05),
}
WANTED = Wanted(SHAPE, SPACING, None, None)


@pytest.fixture(scope="module")
def raw(tmp_path_factory, torso) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for place in ("scans", "labels"):
        (folder / place).mkdir()
    for number, (id, (axes, shape, spacing, low, size)) in enumerate(RAW.items()):
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = (-0.5 * shape[0] * spacing[0], -0.5 * shape[1] * spacing[1], low)
        values = torso(Grid.from_affine(shape, affine), np.diag([1 / size] * 3 + [1.0])).numpy()
        affine[:3, 3] += (100 * number, -70, 300 * number)
        for place, array in (("scans", values.astype(np.int16)), ("labels", (values == 150).astype(np.uint8))):
            image = nibabel.Nifti1Image(array, affine)
            turn = nibabel.orientations.axcodes2ornt(axes)
            turn = nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(affine), turn)
            image.as_reoriented(turn).to_filename(folder / place / f"{id}.nii.gz")
    (folder / "scans" / "broken.nii.gz").write_bytes((folder / "scans" / "a.nii.gz").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def done(raw, tmp_path_factory):
    """Prepared once, group-wise, with one scan that is broken."""
    out, said = tmp_path_factory.mktemp("out") / "set", []
    with pytest.raises(CstError, match=r"1 of 4 scans failed \(broken\)"):
        prepare([raw / "scans"], out, Wanted(SHAPE, SPACING, None, raw / "labels"), False, said.append)
    return out, said


def test_scans_lie_on_one_grid_and_on_each_other(done):
    out, _ = done
    volumes = {id: nibabel.load(out / "imagesTr" / f"{id}_0000.nii.gz") for id in RAW}
    for volume in volumes.values():
        assert volume.shape == SHAPE
        assert volume.header.get_zooms() == (SPACING,) * 3
        assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
        assert volume.get_data_dtype() == np.int16
    spleens = {id: nibabel.load(out / "labelsTr" / f"{id}_0000.nii.gz").get_fdata() for id in RAW}
    for id in ("b", "c"):
        both = 2 * (spleens["a"] * spleens[id]).sum() / (spleens["a"].sum() + spleens[id].sum())
        assert both > 0.75
    values = volumes["a"].get_fdata()
    assert set(np.unique(spleens["a"])) == {0, 1}
    assert np.median(values[spleens["a"] == 1]) == pytest.approx(150, abs=2)  # HU stay HU


@pytest.mark.parametrize("id", RAW)
def test_results_go_back_to_the_raw_scan(done, raw, id):
    out, _ = done
    transform = read_transform(out / "transforms" / f"{id}.tfm")
    stored = json.loads((out / "transforms" / f"{id}.json").read_text())
    points = torch.from_numpy(np.random.default_rng(0).uniform(-100, 100, (20, 3)))
    native = WorldAffine(torch.tensor(stored["matrix_ras"], dtype=torch.float64)).map(points)
    assert float((transform.map(points) - native).abs().max()) < 0.01
    assert float((transform.inverse_map(native) - points).abs().max()) < 0.01
    itk = SimpleITK.ReadTransform(out / "transforms" / f"{id}.tfm")
    lps = np.array([-1, -1, 1])
    theirs = np.array([itk.TransformPoint(point) for point in points.numpy() * lps]) * lps
    np.testing.assert_allclose(theirs, native.numpy(), atol=0.01)
    # the image, on the canonical grid and back on the raw one
    scan, canonical = read_volume(raw / "scans" / f"{id}.nii.gz"), read_volume(out / "imagesTr" / f"{id}_0000.nii.gz")
    backwards = Transform(tuple(part.inverse() for part in reversed(transform.parts)))
    returned = resample(canonical, by_transform(backwards, scan.grid), scan.grid, outside=-1000.0).values
    organs = (scan.values > -20) & (returned > -200)
    assert np.abs(scan.values - returned)[organs].mean() < 20  # HU; 5 mm voxels blur edges of 100 HU
    assert np.corrcoef(scan.values.ravel(), returned.ravel())[0, 1] > 0.9


def test_training_reads_the_folder(done):
    out, _ = done
    data = read_dataset(out, None, ImageConfig(), "cpu")
    assert len(data.train) == 3
    assert data.train[0].pair.fixed.shape[-3:] == SHAPE


def test_a_second_run_keeps_what_is_done(done, raw):
    out, said = done
    assert any("broken" in line and "failed" in line for line in said)
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    (out / "imagesTr" / "b_0000.nii.gz").unlink()
    again: list[str] = []
    with pytest.raises(CstError, match="broken"):
        prepare([raw / "scans"], out, Wanted(SHAPE, SPACING, None, raw / "labels"), False, again.append)
    assert [line.rpartition(" ")[2] for line in again if line.split(" ")[1] in ("a:", "c:")] == ["kept", "kept"]
    now = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    assert now.keys() == files.keys()
    assert {path.name for path in now if now[path] != files[path]} == {"b_0000.nii.gz"}


def test_to_a_template(raw, tmp_path):
    template = raw / "scans" / "c.nii.gz"
    out = tmp_path / "set"
    wanted = Wanted(SHAPE, SPACING, template, None)
    assert prepare([raw / "scans" / "a.nii.gz", template], out, wanted, False, lambda _: None) == ["a", "c"]
    stored = json.loads((out / "transforms" / "c.json").read_text())
    np.testing.assert_allclose(stored["matrix_ras"], np.eye(4), atol=0.02)  # the template itself is not moved
    assert not (out / "template.nii.gz").exists()
    assert not (out / "labelsTr").exists()
    with pytest.raises(ConfigError, match="was made with"):
        prepare([template], out, WANTED, False, lambda _: None)


def test_what_cannot_be_prepared_is_said(raw, tmp_path):
    said: list[str] = []
    for paths, error in (
        ([tmp_path], "found none"),
        ([raw / "scans", raw / "scans" / "a.nii.gz"], "one file an id"),
    ):
        with pytest.raises(DataError, match=error):
            find_sources(paths, None)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="label maps named as the scans"):
        find_sources([raw / "scans"], tmp_path / "none")
    shifted = nibabel.load(raw / "scans" / "a.nii.gz")
    unsigned = tmp_path / "unsigned.nii.gz"
    nibabel.Nifti1Image((shifted.get_fdata() + 1024).astype(np.int16), shifted.affine).to_filename(unsigned)
    wanted = Wanted(SHAPE, SPACING, raw / "scans" / "c.nii.gz", None)
    with pytest.raises(CstError, match="unsigned"):
        prepare([unsigned], tmp_path / "set", wanted, False, said.append)
    assert any("rescale slope" in line for line in said)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing.txt").write_text("")
    with pytest.raises(ConfigError, match="holds other files"):
        prepare([unsigned], tmp_path / "other", wanted, False, said.append)


def test_the_command_line_reads_its_options(raw, tmp_path):
    app = typer.Typer()
    app.command()(abdomen)
    scan, out = str(raw / "scans" / "c.nii.gz"), str(tmp_path / "set")
    result = CliRunner().invoke(app, [scan, "--out", out, "--template", scan, "--grid", "40x30x42", "--spacing", "10"])
    assert result.exit_code == 0, result.output
    assert "1 of 1 scans on 40 x 30 x 42 voxels of 10 mm" in result.output
    wrong = CliRunner().invoke(app, [scan, "--out", out, "--grid", "40x30"])
    assert isinstance(wrong.exception, ConfigError)
