"""What cannot be registered is said in one line, names its file, and leaves nothing."""

import blobs
import nibabel
import numpy as np
import pytest

SHAPE, AFFINE = (12, 11, 10), blobs.centred_affine((12, 11, 10), (8.0, 8.0, 8.0))


def scan() -> np.ndarray:
    return blobs.content(blobs.positions(SHAPE, AFFINE)).astype(np.float32)


def put(path, values, affine=AFFINE):
    image = nibabel.Nifti1Image(values, None)
    image.set_sform(affine, code=1)  # a qform holds no shear
    nibabel.save(image, path)
    return path


def with_nan(path):
    values = scan()
    values[3, 3, 3] = np.nan
    put(path, values)


def truncated(path):
    put(path, scan())
    path.write_bytes(path.read_bytes()[:2000])


def sheared(path):
    affine = AFFINE.copy()
    affine[0, 1] += 3.0
    put(path, scan(), affine)


BAD = {
    "nan": (with_nan, "voxels must be finite"),
    "constant": (lambda path: put(path, np.full(SHAPE, 40.0, np.float32)), "intensities must differ"),
    "beyond the window": (lambda path: put(path, scan() + 5000.0), "intensities must differ within the window"),
    "truncated": (truncated, "cannot be read"),
    "4-D": (lambda path: put(path, np.stack([scan(), scan()], -1)), "must be one 3-D volume"),
    "sheared": (sheared, "axes of affine must be orthogonal"),
    "text": (lambda path: path.write_text("no image"), "no readable NIfTI"),
    "missing": (lambda _: None, "no such file (given as moving)"),
}


def refused(cst, tmp_path, *arguments) -> str:
    said = cst("register", "--backend", "image", "--model", "random", *arguments, "--out", tmp_path / "out")
    assert said.code == 1
    assert len(said.err.splitlines()) == 1, said.err
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
    return said.err


@pytest.fixture
def cst(capsys):
    from cst_core.cli import main

    class Said:
        def __init__(self, code):
            self.code, self.err = code, capsys.readouterr().err

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return Said(exit_.value.code)

    return run


@pytest.mark.parametrize("kind", BAD)
def test_a_scan_that_cannot_be_used(cst, tmp_path, kind):
    make, words = BAD[kind]
    fixed, moving = put(tmp_path / "fixed.nii.gz", scan()), tmp_path / "moving.nii.gz"
    make(moving)
    said = refused(cst, tmp_path, fixed, moving)
    assert said.startswith(f"error: {moving}: "), said
    assert words in said, said


@pytest.mark.parametrize("option", ["--fixed-mask", "--moving-mask", "--moving-labels"])
def test_masks_and_labels_must_lie_on_their_scan(cst, tmp_path, option):
    fixed, moving = (put(tmp_path / f"{name}.nii.gz", scan()) for name in ("fixed", "moving"))
    other = put(tmp_path / "other.nii.gz", np.ones((12, 11, 9), np.uint8))
    said = refused(cst, tmp_path, fixed, moving, option, other)
    assert str(other) in said
    assert "must be on the voxels of" in said


def test_landmarks_need_their_header(cst, tmp_path):
    fixed, moving = (put(tmp_path / f"{name}.nii.gz", scan()) for name in ("fixed", "moving"))
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,3\n")
    said = refused(cst, tmp_path, fixed, moving, "--landmarks", tmp_path / "points.csv")
    assert "the first line must be fixed_x,fixed_y" in said


def test_results_are_replaced_only_when_asked_and_inputs_never(cst, tmp_path):
    fixed, moving = (put(tmp_path / f"{name}.nii.gz", scan()) for name in ("fixed", "moving"))
    common = ("register", "--backend", "image", "--model", "random", fixed, moving)
    assert cst(*common, "--out", tmp_path / "out").code == 0
    made = (tmp_path / "out" / "register.json").read_bytes()
    said = cst(*common, "--out", tmp_path / "out")
    assert (said.code, "--overwrite" in said.err) == (2, True)
    assert (tmp_path / "out" / "register.json").read_bytes() == made
    assert cst(*common, "--out", tmp_path / "out", "--overwrite").code == 0
    assert (tmp_path / "out" / "register.json").read_bytes() != made
    said = cst(*common, "--out", tmp_path, "--overwrite")
    assert (said.code, "would be replaced" in said.err) == (1, True)
    assert fixed.exists()
