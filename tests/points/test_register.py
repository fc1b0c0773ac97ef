"""Registering files of clouds and of synthetic lung CTs whose motion is known."""

import json
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from scipy import ndimage

from cst_core.errors import DataError
from cst_core.formats.landmark_files import COLUMNS
from cst_core.models import load_model
from cst_core.plugin import RegisterRequest
from cst_points.formats import read_cloud, write_cloud, write_landmarks
from cst_points.phantom import lung_phantom
from cst_points.plugin import PLUGIN

TURN = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # array axes of the moving CT: PSR
STRETCH, SHIFT = np.array([1.02, 1.04, 1.08]), np.array([204.0, -106.0, 55.0])
LUNGS = np.array([[-42.0, 0.0, 0.0], [42.0, 0.0, 0.0]])
RADII = np.array([31.0, 42.0, 48.0])


@pytest.fixture(scope="module")
def model():
    small = ["first_towers=2", "candidates=128", "rounds=5", "neighbours_moving=20", "second_candidates=32"]
    return load_model("random", PLUGIN, "cpu", small)


def moved(points: np.ndarray) -> np.ndarray:
    """From the fixed scanner's frame to the moving one's: another position on the table, and deeper breath."""
    return points * STRETCH + SHIFT


@cache
def texture() -> np.ndarray:
    """Smooth noise on a lattice of 2 mm about zero: vessels enough."""
    noise = np.random.default_rng(0).standard_normal((96, 96, 96))
    smooth = np.asarray(ndimage.gaussian_filter(noise, 1.0))
    return smooth / smooth.std()


def intensity(points: np.ndarray) -> np.ndarray:
    """HU at ``(..., 3)`` mm of the fixed scan."""
    body = np.linalg.norm(points[..., :2] / (86, 60), axis=-1) < 1
    inside = np.stack([np.linalg.norm((points - c) / RADII, axis=-1) for c in LUNGS]).min(0) < 1
    lattice = np.moveaxis(points / 2.0 + 48.0, -1, 0)
    vessels = 500 * np.clip(ndimage.map_coordinates(texture(), lattice, order=1, mode="nearest") - 1, 0, 1)
    return np.where(inside, -850 + vessels, np.where(body, 40.0, -1000.0))


def scan(path: Path, axes: np.ndarray, spacing: tuple[float, ...], shape: tuple[int, ...], centre: np.ndarray) -> Path:
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    if centre.any():
        points = (points - SHIFT) / STRETCH
    nibabel.Nifti1Image(intensity(points).astype(np.int16), affine).to_filename(path)
    return path


def landmark_rows() -> np.ndarray:
    fixed = np.concatenate([np.random.default_rng(1).uniform(-0.5, 0.5, (30, 3)) * RADII + c for c in LUNGS])
    return np.concatenate([fixed, moved(fixed)], 1)


@pytest.fixture(scope="module")
def cts(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("cts")
    angle = np.deg2rad(7)
    oblique = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    fixed = scan(folder / "f.nii.gz", oblique @ np.diag([-1.0, 1, 1]), (2.1, 2.1, 1.9), (92, 66, 58), np.zeros(3))
    moving = scan(folder / "m.nii.gz", TURN, (2.1, 1.9, 2.1), (64, 64, 92), SHIFT)
    marks = folder / "lm.csv"
    np.savetxt(marks, landmark_rows(), delimiter=",", header=",".join(COLUMNS), comments="")
    out = folder / "out"
    out.mkdir()
    return fixed, moving, out, PLUGIN.register_files(model, RegisterRequest(fixed, moving, landmarks=marks), out)


def itk_transform(path: Path) -> SimpleITK.Transform:
    return SimpleITK.DisplacementFieldTransform(SimpleITK.Cast(SimpleITK.ReadImage(path), SimpleITK.sitkVectorFloat64))


def test_known_motion_between_turned_grids_is_found(cts):
    _, _, _, result = cts
    assert result["initial"]["tre_mm"] > 200
    assert result["final"]["tre_mm"] < 2.0
    assert result["confidence"]["verdict"] in ("good", "check")
    assert result["inverse_residual_mm"]["p999"] < 0.01
    assert result["folding_percent"] < 0.5


def test_simpleitk_applies_the_field_alike(cts):
    fixed, moving, out, result = cts
    there = itk_transform(out / "displacement.nii.gz")
    image, grid = (SimpleITK.ReadImage(path, SimpleITK.sitkFloat32) for path in (moving, fixed))
    warped = SimpleITK.Resample(image, grid, there, SimpleITK.sitkLinear, -1000.0)
    ours = nibabel.load(out / "warped.nii.gz")
    np.testing.assert_allclose(ours.affine, nibabel.load(fixed).affine, atol=1e-4)
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(warped).T, ours.get_fdata(), atol=1.0)
    rows = np.loadtxt(out / "landmarks_moved.csv", delimiter=",", skiprows=1)
    lps = np.array([-1, -1, 1])
    carried = np.array([there.TransformPoint(point) for point in rows[:, :3] * lps]) * lps
    np.testing.assert_allclose(carried, rows[:, 6:9], atol=0.01)
    errors = np.linalg.norm(rows[:, 6:9] - rows[:, 3:6], axis=1)
    assert result["final"]["tre_mm"] == pytest.approx(errors.mean(), abs=1e-3)


