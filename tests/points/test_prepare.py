import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
import typer
from scipy.spatial import cKDTree
from typer.testing import CliRunner

from cst_core.errors import DataError
from cst_points.case_folder import read_folder, write_case
from cst_points.lung_clouds import RELEASE_HALF_EXTENT, Frame, LandmarkArrays, LungOptions, PreparedLung, prepare_lung
from cst_points.lung_mask import lung_mask
from cst_points.prepare import crop_entries, lung, prepared_case
from cst_points.scan import Scan, read_scan

SHARED = Path(os.environ.get("CST_SHARED", Path(__file__).parents[2] / ".." / "shared"))
MASKS = SHARED / "data" / "LungMasks"

STRETCH = np.array([1.03, 1.08, 1.15])
SHIFT = np.array([6.0, -9.0, 14.0])
EXTENT = np.array([280.0, 200.0, 240.0])
LUNGS = np.array([[-62.0, 0.0, 0.0], [62.0, 0.0, 0.0]])
RADII = np.array([42.0, 60.0, 80.0])
OPTIONS = LungOptions((3.0, 3.0, 3.0), (3.0, 2.5, 3.0), threshold=1e-3, frame=Frame.RAS)
SPACING = (3.0, 2.5, 3.5)


def moved(points: np.ndarray) -> np.ndarray:
    """From exhale to inhale, mm: a stretch about zero, then a shift."""
    return points * STRETCH + SHIFT


@cache
def tubes() -> tuple[np.ndarray, np.ndarray]:
    """Both ends of straight vessels in the two lungs, mm, drawn once."""
    rng = np.random.default_rng(0)
    ends = rng.uniform(-0.6, 0.6, size=(2, 2, 28, 3)) * RADII + LUNGS[:, None, None]
    return ends[:, 0].reshape(-1, 3), ends[:, 1].reshape(-1, 3)


