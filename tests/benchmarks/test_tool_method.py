"""What goes to a tool and what comes back, with a tool that is three lines of numpy."""

import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from benchmarks.peers.adapters.job import Job, from_lps, itk_vectors, read_job, write_job
from benchmarks.peers.methods import FailedError
from benchmarks.peers.tool_method import ToolMethod, export, filled
from cst_core.field import Grid
from cst_core.plugin import EvalCase
from cst_image.pair import ImagePair

SHAPE, SPACING = (6, 7, 8), (1.0, 2.0, 1.5)
ADAPTER = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from job import Job, Registered, serve
def register(job, shape):
    if job.options.get("broken"):
        raise RuntimeError("no luck")
    field = np.zeros((3, *shape))
    field[job.options["axis"]] = job.strength or 1.0
    open("left.behind", "w").close()
    return Registered(field, {{"file": job.folder + "/x"}}, lambda: field[0])
serve(None, lambda job: job.options["shape"], register)
"""


@pytest.fixture
def pair() -> ImagePair:
    fixed = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0)) - 0.4
    mask = torch.zeros(1, *SHAPE, dtype=torch.bool)
    mask[:, 1:5, 2:6, 1:7] = True
    turned = torch.tensor([[0, -2.0, 0, 5], [1.0, 0, 0, -3], [0, 0, 1.5, 2], [0, 0, 0, 1]], dtype=torch.float64)
    return ImagePair(fixed, fixed.flip(1), Grid.from_affine(SHAPE, turned), mask, None)


def method(tmp_path: Path, **options: object) -> ToolMethod:
    made = ToolMethod("greedy", "small", 1, {"shape": SHAPE, "axis": 1, **options})
    made.adapter, made.python = tmp_path / "adapter.py", sys.executable
    made.adapter.write_text(ADAPTER.format(folder=str(Path(__file__).parents[2] / "benchmarks/peers/adapters")))
    return made


def test_scans_begin_at_nothing(tmp_path: Path, pair: ImagePair) -> None:
    brighter = ImagePair(pair.fixed + 0.2, pair.moving + 0.3, pair.grid)
    job = method(tmp_path).job(brighter, tmp_path, None)
    values = [nibabel.load(file).get_fdata() for file in (job.fixed, job.moving)]
    assert min(v.min() for v in values) == 0.0
    np.testing.assert_allclose(values[1], brighter.moving[0].numpy() + job.offset, atol=1e-6)


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    job = Job("f", "m", "w", 2, strength=0.5, options={"a": [1, 2]}, own_warp=True)
    write_job(job, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job


def test_files_lie_straight_in_the_world(tmp_path: Path, pair: ImagePair) -> None:
    files = export(pair, tmp_path, 0.4)
    assert set(files) == {"fixed", "moving", "fixed_mask"}
    image = nibabel.load(files["fixed"])
    np.testing.assert_array_equal(image.affine, np.diag([*SPACING, 1.0]))
    assert pair.fixed_mask is not None
    inside = pair.fixed_mask[0].numpy()
    np.testing.assert_allclose(image.get_fdata()[inside], pair.fixed[0].numpy()[inside] + 0.4, atol=1e-6)
    np.testing.assert_array_equal(nibabel.load(files["fixed_mask"]).get_fdata(), inside)
    np.testing.assert_allclose(nibabel.load(files["moving"]).get_fdata(), pair.moving[0].numpy() + 0.4, atol=1e-6)


def test_padding_has_the_nearest_value(pair: ImagePair) -> None:
    values = filled(pair.fixed, pair.fixed_mask)
    assert values[0, 0, 0] == pair.fixed[0, 1, 2, 1]
    assert values[5, 6, 7] == pair.fixed[0, 4, 5, 6]
    assert values[2, 3, 3] == pair.fixed[0, 2, 3, 3]


def test_the_field_comes_back_on_the_pairs_grid(tmp_path: Path, pair: ImagePair) -> None:
    found = method(tmp_path).register(pair, 2.5)
    assert found.field.grid is pair.grid
    assert found.field.vectors.dtype == torch.float32
    assert found.field.vectors[1].unique().tolist() == [2.5]
    assert not found.field.vectors[[0, 2]].any()
    assert found.process_seconds is not None
    assert 0 <= found.seconds < found.process_seconds
    assert found.peak_mb is not None
    assert found.peak_mb > 1
    assert found.settings["file"] == "FOLDER/x"
    assert not Path("left.behind").exists()


def test_what_fails_says_why(tmp_path: Path, pair: ImagePair) -> None:
    with pytest.raises(FailedError, match="exit code 1: RuntimeError: no luck"):
        method(tmp_path, broken=True).register(pair, None)
    with pytest.raises(FailedError, match="must have the shape"):
        method(tmp_path, shape=(6, 7, 9)).register(pair, None)
    missing = method(tmp_path)
    missing.python = str(tmp_path / "none")
    with pytest.raises(FailedError, match="greedy: has no environment"):
        missing.register(pair, None)


def test_itks_world_is_turned_to_the_array_axes() -> None:
    # a vector of 1 mm to the left, 2 to posterior and 3 to superior at ITK's index (1, 2, 3)
    view = np.zeros((8, 7, 6, 3))
    view[3, 2, 1] = (1.0, 2.0, 3.0)
    vectors = from_lps(itk_vectors(view))
    assert vectors.shape == (3, 6, 7, 8)
    np.testing.assert_array_equal(vectors[:, 1, 2, 3], [-1.0, -2.0, 3.0])
    assert np.count_nonzero(vectors) == 3


def test_the_lps_field_is_the_one_itk_means(tmp_path: Path, pair: ImagePair) -> None:
    """SimpleITK as judge: it warps by a field in its world, we by the same along the array axes."""
    sitk = pytest.importorskip("SimpleITK")
    from cst_core.field import warp

    image = sitk.ReadImage(export(pair, tmp_path, 0.4)["moving"], sitk.sitkFloat64)
    vectors = np.random.default_rng(0).uniform(-1.5, 1.5, (*SHAPE[::-1], 3))
    field = sitk.GetImageFromArray(vectors, isVector=True)
    field.CopyInformation(image)
    warped = sitk.Resample(image, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, -1.0)
    theirs = sitk.GetArrayFromImage(warped).transpose(2, 1, 0)
    ours = warp(
        torch.from_numpy(sitk.GetArrayFromImage(image).transpose(2, 1, 0).copy()),
        torch.from_numpy(from_lps(itk_vectors(vectors)).copy()),
        SPACING,
    ).numpy()
    inside = theirs >= 0
    assert inside.mean() > 0.3
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-6)


def test_a_case_without_labels_can_be_remembered(tmp_path: Path, pair: ImagePair) -> None:
    from benchmarks.peers.remembered import Scorer

    made, case = method(tmp_path), EvalCase("one", pair)
    first = Scorer(tmp_path / "memory", "data").outcome(made, case, 0.5)
    made.python = str(tmp_path / "none")  # cannot be run any more
    again = Scorer(tmp_path / "memory", "data").outcome(made, case, 0.5)
    assert again == first
    assert again.failure is None
    other = Scorer(tmp_path / "memory", "other data").outcome(made, case, 0.5)
    assert other.failure is not None
    assert other.score.sdlogj_l2r == 0.0