def test_the_way_back_leads_back(cts):
    _, _, out, _ = cts
    there, back = (itk_transform(out / f"{name}.nii.gz") for name in ("displacement", "displacement_inverse"))
    for point in landmark_rows()[:, :3] * [-1, -1, 1]:
        returned = back.TransformPoint(there.TransformPoint(point))
        assert np.linalg.norm(np.subtract(returned, point)) < 0.15  # both are linear between places 3 mm apart


def test_affine_alone_brings_lungs_together(cts):
    fixed, _, out, result = cts
    centre = SimpleITK.ReadTransform(out / "affine.tfm").TransformPoint((0.0, 0.0, 0.0))
    np.testing.assert_allclose(centre * np.array([-1, -1, 1]), SHIFT, atol=6)
    assert result["affine"]["used"]
    assert result["grid"]["shape"] == list(nibabel.load(fixed).shape)


def test_files_of_cts_are_named_and_there(cts):
    _, _, out, result = cts
    assert {path.name for path in out.iterdir()} == set(result["files"].values())
    assert json.dumps(result)
    jacobian, confidence = (nibabel.load(out / f"{n}.nii.gz").get_fdata() for n in ("jacobian", "confidence"))
    assert 1.05 < np.median(jacobian[20:-20, 20:-20, 18:-18]) < 1.25  # 1.02 x 1.04 x 1.08 = 1.15
    assert confidence.min() >= 0


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    folder, case = tmp_path_factory.mktemp("clouds"), lung_phantom(1)[0]
    shift = torch.tensor([300.0, -40.0, 20.0])
    write_cloud(folder / "f.csv", case.pair.fixed[:600])
    write_cloud(folder / "m.ply", case.pair.moving + shift)
    write_landmarks(folder / "lm.csv", case.landmarks._replace(moving=case.landmarks.moving + shift))
    return folder


def test_clouds_keep_their_own_frame(clouds, tmp_path, model):
    request = RegisterRequest(clouds / "f.csv", clouds / "m.ply", landmarks=clouds / "lm.csv")
    result = PLUGIN.register_files(model, request, tmp_path)
    assert result["final"]["tre_mm"] < 8 < 250 < result["initial"]["tre_mm"]
    rows = np.loadtxt(tmp_path / "displacement.csv", delimiter=",", skiprows=1)
    fixed, displaced = read_cloud(clouds / "f.csv").numpy(), read_cloud(tmp_path / "displaced.csv").numpy()
    np.testing.assert_allclose(rows[:, :3], fixed, atol=1e-3)
    moving = (read_cloud(name).numpy() for name in (clouds / "m.ply", tmp_path / "moving_points.csv"))
    np.testing.assert_allclose(*moving, atol=1e-3)
    np.testing.assert_allclose(rows[:, :3] + rows[:, 3:6], displaced, atol=1e-3)
    assert np.linalg.norm(rows[:, 3:6], axis=1).mean() == pytest.approx(result["displacement_mm"]["mean"], rel=1e-3)
    assert rows[:, 6].mean() == pytest.approx(result["confidence"]["mean_mm"], rel=1e-3)
    assert (result["grid"], result["affine"], result["inverse_residual_mm"]) == (None, None, None)
    assert any("bounding box" in note and "centre on centre" in note for note in result["notes"])
    assert {path.name for path in tmp_path.iterdir()} == set(result["files"].values())


def test_a_crop_file_beside_the_clouds_is_obeyed(clouds, tmp_path, model):
    for name in ("fixed", "moving"):
        write_cloud(tmp_path / f"case_1_{name}.csv", read_cloud(clouds / ("f.csv" if name == "fixed" else "m.ply")))
    crop = {"origin": [150, 0, 0], "half_extent": [400, 200, 200], "axes": ["right", "anterior", "superior"]}
    (tmp_path / "case_1_crop.json").write_text(json.dumps(crop))
    out = tmp_path / "out"
    out.mkdir()
    request = RegisterRequest(tmp_path / "case_1_fixed.csv", tmp_path / "case_1_moving.csv")
    notes = PLUGIN.register_files(model, request, out)["notes"]
    assert any("case_1_crop.json" in note for note in notes)


def test_what_does_not_go_together_is_refused(clouds, cts, tmp_path, model):
    fixed, moving, _, _ = cts
    for request, wanted in (
        (RegisterRequest(clouds / "f.csv", moving), "same kind"),
        (RegisterRequest(clouds / "f.csv", clouds / "m.ply", fixed_mask=fixed), "masks are for CTs"),
        (RegisterRequest(fixed, moving, fixed_labels=fixed), "label maps"),
        (RegisterRequest(clouds / "f.csv", clouds / "m.ply", landmarks=clouds / "f.csv"), "f.csv"),
    ):
        with pytest.raises(DataError, match=wanted):
            PLUGIN.register_files(model, request, tmp_path)
    flat = read_cloud(clouds / "f.csv")
    flat[:, 2] = 0
    write_cloud(tmp_path / "flat.csv", flat)
    with pytest.raises(DataError, match="plane"):
        PLUGIN.register_files(model, RegisterRequest(tmp_path / "flat.csv", clouds / "m.ply"), tmp_path)
    write_cloud(tmp_path / "few.csv", 50 * torch.rand(4, 3))
    with pytest.raises(DataError, match="at least 5"):
        PLUGIN.register_files(model, RegisterRequest(tmp_path / "few.csv", tmp_path / "few.csv"), tmp_path)
