"""A small pair with a known deformation, on plain, turned, oblique and anisotropic grids, from files to files."""

import json

import blobs
import nibabel
import numpy as np
import pytest
import SimpleITK

PLAIN = ((36, 32, 28), blobs.centred_affine((36, 32, 28), (4.0, 4.0, 4.0)))


def rotation(degrees: float, axis: int) -> np.ndarray:
    a, (i, j) = np.deg2rad(degrees), [(1, 2), (0, 2), (0, 1)][axis]
    made = np.eye(3)
    made[i, i] = made[j, j] = np.cos(a)
    made[i, j], made[j, i] = -np.sin(a), np.sin(a)
    return made


@pytest.fixture(scope="module")
def probes() -> np.ndarray:
    """Places within the body."""
    random = np.random.default_rng(0)
    return blobs.CENTRE + random.uniform(-0.45, 0.45, (200, 3)) * blobs.HALF


@pytest.fixture(scope="module")
def run():
    """``cst register`` in this process, with random features at 4 mm."""
    from cst_core.cli import main

    def register(fixed, moving, out, *more, code=0):
        with pytest.raises(SystemExit) as exit_:
            main([*map(str, ("register", "--backend", "image", "--model", "random", fixed, moving, "--out", out)),
                  *map(str, more)])  # fmt: skip
        assert exit_.value.code == code
        return out

    return register


def itk(path):
    """A displacement field as SimpleITK reads it: a map of RAS points."""
    image = SimpleITK.ReadImage(str(path), SimpleITK.sitkVectorFloat64)
    transform = SimpleITK.DisplacementFieldTransform(image)
    flip = np.array([-1.0, -1.0, 1.0])
    return lambda points: np.array([transform.TransformPoint((flip * p).tolist()) for p in points]) * flip


@pytest.fixture(scope="module")
def plain(tmp_path_factory, run):
    """The folder of the plain pair's results."""
    folder = tmp_path_factory.mktemp("plain")
    fixed, moving = blobs.write_pair(folder, PLAIN, PLAIN)
    labels = blobs.write_labels(folder, PLAIN, PLAIN)
    at = blobs.CENTRE + np.random.default_rng(1).uniform(-0.5, 0.5, (20, 3)) * blobs.HALF
    rows = np.concatenate([at, at + blobs.deformation(at)], 1)
    header = "fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z"
    np.savetxt(folder / "landmarks.csv", rows, delimiter=",", header=header, comments="")
    run(fixed, moving, folder / "out", "--fixed-labels", labels[0], "--moving-labels", labels[1],
        "--landmarks", folder / "landmarks.csv")  # fmt: skip
    return folder


def test_the_known_deformation_is_found(plain, probes):
    found = itk(plain / "out" / "displacement.nii.gz")(probes)
    error = np.linalg.norm(found - probes - blobs.deformation(probes), axis=1)
    assert error.mean() < 0.35 * np.linalg.norm(blobs.deformation(probes), axis=1).mean()


def test_a_second_round_of_instance_optimisation_comes_nearer(plain, run, probes, tmp_path):
    once = run(*(plain / f"{name}.nii.gz" for name in ("fixed", "moving")), tmp_path / "out", "--set", "adam_rounds=1")
    truth = blobs.deformation(probes)
    errors = [
        np.linalg.norm(itk(folder / "displacement.nii.gz")(probes) - probes - truth, axis=1).mean()
        for folder in (plain / "out", once)
    ]
    assert errors[0] < 0.95 * errors[1]


def test_measures_agree_with_the_truth(plain):
    result = json.loads((plain / "out" / "register.json").read_text())
    landmarks, final, initial = result["landmarks"], result["final"], result["initial"]
    truth = np.loadtxt(plain / "landmarks.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(
        landmarks["errors_mm_initial"], np.linalg.norm(truth[:, :3] - truth[:, 3:], axis=1), atol=1e-5
    )
    errors = np.linalg.norm(itk(plain / "out" / "displacement.nii.gz")(truth[:, :3]) - truth[:, 3:], axis=1)
    np.testing.assert_allclose(landmarks["errors_mm"], errors, atol=1e-3)
    assert final["tre_mm"] == pytest.approx(errors.mean(), abs=1e-3)
    assert final["tre_mm"] < 0.4 * initial["tre_mm"]
    fixed, moving, warped = (
        np.asarray(nibabel.load(plain / name).dataobj)
        for name in ("fixed_labels.nii.gz", "moving_labels.nii.gz", "out/warped_labels.nii.gz")
    )
    for found, other in ((initial, moving), (final, warped)):
        sizes = [(((fixed == k) & (other == k)).sum(), (fixed == k).sum() + (other == k).sum()) for k in (1, 2, 3)]
        expected = [2 * both / total for both, total in sizes]
        assert found["dice"] == pytest.approx(np.mean(expected))
        assert found["dice_per_label"] == pytest.approx(dict(zip("123", expected, strict=True)))
    assert final["dice"] > initial["dice"] + 0.1
    assert final["ncc"] > initial["ncc"]
    assert result["grid"]["shape"] == [36, 32, 28]
    assert result["confidence"]["verdict"] in ("good", "check", "poor")


