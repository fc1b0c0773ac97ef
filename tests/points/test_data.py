import json
import os
from pathlib import Path

import pytest
import torch

from cst_core.errors import DataError
from cst_core.plugin import EvalCase, Landmarks
from cst_points.case_folder import read_folder
from cst_points.cloud import CloudPair
from cst_points.data import fingerprint, read_dataset
from cst_points.folds import fold_split
from cst_points.formats import write_cloud, write_landmarks
from cst_points.release import RELEASE_NOTE, read_release

SHARED = Path(os.environ.get("CST_SHARED", Path(__file__).parents[2] / ".." / "shared"))
REAL = SHARED / "data" / "LungKeypoints"


def cloud(seed: int, n: int = 20) -> torch.Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 200 - 100


def put_case(folder: Path, id: str, extension: str = "csv", marked: bool = False) -> None:
    write_cloud(folder / f"case_{id}_fixed.{extension}", cloud(1))
    write_cloud(folder / f"case_{id}_moving.{extension}", cloud(2, 30))
    if marked:
        write_landmarks(folder / f"case_{id}_landmarks.csv", Landmarks(cloud(1, 5), cloud(2, 5)))


def refused(folder: Path, *words: str, read=read_folder) -> None:
    with pytest.raises(DataError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def put_release(folder: Path, copd: int = 10) -> None:
    def clouds(n: int, seed: int) -> list[torch.Tensor]:
        return [cloud(seed + i) / 100 for i in range(n)]

    def part(n: int, seed: int) -> dict[str, list[torch.Tensor]]:
        return {"kpts_fix": clouds(n, seed), "kpts_mov": clouds(n, seed + 50), "gt_disp": clouds(n, seed + 70)}

    torch.save({"copd": part(copd, 0), "4dct": part(10, 100), "l2r": {"train": part(12, 200)}}, folder / "data.pth")
    landmarks = {name: torch.rand(10, 300, 3) - 0.5 for name in ("lm_copd_exh", "lm_copd_insp")}
    torch.save(landmarks, folder / "copd_converted_lms.pth")


def test_folder_in_natural_order_with_and_without_landmarks(tmp_path):
    for id, extension, marked in (("10", "ply", False), ("2", "csv", True), ("b_1", "npz", False), ("1", "vtk", True)):
        put_case(tmp_path, id, extension, marked)
    cases = read_folder(tmp_path)
    assert [case.id for case in cases] == ["1", "2", "10", "b_1"]
    assert [case.landmarks is not None for case in cases] == [True, True, False, False]
    assert torch.equal(cases[0].pair.fixed, cloud(1))
    assert torch.equal(cases[0].pair.moving, cloud(2, 30))


def test_crop_from_the_bounding_box_or_the_file(tmp_path):
    put_case(tmp_path, "1")
    pair = read_folder(tmp_path)[0].pair
    both = torch.cat([pair.fixed, pair.moving])
    assert torch.allclose(pair.origin, (both.amin(0) + both.amax(0)) / 2)
    assert torch.allclose(pair.half_extent, (both.amax(0) - both.amin(0)) / 2 * 1.05)
    assert max(part.abs().max() for part in pair.normalised()) < 1
    (tmp_path / "case_1_crop.json").write_text(json.dumps({"origin": [1, 2, 3], "half_extent": [130, 96, 168]}))
    pair = read_folder(tmp_path)[0].pair
    assert pair.origin.tolist() == [1, 2, 3]
    assert pair.half_extent.tolist() == [130, 96, 168]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("JSON",)),
        ("[]", ("'origin'",)),
        ('{"origin": [0, 0, 0]}', ("'half_extent'", "None")),
        ('{"origin": [0, 0], "half_extent": [1, 1, 1]}', ("'origin'", "[0, 0]")),
        ('{"origin": [0, 0, NaN], "half_extent": [1, 1, 1]}', ("'origin'",)),
        ('{"origin": [0, 0, "a"], "half_extent": [1, 1, 1]}', ("'origin'",)),
        ('{"origin": [0, 0, 0], "half_extent": [1, 0, 1]}', ("positive",)),
    ],
)
def test_bad_crop(tmp_path, text, words):
    put_case(tmp_path, "1")
    (tmp_path / "case_1_crop.json").write_text(text)
    refused(tmp_path, "case_1_crop.json", *words)


