import json

import pytest

from cst_core.errors import DataError
from cst_image.description import find_description


def put(folder, content, name="Some_dataset.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_folder_without_description(tmp_path):
    assert find_description(tmp_path) is None


def test_what_learn2reg_says(tmp_path):
    put(
        tmp_path,
        {
            "name": "Some",
            "modality": {"0": "MR", "1": "CT"},
            "labels": {"0": "background", "1": "liver", "12": "spleen"},
            "registration_val": [{"fixed": "./imagesTr/a_0000.nii.gz", "moving": "./imagesTr/b_0000.nii.gz"}] * 2,
            "registration_test": [{"fixed": "imagesTs/c.nii.gz", "moving": "imagesTs/d.nii.gz"}],
            "training_paired_images": [{"fixed": "./imagesTr/e.nii.gz", "moving": "./imagesTr/f.nii.gz"}],
        },
    )
    found = find_description(tmp_path)
    assert found is not None
    assert found.name == "Some"
    assert found.modalities == ("MR", "CT")
    assert found.label_names == {1: "liver", 12: "spleen"}
    assert found.test_pairs == (("a_0000.nii.gz", "b_0000.nii.gz"), ("c.nii.gz", "d.nii.gz"))
    assert found.train_pairs == (("e.nii.gz", "f.nii.gz"),)


@pytest.mark.parametrize("labels", [None, {"liver": 1}, ["liver"], {"0": "background"}])
def test_labels_in_another_form_have_no_names(tmp_path, labels):
    put(tmp_path, {"labels": labels}, "dataset.json")
    found = find_description(tmp_path)
    assert found is not None
    assert found.label_names is None
    assert found.test_pairs == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ("JSON",)),
        ("[1]", ("object", "list")),
        ({"registration_val": [{"fixed": "a.nii"}]}, ("'registration_val'", "fixed and moving")),
        ({"registration_test": ["a.nii"]}, ("'registration_test'", "a.nii")),
        ({"registration_val": 3}, ("'registration_val'", "3")),
        ({"registration_val": [{"fixed": "x/a.nii", "moving": "a.nii"}]}, ("two scans", "a.nii twice")),
        ({"training_paired_images": [{"fixed": 1, "moving": 2}]}, ("'training_paired_images'",)),
    ],
)
def test_bad_descriptions(tmp_path, content, words):
    put(tmp_path, content)
    with pytest.raises(DataError) as caught:
        find_description(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'Some_dataset.json'}: ")
    assert all(word in str(caught.value) for word in words)


def test_two_descriptions(tmp_path):
    put(tmp_path, {})
    put(tmp_path, {}, "dataset.json")
    with pytest.raises(DataError, match=r"dataset\.json.*Some_dataset\.json|Some_dataset\.json.*dataset\.json"):
        find_description(tmp_path)