def test_itk_makes_the_same_warped_image(plain):
    moving = SimpleITK.ReadImage(str(plain / "moving.nii.gz"))
    fixed = SimpleITK.ReadImage(str(plain / "fixed.nii.gz"))
    field = SimpleITK.ReadImage(str(plain / "out" / "displacement.nii.gz"), SimpleITK.sitkVectorFloat64)
    low = float(SimpleITK.GetArrayFromImage(moving).min())
    transform = SimpleITK.DisplacementFieldTransform(field)
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.Resample(moving, fixed, transform, SimpleITK.sitkLinear, low))
    ours = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(plain / "out" / "warped.nii.gz")))
    inner = (slice(4, -4),) * 3
    assert np.abs(theirs - ours)[inner].max() < 0.01 * (theirs.max() - theirs.min())


def test_the_inverse_undoes_the_field_to_the_residual_it_tells(plain, probes):
    result = json.loads((plain / "out" / "register.json").read_text())
    there, back = (itk(plain / "out" / name) for name in ("displacement.nii.gz", "displacement_inverse.nii.gz"))
    missed = np.linalg.norm(there(back(probes)) - probes, axis=1)
    assert np.linalg.norm(there(probes) - probes, axis=1).mean() > 2.0
    assert missed.max() < 0.5  # between voxels both fields are linear
    assert result["inverse_residual_mm"]["mean"] < 0.01
    assert result["inverse_residual_mm"]["mean"] <= result["inverse_residual_mm"]["p999"]
    assert result["inverse_residual_mm"]["p999"] <= result["inverse_residual_mm"]["max"]


def test_the_affine_file_and_the_determinants(plain):
    import torch

    from cst_core.metrics import determinant_figures, jacobian_determinant

    result = json.loads((plain / "out" / "register.json").read_text())
    affine = SimpleITK.ReadTransform(str(plain / "out" / "affine.tfm"))
    matrix = np.eye(4) if result["affine"]["matrix_ras"] is None else np.array(result["affine"]["matrix_ras"])
    flip = np.array([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(
        np.array(affine.TransformPoint((flip * blobs.CENTRE).tolist())) * flip,
        matrix[:3, :3] @ blobs.CENTRE + matrix[:3, 3],
        atol=1e-6,
    )
    field = np.asarray(nibabel.load(plain / "out" / "displacement.nii.gz").dataobj)[..., 0, :] * flip
    determinant = jacobian_determinant(torch.from_numpy(np.moveaxis(field, -1, 0)), (4.0, 4.0, 4.0))
    np.testing.assert_allclose(nibabel.load(plain / "out" / "jacobian.nii.gz").dataobj, determinant, atol=1e-4)
    expected = determinant_figures(determinant)
    assert result["sdlogj"] == pytest.approx(expected.sdlogj, abs=1e-4)
    assert result["folding_percent"] == pytest.approx(expected.folding_percent, abs=1e-6)


@pytest.mark.parametrize("axes", [("LAS", "RAS"), ("RAS", "PSR"), ("PSR", "LAS")])
def test_turned_axes_change_nothing(plain, run, probes, tmp_path, axes):
    fixed, moving = blobs.write_pair(tmp_path, PLAIN, PLAIN, axes)
    out = run(fixed, moving, tmp_path / "out")
    other = nibabel.load(out / "displacement.nii.gz")
    assert "".join(nibabel.aff2axcodes(other.affine)) == axes[0]
    np.testing.assert_allclose(other.affine, nibabel.load(fixed).affine, atol=1e-5)
    assert other.header.get_intent()[0] == "vector"
    difference = itk(out / "displacement.nii.gz")(probes) - itk(plain / "out" / "displacement.nii.gz")(probes)
    assert np.abs(difference).max() < 0.2  # the optimiser adds up in another order
    back = itk(out / "displacement_inverse.nii.gz")(probes)
    np.testing.assert_allclose(back, itk(plain / "out" / "displacement_inverse.nii.gz")(probes), atol=0.2)
    assert nibabel.load(out / "displacement_inverse.nii.gz").shape[:3] == nibabel.load(moving).shape


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        (PLAIN, ((40, 36, 18), blobs.centred_affine((40, 36, 18), (3.7, 3.9, 7.0), rotation(14, 0) @ rotation(9, 2)))),
        (((52, 46, 16), blobs.centred_affine((52, 46, 16), (3.0, 3.0, 7.0), rotation(-11, 1))), PLAIN),
    ],
    ids=["moving", "fixed"],
)
def test_oblique_and_anisotropic_grids_give_the_same_map(plain, run, probes, tmp_path, fixed, moving):
    out = run(*blobs.write_pair(tmp_path, fixed, moving, ("LAS", "PSR")), tmp_path / "out")
    found = itk(out / "displacement.nii.gz")(probes) - probes
    same = itk(plain / "out" / "displacement.nii.gz")(probes) - probes
    amount = np.linalg.norm(same, axis=1).mean()
    assert np.linalg.norm(found - same, axis=1).mean() < 0.4 * amount  # slices of 7 mm show less
    assert np.linalg.norm(found - blobs.deformation(probes), axis=1).mean() < 0.45 * amount


