import json
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

import cst_image.source
from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.lazy import pairs_of
from cst_image.case import ImageCase
from cst_image.config import ImageConfig
from cst_image.data import read_dataset

CT, MR = ImageConfig(), ImageConfig(intensity="mr")
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def put(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def put_scan(folder: Path, id: str, shape=(8, 9, 10), affine: np.ndarray = AFFINE, labelled=True, part="Tr") -> Path:
    random = np.random.default_rng([*id.encode()])
    volume = random.uniform(-300, 400, shape).astype(np.float32)
    if labelled:
        labels = random.integers(0, 4, shape).astype(np.uint8)
        put(folder / f"labels{part}" / f"{id}.nii.gz", labels, affine)
    return put(folder / f"images{part}" / f"{id}.nii.gz", volume, affine)


@pytest.fixture
def folder(tmp_path) -> Path:
    for id in "abcd":
        put_scan(tmp_path, id)
    return tmp_path


def read(folder: Path, fold: int | None = None, config: ImageConfig = CT):
    return read_dataset(folder, fold, config, "cpu")


def refused(folder: Path, *words: str, fold: int | None = None, config: ImageConfig = CT) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, fold, config)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_pairs_cases_and_truth(folder):
    (folder / "x_dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "one"}}))
    dataset = read(folder)
    assert dataset.source == str(folder)
    assert len(dataset.train) == 6
    assert [case.id for case in dataset.test] == ["a_b", "b_c", "c_d"]
    case = dataset.test[0]
    assert isinstance(case, ImageCase)
    values = torch.from_numpy(nibabel.load(folder / "imagesTr" / "a.nii.gz").get_fdata(dtype=np.float32))
    assert torch.allclose(case.pair.fixed[0], values.clamp(-200, 300) / 500)
    assert case.fixed_labels is not None
    np.testing.assert_array_equal(case.fixed_labels, nibabel.load(folder / "labelsTr" / "a.nii.gz").dataobj)
    assert case.label_names == {1: "one"}
    np.testing.assert_array_equal(case.pair.grid.affine, AFFINE)
    assert case.pair.fixed_mask is None
    assert len(dataset.notes) == 1


def test_volumes_are_shared_and_training_reads_no_label_map(folder, monkeypatch):
    reads = []
    for name in ("read_volume", "read_labels"):
        original = getattr(cst_image.source, name)
        monkeypatch.setattr(
            cst_image.source, name, lambda path, *rest, of=original: reads.append(path) or of(path, *rest)
        )
    dataset = read(folder)
    assert len([path for path in reads if path.parent.name == "imagesTr"]) == 4
    reads.clear()
    pairs = pairs_of(dataset.train)
    assert len({id(pair.fixed) for pair in pairs} | {id(pair.moving) for pair in pairs}) == 4
    assert reads == []
    small = read(folder, config=ImageConfig(memory_gb=1e-8))
    assert any("memory_gb" in note for note in small.notes)
    pairs = pairs_of(small.train)
    reads.clear()
    assert torch.equal(pairs[5].fixed, pairs_of(dataset.train)[5].fixed)
    assert [path.name for path in reads] == ["c.nii.gz", "d.nii.gz"]
    assert all(path.parent.name == "imagesTr" for path in reads)


def test_every_header_is_checked_at_opening(folder):
    config = ImageConfig(memory_gb=1e-8)
    put_scan(folder, "e")
    put(folder / "labelsTr" / "e.nii.gz", np.ones((8, 9, 11), np.uint8))
    refused(folder, "labelsTr/e.nii.gz", "voxels of e.nii.gz", "8 x 9 x 11", config=config)
    put_scan(folder, "e")
    put(folder / "imagesTr" / "e.nii.gz", np.ones((8, 9, 10, 2), np.float32))
    refused(folder, "imagesTr/e.nii.gz", "3-D", config=config)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("imagesTr", np.full((8, 9, 10), np.nan, np.float32), ("finite",)),
        ("imagesTr", np.full((8, 9, 10), 5, np.float32), ("differ",)),
        ("imagesTr", np.linspace(500, 900, 720, dtype=np.float32).reshape(8, 9, 10), ("window", "intensity=mr")),
        ("labelsTr", np.full((8, 9, 10), 0.5, np.float32), ("whole numbers",)),
    ],
)
def test_every_voxel_is_checked_at_opening_or_at_first_read(folder, name, values, words):
    unread = read(folder, config=ImageConfig(memory_gb=1e-8))
    path = put(folder / name / "b.nii.gz", values)
    refused(folder, str(path), *words)
    with pytest.raises(DataError, match=words[0]):
        list(unread.test)


def test_truncated_files_are_named(folder):
    path = put_scan(folder, "b")
    path.write_bytes(path.read_bytes()[:-600])
    refused(folder, str(path), "cannot be read")