def intensity(points: np.ndarray) -> np.ndarray:
    """HU of the exhale at ``(..., 3)`` mm: air, a body, two lungs with vessels, a pocket of gas in the body."""
    body = np.linalg.norm(points[..., :2] / (125, 85), axis=-1) < 1
    inside = np.stack([np.linalg.norm((points - c) / RADII, axis=-1) for c in LUNGS]).min(0) < 1
    gas = np.linalg.norm(points - (0, -20, -90), axis=-1) < 9
    values = np.where(body, np.where(inside, -850.0, np.where(gas, -900.0, 40.0)), -1000.0)
    where = points[inside]
    vessel = np.zeros(len(where))
    for a, b in zip(*tubes(), strict=True):
        t = np.clip(((where - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        apart = ((where - a - t[:, None] * (b - a)) ** 2).sum(-1)
        np.maximum(vessel, np.exp(-apart / (2 * 2.0**2)), out=vessel)
    values[inside] += 850 * vessel
    return values


@cache
def scans() -> tuple[Scan, Scan]:
    """Exhale and inhale on one grid, in scanners' frames that differ from the array's by a translation."""
    axes = [np.arange(-e / 2, e / 2, s) for e, s in zip(EXTENT, SPACING, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -EXTENT / 2
    return (
        Scan(intensity(grid).astype(np.float32), affine),
        Scan(intensity((grid - SHIFT) / STRETCH).astype(np.float32), affine),
    )


def landmarks(n: int = 40) -> LandmarkArrays:
    fixed = np.concatenate([np.random.default_rng(1).uniform(-0.5, 0.5, (n // 2, 3)) * RADII + c for c in LUNGS])
    return LandmarkArrays(fixed, moved(fixed))


@cache
def prepared() -> PreparedLung:
    return prepare_lung(*scans(), landmarks=landmarks(), options=OPTIONS)


def put(folder: Path, name: str, values: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), folder / name)
    return folder / name


def test_lungs_are_found_without_the_air_around_and_the_gas_between():
    fixed, _ = scans()
    mask = lung_mask(fixed.values, SPACING)
    points = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), -1) * SPACING - EXTENT / 2
    radius = np.stack([np.linalg.norm((points - c) / RADII, axis=-1) for c in LUNGS]).min(0)
    assert mask[radius < 0.95].all()
    assert not mask[radius > 1.1].any()
    assert not lung_mask(np.full((8, 8, 8), -1000.0), SPACING).any()
    assert not lung_mask(np.full((8, 8, 8), 40.0), SPACING).any()


def test_both_clouds_are_centred_and_the_bulk_shift_is_recorded():
    one = prepared()
    for cloud in (one.fixed, one.moving):
        assert cloud.dtype == np.float32
        assert np.abs(cloud).max() < 110
        assert np.abs(cloud.mean(0)).max() < 12
    np.testing.assert_allclose(one.fixed_centre, 0, atol=3)
    np.testing.assert_allclose(one.moving_centre - one.fixed_centre, SHIFT, atol=3)
    np.testing.assert_allclose(one.half_extent, (288, 288, 312))


def test_keypoints_show_the_same_anatomy_under_the_known_motion():
    one = prepared()
    strong = one.fixed[:100]
    assert len(strong) == 100
    distance, _ = cKDTree(one.moving).query(moved(strong + one.fixed_centre) - one.moving_centre)
    assert np.median(distance) < 3.0  # a voxel
    unmoved, _ = cKDTree(one.moving).query(strong)
    assert np.median(distance) < 0.6 * np.median(unmoved)


def test_landmarks_shift_with_their_crops():
    one, given = prepared(), landmarks()
    assert one.landmarks is not None
    np.testing.assert_allclose(one.landmarks.fixed + one.fixed_centre, given.fixed, atol=1e-4)
    np.testing.assert_allclose(one.landmarks.moving + one.moving_centre, given.moving, atol=1e-4)


def test_release_frame_runs_superior_posterior_left():
    one = prepared()
    other = prepare_lung(*scans(), landmarks=landmarks(), options=replace(OPTIONS, frame=Frame.RELEASE))
    np.testing.assert_array_equal(other.fixed, one.fixed[:, [2, 1, 0]] * np.float32([1, -1, -1]))
    assert other.landmarks is not None
    assert one.landmarks is not None
    np.testing.assert_array_equal(other.landmarks.moving[:, 0], one.landmarks.moving[:, 2])
    assert other.half_extent == RELEASE_HALF_EXTENT


def test_case_is_written_and_read_back(tmp_path):
    write_case(tmp_path / "new", prepared_case("a_1", prepared()), crop_entries(prepared(), Frame.RAS))
    [case] = read_folder(tmp_path / "new")
    assert case.id == "a_1"
    assert case.pair.half_extent.tolist() == [288, 288, 312]
    assert case.pair.origin.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(case.pair.fixed.numpy(), prepared().fixed)
    crop = json.loads((tmp_path / "new" / "case_a_1_crop.json").read_text())
    np.testing.assert_allclose(np.subtract(crop["moving_origin"], crop["fixed_origin"]), SHIFT, atol=3)
    assert (crop["frame"], crop["axes"]) == ("ras", ["right", "anterior", "superior"])
    assert len(list((tmp_path / "new").iterdir())) == 4


def run(*words: str | Path):
    app = typer.Typer()
    app.command()(lung)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_command_reorients_and_reads_masks_and_landmarks(tmp_path):
    """The files' axes run towards left, superior, posterior; the clouds are the same as from RAS arrays."""
    files = []
    for name, scan in zip(("fixed", "moving"), scans(), strict=True):
        wanted = nibabel.orientations.axcodes2ornt(("L", "S", "P"))
        ras = nibabel.orientations.axcodes2ornt(("R", "A", "S"))
        turn = nibabel.orientations.ornt_transform(ras, wanted)
        volume = nibabel.Nifti1Image(scan.values, scan.affine).as_reoriented(turn)
        mask = nibabel.Nifti1Image(lung_mask(scan.values, SPACING).astype(np.uint8), scan.affine).as_reoriented(turn)
        nibabel.save(volume, tmp_path / f"{name}.nii.gz")
        nibabel.save(mask, tmp_path / f"{name}_mask.nii.gz")
        np.savetxt(tmp_path / f"{name}.csv", getattr(landmarks(), name), delimiter=",", header="x,y,z", comments="")
        files.append(tmp_path / f"{name}.nii.gz")
    options = [f"--{part}-{what}" for what in ("mask", "landmarks") for part in ("fixed", "moving")]
    given = ["fixed_mask.nii.gz", "moving_mask.nii.gz", "fixed.csv", "moving.csv"]
    words = [word for option, name in zip(options, given, strict=True) for word in (option, tmp_path / name)]
    words += ["--fixed-spacing", "3", "3", "3", "--moving-spacing", "3", "2.5", "3", "--threshold", "0.001"]
    result = run(*files, "--id", "1", "--out", tmp_path / "out", *words)
    assert result.exit_code == 0, result.output
    [case] = read_folder(tmp_path / "out")
    assert f"{len(case.pair.fixed)} fixed" in result.output
    assert "40 landmarks" in result.output
    crop = json.loads((tmp_path / "out" / "case_1_crop.json").read_text())
    assert (crop["frame"], crop["axes"]) == ("release", ["superior", "posterior", "left"])
    assert tuple(crop["half_extent"]) == RELEASE_HALF_EXTENT
    turn = np.float32([1, -1, -1])
    distance, _ = cKDTree(case.pair.fixed.numpy()).query(prepared().fixed[:, ::-1] * turn)
    assert np.median(distance) < 0.5
    assert case.landmarks is not None
    given = (landmarks().fixed - landmarks().fixed.mean(0))[:, ::-1] * turn
    np.testing.assert_allclose(case.landmarks.fixed - case.landmarks.fixed.mean(0), given, atol=1e-3)
    result = run(*files, "--id", "2", "--out", tmp_path / "out", *words, "--frame", "ras")
    assert result.exit_code == 0, result.output
    ras = read_folder(tmp_path / "out")[1].pair
    np.testing.assert_array_equal(ras.fixed.numpy()[:, ::-1] * turn, case.pair.fixed.numpy())
    assert ras.half_extent.tolist() == [288, 288, 312]


def test_masks_are_written_where_the_lungs_are(tmp_path):
    fixed, moving = scans()
    paths = [put(tmp_path, f"{n}.nii.gz", one.values, one.affine) for n, one in (("f", fixed), ("m", moving))]
    coarse = ["--fixed-spacing", "4", "4", "4", "--moving-spacing", "4", "4", "4", "--threshold", "0.001"]
    result = run(*paths, "--id", "1", "--out", tmp_path / "out", "--masks", *coarse)
    assert result.exit_code == 0, result.output
    for part, shift, stretch in (("fixed", 0, 1), ("moving", SHIFT, STRETCH)):
        image = nibabel.load(tmp_path / "out" / f"case_1_{part}_mask.nii.gz")
        index = np.argwhere(np.asarray(image.dataobj) > 0)
        points = (index @ image.affine[:3, :3].T + image.affine[:3, 3] - shift) / stretch
        apart = np.stack([np.linalg.norm((points - c) / RADII, axis=-1) for c in LUNGS]).min(0)
        assert (apart < 1.1).mean() > 0.98
        assert len(points) * 64 == pytest.approx(2 * 4 / 3 * np.pi * RADII.prod() * np.prod(stretch), rel=0.15)
    assert len(read_folder(tmp_path / "out")) == 1


def test_bad_landmarks_and_options_are_named(tmp_path):
    fixed, _ = scans()
    good = put(tmp_path, "good.nii.gz", fixed.values, fixed.affine)
    (tmp_path / "marks.csv").write_text("900,0,0\n")
    (tmp_path / "two.csv").write_text("0,0,0\n1,1,1\n")
    for words, message in (
        (["--fixed-landmarks", tmp_path / "marks.csv"], "marks.csv: landmarks of both"),
        (["--fixed-landmarks", tmp_path / "marks.csv", "--moving-landmarks", tmp_path / "two.csv"], "row by row"),
        (["--fixed-spacing", "0", "1", "1"], "--fixed-spacing"),
    ):
        result = run(good, good, "--id", "1", "--out", tmp_path / "out", *words)
        assert isinstance(result.exception, DataError)
        assert message in str(result.exception)
    coarse = ["--fixed-spacing", "4", "4", "4", "--moving-spacing", "4", "4", "4"]
    marks = ["--fixed-landmarks", tmp_path / "marks.csv", "--moving-landmarks", tmp_path / "marks.csv"]
    result = run(good, good, "--id", "1", "--out", tmp_path / "out", *coarse, *marks)
    assert "marks.csv: fixed landmarks" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_volumes_without_lungs_or_structure():
    fixed, moving = scans()
    with pytest.raises(DataError, match=r"moving volume.*litres.*Hounsfield"):
        prepare_lung(fixed, Scan(moving.values + 1024, moving.affine), options=OPTIONS)
    mask = lung_mask(fixed.values, SPACING)
    with pytest.raises(DataError, match=r"fixed volume.*litres.*check the mask"):
        prepare_lung(Scan(fixed.values, np.diag([0.3, 0.3, 0.3, 1])), moving, fixed_mask=mask, options=OPTIONS)
    with pytest.raises(DataError, match=r"fixed volume.*keypoints.*found 0"):
        prepare_lung(Scan(np.full_like(fixed.values, -800), fixed.affine), moving, fixed_mask=mask, options=OPTIONS)


@pytest.mark.real
@pytest.mark.skipif(not MASKS.is_dir(), reason="no lung masks under CST_SHARED")
def test_real_masks_carry_keypoints(tmp_path):
    """Noise in real lungs: what is written is inside the lungs, centred, and reads back."""
    noise = np.random.default_rng(0)
    scans, masks = [], []
    for phase in ("exp", "insp"):
        image = read_scan(MASKS / f"case_01_{phase}_mask.nii.gz")
        coarse = image.values[::2, ::2, ::2]
        scans.append(
            Scan(noise.normal(-800, 100, coarse.shape).astype(np.float32), image.affine @ np.diag([2, 2, 2, 1]))
        )
        masks.append(coarse > 0.5)
    options = LungOptions((3.5, 2.5, 3.5), (3.5, 2.5, 3.5), frame=Frame.RAS)
    one = prepare_lung(*scans, *masks, options=options)
    write_case(tmp_path, prepared_case("01", one))
    [case] = read_folder(tmp_path)
    assert len(case.pair.fixed) > 500
    assert len(case.pair.moving) > len(case.pair.fixed)
    index = np.round(scans[0].along_axes(one.fixed + one.fixed_centre) / scans[0].spacing).astype(int)
    assert masks[0][tuple(index.T)].all()