def test_a_shifted_and_turned_world_is_found_by_the_affine(run, probes, tmp_path):
    turn = np.eye(4)
    turn[:3, :3] = rotation(8, 2)
    turn[:3, 3] = [150.0, -40.0, 20.0]  # the scans do not overlap
    fixed, moving = blobs.write_pair(tmp_path, PLAIN, PLAIN)
    image = nibabel.load(moving)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine), moving)
    out = run(fixed, moving, tmp_path / "out")
    expected = (probes + blobs.deformation(probes)) @ turn[:3, :3].T + turn[:3, 3]
    assert np.linalg.norm(itk(out / "displacement.nii.gz")(probes) - expected, axis=1).mean() < 2.5
    result = json.loads((out / "register.json").read_text())
    assert result["affine"]["used"]
    assert result["affine"]["similarity_before"] is None
    assert any("do not overlap" in note for note in result["notes"])


def test_without_affine_scans_must_overlap(run, tmp_path, capsys):
    fixed, moving = blobs.write_pair(tmp_path, PLAIN, PLAIN)
    out = run(fixed, moving, tmp_path / "out", "--no-affine")
    result = json.loads((out / "register.json").read_text())
    assert result["affine"]["used"] is False
    assert result["affine"]["matrix_ras"] is None
    image = nibabel.load(moving)
    shift = np.eye(4)
    shift[0, 3] = 200.0
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), shift @ image.affine), moving)
    run(fixed, moving, tmp_path / "none", "--no-affine", code=1)
    assert "leave --no-affine out" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_labels_are_warped_as_asked(plain, run, tmp_path):
    from cst_core.cli import main

    labels = [plain / f"{name}_labels.nii.gz" for name in ("fixed", "moving")]
    out = run(plain / "fixed.nii.gz", plain / "moving.nii.gz", tmp_path / "out", "--fixed-labels", labels[0],
              "--moving-labels", labels[1], "--set", "label_interpolation=label")  # fmt: skip
    applied = tmp_path / "applied.nii.gz"
    with pytest.raises(SystemExit):
        main([*map(str, ("apply", out, labels[1], "--like", plain / "fixed.nii.gz", "--out", applied)),
              "--interpolation", "label"])  # fmt: skip
    ours, theirs, nearest = (
        np.asarray(nibabel.load(path).dataobj)
        for path in (out / "warped_labels.nii.gz", applied, plain / "out" / "warped_labels.nii.gz")
    )
    np.testing.assert_array_equal(ours, theirs)
    assert (ours != nearest).mean() > 0.001
    found, before = (json.loads((folder / "register.json").read_text())["final"] for folder in (out, plain / "out"))
    assert found["dice"] != before["dice"]


def test_doubtful_places_are_told(plain, run, tmp_path):
    image = nibabel.load(plain / "moving.nii.gz")
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)
    elsewhere = image.affine.copy()
    elsewhere[:3, 3] += [30.0, 5.0, -7.0]
    image.set_sform(image.affine, code=2)
    image.set_qform(elsewhere, code=1)
    nibabel.save(image, tmp_path / "moving.nii.gz")
    lines = (plain / "landmarks.csv").read_text().splitlines()
    (tmp_path / "landmarks.csv").write_text("\n".join([*lines[:4], "500,0,0,500,0,0"]) + "\n")
    out = run(plain / "fixed.nii.gz", tmp_path / "moving.nii.gz", tmp_path / "out",
              "--landmarks", tmp_path / "landmarks.csv")  # fmt: skip
    notes = json.loads((out / "register.json").read_text())["notes"]
    assert any(note.startswith("moving.nii.gz: its sform and qform lie 31.2 mm apart") for note in notes)
    assert any(note.startswith("1 of 4 landmarks lie outside the fixed scan") for note in notes)
    assert json.loads((plain / "out" / "register.json").read_text())["notes"] == []


def test_a_model_of_ct_on_something_else_is_told(run, tmp_path):
    paths = blobs.write_pair(tmp_path, PLAIN, PLAIN)
    for path in paths:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj)
        nibabel.save(nibabel.Nifti1Image(values - values.min(), image.affine), path)
    notes = json.loads((run(*paths, tmp_path / "out", "--set", "adam=false") / "register.json").read_text())["notes"]
    assert any(note.startswith("neither scan has a value below 0, as CT in HU has") for note in notes)