def test_masks_reach_the_pair(folder):
    mask = np.ones((8, 9, 10), np.uint8)
    mask[:2] = 0
    put(folder / "masksTr" / "a.nii.gz", mask)
    pair = read(folder).test[0].pair
    assert pair.fixed_mask is not None
    np.testing.assert_array_equal(pair.fixed_mask[0], mask > 0)
    assert (pair.fixed[0, :2] == -0.4).all()
    assert pair.moving_mask is None


def test_scans_of_other_shapes_are_told_once(folder):
    put_scan(folder, "e", (11, 7, 10))
    put_scan(folder, "f", affine=np.diag([-2.0, -2.0, 2.0, 1.0]))
    dataset = read(folder)
    assert dataset.test[0].pair.grid.shape == (11, 9, 10)
    assert any("turned" in note and "1 from LPS" in note for note in dataset.notes)
    assert "6 scans on a grid of 11 x 9 x 10 voxels of 2 x 2 x 2 mm, centre on centre: 6 padded" in dataset.notes
    cropped = read(folder, config=ImageConfig(shape=(11, 8, 10)))
    assert any(note.endswith("6 padded, 5 cropped") for note in cropped.notes)
    assert cropped.test[0].pair.fixed.shape == (1, 11, 8, 10)
    coarse = read(folder, config=ImageConfig(spacing=4))
    assert coarse.test[0].pair.grid.spacing == (4, 4, 4)
    assert any("resampled" in note for note in coarse.notes)


def test_other_spacings_need_a_common_one(folder):
    put_scan(folder, "e", affine=np.diag([2.0, 2.0, 3.0, 1.0]))
    refused(folder, "a and e", "2 x 2 x 2 and 2 x 2 x 3 mm", "--set spacing=")
    assert read(folder, config=ImageConfig(spacing=2)).test[0].pair.grid.spacing == (2, 2, 2)


def test_alignment_by_the_headers(folder):
    config = ImageConfig(alignment="world")
    moved = AFFINE.copy()
    moved[0, 3] = 4
    put_scan(folder, "e", affine=moved)
    dataset = read(folder, config=config)
    pair = dataset.test[3].pair
    assert dataset.test[3].id == "d_e"
    assert pair.grid.shape == (10, 9, 10)
    assert pair.fixed_mask is not None
    assert pair.moving_mask is not None
    assert pair.fixed_mask[0, :, 0, 0].tolist() == [True] * 8 + [False] * 2
    assert pair.moving_mask[0, :, 0, 0].tolist() == [False] * 2 + [True] * 8
    moved[0, 3] = 300
    put_scan(folder, "e", affine=moved)
    refused(folder, "a and e", "found 0%", "alignment=centre", config=config)
    values = np.random.default_rng(0).uniform(-300, 400, (8, 9, 10)).astype(np.float32)
    image = nibabel.Nifti1Image(values, None)
    nibabel.save(image, folder / "imagesTr" / "e.nii.gz")
    (folder / "labelsTr" / "e.nii.gz").unlink()
    refused(folder, "e.nii.gz", "sform", "alignment=centre", config=config)


def test_the_fingerprint_changes_with_a_byte(folder):
    before = read(folder).fingerprint
    assert before == read(folder).fingerprint
    assert before == read(folder, config=ImageConfig(spacing=4)).fingerprint
    assert len(before) == 64
    labels = folder / "labelsTr" / "d.nii.gz"
    content = labels.read_bytes()
    labels.write_bytes(content + b"\0")
    after = read(folder).fingerprint
    labels.unlink()
    without = read(folder).fingerprint
    (folder / "imagesTr" / "d.nii.gz").rename(folder / "imagesTr" / "e.nii.gz")
    renamed = read(folder).fingerprint
    (folder / "dataset.json").write_text("{}")
    assert len({before, after, without, renamed, read(folder).fingerprint}) == 5


def test_grid_and_fingerprint_do_not_depend_on_the_fold(tmp_path):
    for i in range(11):
        put_scan(tmp_path, f"s{i:02d}", (8, 8 + i, 9))
    whole = read(tmp_path, config=ImageConfig(max_test_pairs=1))
    folds = [read(tmp_path, fold) for fold in (1, 5)]
    assert {one.fingerprint for one in (whole, *folds)} == {whole.fingerprint}
    assert {one.train[0].pair.grid.shape for one in (whole, *folds)} == {(8, 18, 9)}
    assert [case.id for case in folds[0].test] == ["s00_s05", "s05_s10"]
    assert not any("no fold" in note for note in folds[0].notes)
    refused(tmp_path, "1 to 5", fold=6)


def test_scans_of_the_test_folder_are_not_trained_on(folder):
    for id in ("x", "y"):
        put_scan(folder, id, part="Ts")
    put_scan(folder, "z", part="Ts", labelled=False)
    dataset = read(folder)
    assert len(dataset.train) == 6
    assert [case.id for case in dataset.test] == ["x_y"]
    assert any(note.startswith("1 scans of imagesTs") for note in dataset.notes)