def test_incomplete_or_ambiguous_folders(tmp_path):
    refused(tmp_path, tmp_path.name, "no such file")
    refused(tmp_path / "none", "none", "must be a folder")
    put_case(tmp_path, "1")
    (tmp_path / "case_1_moving.csv").rename(tmp_path / "elsewhere.csv")
    refused(tmp_path, "case_1_fixed.csv", "case_1_moving")
    (tmp_path / "elsewhere.csv").rename(tmp_path / "case_1_moving.csv")
    write_cloud(tmp_path / "case_1_fixed.ply", cloud(1))
    refused(tmp_path, "case_1_fixed.ply", "case_1_fixed.csv", "remove one")
    (tmp_path / "case_1_fixed.ply").unlink()
    write_landmarks(tmp_path / "case_2_landmarks.csv", Landmarks(cloud(1), cloud(2)))
    refused(tmp_path, "case_2_landmarks.csv", "case_2_fixed")


@pytest.mark.parametrize(
    ("part", "scale", "words"),
    [
        ("fixed", 0.001, ("metres", "mm, found")),
        ("moving", 0.01, ("[-1, 1]",)),
        ("fixed", 1000, ("micrometres",)),
        ("moving", 24, ("alike", "likely")),
    ],
)
def test_other_units_are_named(tmp_path, part, scale, words):
    put_case(tmp_path, "7")
    write_cloud(tmp_path / f"case_7_{part}.csv", cloud(1) * scale)
    refused(tmp_path, "case_7_", *words)
    if "alike" not in words:
        refused(tmp_path, f"case_7_{part}.csv")


def test_landmarks_of_another_frame(tmp_path):
    put_case(tmp_path, "1", marked=True)
    away = cloud(2, 5)
    away[3, 1] += 400
    write_landmarks(tmp_path / "case_1_landmarks.csv", Landmarks(cloud(1, 5), away))
    refused(tmp_path, "case_1_landmarks.csv", "moving", "landmark 4", "50 mm")


def test_a_bad_cloud_is_named(tmp_path):
    put_case(tmp_path, "1")
    (tmp_path / "case_1_moving.csv").write_text("x,y,z\n1,2,nan\n")
    refused(tmp_path, "case_1_moving.csv", "finite")


def test_release_ids_scale_and_correspondences(tmp_path):
    put_release(tmp_path)
    cases = read_release(tmp_path)
    ids = [f"{name}_{i:02d}" for name, n in (("copd", 10), ("4dct", 10), ("l2r", 12)) for i in range(1, n + 1)]
    assert [case.id for case in cases] == ids
    assert [case.landmarks is not None for case in cases] == [True] * 10 + [False] * 22
    half = torch.tensor([130.0, 96.0, 168.0])
    assert torch.allclose(cases[2].pair.fixed, cloud(2) / 100 * half)
    assert torch.equal(cases[2].pair.half_extent, half)
    assert torch.equal(cases[2].pair.origin, torch.zeros(3))
    assert [case.correspondence is not None for case in cases] == [True] * 20 + [False] * 12
    assert torch.allclose(cases[12].correspondence, (cloud(172) / 100 * half).T)


def test_release_without_or_with_too_few_correspondences(tmp_path):
    put_release(tmp_path)
    data = torch.load(tmp_path / "data.pth", weights_only=True)
    data["copd"]["gt_disp"][3] = torch.zeros(19, 3)
    torch.save(data, tmp_path / "data.pth")
    refused(tmp_path, "data.pth", "copd/gt_disp/3", "20", "(19, 3)", read=read_release)
    del data["copd"]["gt_disp"]
    torch.save(data, tmp_path / "data.pth")
    assert read_release(tmp_path)[0].correspondence is None


