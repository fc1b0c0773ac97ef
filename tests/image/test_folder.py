import json
from pathlib import Path

import pytest

from cst_core.errors import DataError
from cst_image.folder import natural, read_folder


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_folder(folder)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_learn2reg(tmp_path):
    put(tmp_path, *(f"{kind}Tr/A_{i}_0000.nii.gz" for kind in ("images", "labels", "masks") for i in (10, 2)))
    put(tmp_path, "imagesTs/A_3_0000.nii.gz", "imagesTs/A_4_0000.nii", "labelsTs/A_3.nii.gz", "imagesTr/._A_2.nii.gz")
    (tmp_path / "A_dataset.json").write_text(json.dumps({"name": "A"}))
    folder = read_folder(str(tmp_path))
    assert list(folder.scans) == ["A_2", "A_3", "A_4", "A_10"]
    first = folder.scans["A_2"]
    assert first.image == tmp_path / "imagesTr/A_2_0000.nii.gz"
    assert first.labels == tmp_path / "labelsTr/A_2_0000.nii.gz"
    assert first.mask == tmp_path / "masksTr/A_2_0000.nii.gz"
    assert [scan.held_out for scan in folder.scans.values()] == [False, True, True, False]
    assert folder.scans["A_3"].labels == tmp_path / "labelsTs/A_3.nii.gz"
    assert folder.scans["A_4"].labels is None
    assert folder.description is not None
    assert folder.description.name == "A"
    assert folder.id_of("A_3_0000.nii.gz") == "A_3"
    assert folder.id_of("A_3.nii") == "A_3"
    assert folder.id_of("A_5_0000.nii.gz") is None


def test_channels_stay_apart(tmp_path):
    put(tmp_path, *(f"{kind}Tr/B_1_000{i}.nii.gz" for kind in ("images", "labels") for i in (0, 1)))
    folder = read_folder(tmp_path)
    assert list(folder.scans) == ["B_1_0000", "B_1_0001"]
    assert all(scan.labels and scan.labels.name == scan.image.name for scan in folder.scans.values())


@pytest.mark.parametrize("images", ["", "images/"])
def test_any_folder_with_label_maps_beside_or_in_a_folder(tmp_path, images):
    put(tmp_path, f"{images}x.nii", f"{images}y.nii.gz", f"{images}z.nii", f"{images}notes.txt")
    put(tmp_path, "labels/x.nii.gz", "masks/x_mask.nii.gz", f"{images}y_seg.nii.gz", f"{images}y_mask.nii")
    folder = read_folder(tmp_path)
    assert list(folder.scans) == ["x", "y", "z"]
    names = [(s.labels and s.labels.name, s.mask and s.mask.name) for s in folder.scans.values()]
    assert names == [("x.nii.gz", "x_mask.nii.gz"), ("y_seg.nii.gz", "y_mask.nii"), (None, None)]
    assert folder.description is None
    put(tmp_path, f"{images}z_label.nii.gz")
    assert read_folder(tmp_path).scans["z"].labels == tmp_path / f"{images}z_label.nii.gz"


def test_no_scan_or_one(tmp_path):
    refused(tmp_path / "none", "none", "'phantom' or a folder")
    refused(tmp_path, tmp_path.name, "NIfTI", "no file")
    put(tmp_path, "a.mha", "b.dcm")
    refused(tmp_path, "files of .dcm, .mha", "convert")
    put(tmp_path, "a.nii.gz")
    refused(tmp_path, tmp_path.name, "two scans", "only a.nii.gz")
    put(tmp_path, "b.nii.gz")
    assert len(read_folder(tmp_path).scans) == 2


def test_two_files_of_one_scan(tmp_path):
    put(tmp_path / "1", "a.nii", "a.nii.gz", "b.nii")
    refused(tmp_path / "1", "a.nii.gz", "a.nii", "id a", "remove one")
    put(tmp_path / "2", "imagesTr/a_0000.nii", "imagesTs/a_0000.nii", "imagesTr/b_0000.nii")
    refused(tmp_path / "2", "imagesTs", "imagesTr", "id a")
    put(tmp_path / "3", "a.nii", "b.nii", "a_seg.nii", "labels/a.nii")
    refused(tmp_path / "3", "a_seg.nii", "labels", "remove one")
    put(tmp_path / "4", "imagesTr/a_0000.nii", "imagesTr/b_0000.nii", "labelsTr/a_0000.nii", "labelsTr/a.nii")
    refused(tmp_path / "4", "labelsTr", "remove one")


def test_label_maps_and_masks_need_their_scan(tmp_path):
    put(tmp_path / "1", "imagesTr/a.nii", "imagesTr/b.nii", "labelsTr/c.nii")
    refused(tmp_path / "1", "labelsTr/c.nii", "rename or remove")
    put(tmp_path / "2", "a.nii", "b.nii", "c_mask.nii")
    refused(tmp_path / "2", "c_mask.nii", "rename or remove")


def test_natural_order():
    assert sorted(["s10", "s9", "s09", "s1", "10", "9", "a"], key=natural) == ["9", "10", "a", "s1", "s09", "s9", "s10"]