def test_mr_that_is_taken_for_ct(folder):
    for id in "abcd":
        put(folder / "imagesTr" / f"{id}.nii.gz", np.arange(720, dtype=np.float32).reshape(8, 9, 10))
    assert any("no scan has a value below 0" in note for note in read(folder).notes)
    assert not any("below 0" in note for note in read(folder, config=MR).notes)
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "MRI"}}))
    refused(folder, "dataset.json", "MRI", "--set intensity=mr")
    assert len(read(folder, config=MR).train) == 6


def test_no_folder(tmp_path):
    refused(tmp_path / "none", "none", "'phantom' or a folder")


class Subject(NamedTuple):
    id: str
    volume: Tensor
    labels: Tensor
    grid: Grid


def test_phantom(monkeypatch):
    asked = []

    def abdomen_phantom(n_subjects: int = 12, spacing: float = 4.0, seed: int = 0) -> list[Subject]:
        asked.append((n_subjects, spacing, seed))
        random = torch.Generator().manual_seed(seed)
        grid = Grid.of((6, 7, 8), (spacing,) * 3)
        return [
            Subject(str(i), torch.rand(6, 7, 8, generator=random) * 500 - 200, torch.ones(6, 7, 8).byte(), grid)
            for i in range(n_subjects)
        ]

    module = ModuleType("cst_image.phantom")
    vars(module)["abdomen_phantom"] = abdomen_phantom
    monkeypatch.setitem(sys.modules, "cst_image.phantom", module)
    dataset = read_dataset("phantom", None, CT, "cpu")
    assert dataset.source == "phantom"
    assert len(dataset.train) == 28
    assert [case.id for case in dataset.test] == ["8_9", "8_10", "8_11", "9_10", "9_11", "10_11"]
    case = dataset.test[0]
    assert isinstance(case, ImageCase)
    assert case.fixed_labels is not None
    assert any("phantom" in note for note in dataset.notes)
    other = read_dataset("phantom", None, ImageConfig(spacing=8), "cpu")
    assert other.fingerprint != dataset.fingerprint
    assert read_dataset("phantom", None, CT, "cpu").fingerprint == dataset.fingerprint
    assert asked == [(12, 4.0, 0), (12, 8.0, 0), (12, 4.0, 0)]
    with pytest.raises(DataError, match="fold"):
        read_dataset("phantom", 1, CT, "cpu")


def dice(case: ImageCase, label: int) -> float:
    assert case.fixed_labels is not None
    assert case.moving_labels is not None
    fixed, moving = case.fixed_labels == label, case.moving_labels == label
    return float(2 * (fixed & moving).sum() / (fixed.sum() + moving.sum()))


@pytest.mark.real
def test_real_abdomen(shared):
    dataset = read(shared / "data" / "AbdomenCTCT", config=ImageConfig(memory_gb=0.2))
    assert len(dataset.train) == 190
    ids = ["AbdomenCTCT_0002", "AbdomenCTCT_0003", "AbdomenCTCT_0005"]
    assert [dataset.test[i].id for i in range(len(dataset.test))] == [
        f"{ids[i]}_{ids[j]}" for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    case = dataset.test[0]
    assert isinstance(case, ImageCase)
    assert case.pair.grid.shape == (192, 160, 256)
    assert case.pair.fixed_mask is None
    assert float(case.pair.fixed.min()) == pytest.approx(-0.25)
    assert float(case.pair.fixed.max()) == pytest.approx(0.55, abs=0.01)
    assert case.label_names is not None
    assert case.label_names[6] == "liver"
    assert case.fixed_labels is not None
    right, left = (float((case.fixed_labels == label).nonzero()[:, 0].float().mean()) for label in (2, 3))
    assert left < right - 30  # the first axis runs to the right: the right kidney lies further along it
    assert 0.4 < dice(case, 6) < 0.9
    assert any("190" in note or "among" in note for note in dataset.notes)


@pytest.mark.real
def test_real_hippocampus(shared):
    dataset = read(shared / "data" / "HippocampusMR", 1, ImageConfig(intensity="mr", memory_gb=0.05))
    assert len(dataset.train) == 1000
    assert len(dataset.test) == 40
    cases = [case for case in dataset.test[:6] if isinstance(case, ImageCase)]
    assert {case.pair.grid.shape for case in cases} == {(43, 59, 47)}
    means = [(dice(case, 1) + dice(case, 2)) / 2 for case in cases]
    assert np.mean(means) == pytest.approx(0.54, abs=0.12)  # centred, without registration
    assert any("207 scans on a grid of 43 x 59 x 47 voxels of 1 x 1 x 1 mm" in note for note in dataset.notes)