def test_damaged_releases(tmp_path):
    refused(tmp_path, "data.pth", "no such file", read=read_release)
    put_release(tmp_path, copd=11)
    refused(tmp_path, "copd_converted_lms.pth", "every COPD case", read=read_release)
    (tmp_path / "data.pth").write_bytes(b"nonsense")
    refused(tmp_path, "data.pth", "loaded", read=read_release)
    torch.save({"copd": {"kpts_fix": [torch.zeros(5, 2)], "kpts_mov": [torch.zeros(5, 3)]}}, tmp_path / "data.pth")
    refused(tmp_path, "data.pth", "copd/kpts_fix/0", "(5, 2)", read=read_release)
    torch.save(
        {"copd": {"kpts_fix": [torch.full((5, 3), float("inf"))], "kpts_mov": [torch.zeros(5, 3)]}},
        tmp_path / "data.pth",
    )
    refused(tmp_path, "data.pth", "copd/kpts_fix/0", "finite", read=read_release)
    torch.save({}, tmp_path / "data.pth")
    refused(tmp_path, "data.pth", "copd/kpts_fix", read=read_release)


def case(id: str, marked: bool = True) -> EvalCase[CloudPair]:
    pair = CloudPair(cloud(1), cloud(2), torch.zeros(3), torch.ones(3))
    return EvalCase(id, pair, Landmarks(cloud(1), cloud(2)) if marked else None)


def ids(cases) -> list[str]:
    return [one.id for one in cases]


def test_folds():
    cases = [case(str(i)) for i in range(1, 6)] + [case("x", marked=False)]
    train, test = fold_split(cases, 2)
    assert (ids(train), ids(test)) == (["1", "2", "5"], ["3", "4"])
    assert ids(fold_split(cases, 2, extra=True)[0]) == ["1", "2", "5", "x"]
    assert ids(fold_split(cases, 3)[1]) == ["5"]
    for fold in (0, -1, 4):
        with pytest.raises(DataError, match=f"1 to 3.*found {fold}"):
            fold_split(cases, fold)
    with pytest.raises(DataError, match="need cases with landmarks"):
        fold_split(cases[5:], 1)
    with pytest.raises(DataError, match="left to train"):
        fold_split(cases[:2], 1)


def test_fingerprint_sees_everything(tmp_path):
    put_case(tmp_path, "1", marked=True)
    before = fingerprint(read_folder(tmp_path))
    assert before == fingerprint(read_folder(tmp_path))
    assert len(before) == 64
    (tmp_path / "case_1_crop.json").write_text(json.dumps({"origin": [0, 0, 0], "half_extent": [130, 96, 168]}))
    cropped = fingerprint(read_folder(tmp_path))
    (tmp_path / "case_1_landmarks.csv").unlink()
    assert len({before, cropped, fingerprint(read_folder(tmp_path)), fingerprint([])}) == 4


def test_dataset_of_the_release(tmp_path):
    put_release(tmp_path)
    fold = read_dataset(tmp_path, fold=3)
    assert ids(fold.test) == ["copd_05", "copd_06"]
    assert len(fold.train) == 8
    assert len(read_dataset(tmp_path, fold=3, extra_pairs=True).train) == 30
    whole = read_dataset(str(tmp_path))
    assert (len(whole.train), len(whole.test)) == (32, 10)
    assert whole.source == str(tmp_path)
    assert RELEASE_NOTE in whole.notes


def test_dataset_of_a_folder(tmp_path):
    put_case(tmp_path, "1")
    dataset = read_dataset(tmp_path)
    assert (ids(dataset.train), ids(dataset.test)) == (["1"], [])
    with pytest.raises(DataError, match="need cases with landmarks"):
        read_dataset(tmp_path, fold=1)
    with pytest.raises(DataError, match="none"):
        read_dataset(tmp_path / "none")


def test_dataset_of_the_phantom(monkeypatch):
    def lung_phantom(n_pairs: int, seed: int) -> list[EvalCase[CloudPair]]:
        return [case(f"{seed}_{i}") for i in range(n_pairs)]

    monkeypatch.setattr("cst_points.phantom.lung_phantom", lung_phantom)
    dataset = read_dataset("phantom", fold=2)
    assert ids(dataset.test) == ["0_2", "0_3"]
    assert len(dataset.train) == 8
    assert any("phantom" in note for note in dataset.notes)


@pytest.mark.real
@pytest.mark.skipif(not (REAL / "data.pth").exists(), reason="no keypoint release under CST_SHARED")
def test_real_release_has_the_published_initial_error():
    cases = read_release(REAL)
    assert len(cases) == 32
    errors = [(c.landmarks.fixed - c.landmarks.moving).norm(dim=1).mean() for c in cases if c.landmarks is not None]
    assert torch.stack(errors).mean().item() == pytest.approx(11.99, abs=0.005)
