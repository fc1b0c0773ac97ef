import pytest

from cst_core.errors import DataError
from cst_core.formats.pair_list import read_pairs


def test_a_csv_names_files_relative_to_itself(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(f"id,moving,fixed,landmarks\na, m.nii ,sub/f.nii,\n\nb,{tmp_path}/m2.nii,f2.nii,l.csv\n")
    a, b = read_pairs(path)
    assert (a.id, b.id) == ("a", "b")
    assert a.paths["fixed"] == tmp_path / "sub" / "f.nii"
    assert a.paths["moving"] == tmp_path / "m.nii"
    assert a.paths["landmarks"] is None
    assert a.paths["fixed_mask"] is None
    assert b.paths["moving"] == tmp_path / "m2.nii"
    assert b.paths["landmarks"] == tmp_path / "l.csv"


def test_a_folder_pairs_files_by_their_names(tmp_path):
    for name in (
        "p_1_fixed.nii.gz",
        "p_1_moving.nii",
        "p_1_fixed_labels.nii.gz",
        "p_1_moving_mask.nii.gz",
        "p_1_landmarks.csv",
        "p_0_fixed.csv",
        "p_0_moving.csv",
        "notes.txt",
    ):
        (tmp_path / name).touch()
    first, second = read_pairs(tmp_path)
    assert [first.id, second.id] == ["p_0", "p_1"]
    assert {name: path.name for name, path in second.paths.items() if path} == {
        "fixed": "p_1_fixed.nii.gz",
        "moving": "p_1_moving.nii",
        "fixed_labels": "p_1_fixed_labels.nii.gz",
        "moving_mask": "p_1_moving_mask.nii.gz",
        "landmarks": "p_1_landmarks.csv",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line"),
        ("id,fixed\na,b\n", "first line"),
        ("id,fixed,moving,mask\na,b,c,d\n", "first line"),
        ("id,fixed,moving,moving\na,b,c,d\n", "first line"),
        ("id,fixed,moving\n", "no pair"),
        ("id,fixed,moving\na,b\n", "row 2 must have 3 columns"),
        ("id,fixed,moving\na,b,\n", "row 2 must name"),
        ("id,fixed,moving\n../a,b,c\n", "'../a'"),
        ("id,fixed,moving\n.a,b,c\n", "'.a'"),
        ("id,fixed,moving\na,b,c\na,d,e\n", "'a' twice"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(tmp_path, text, words):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"pairs\.csv") as caught:
        read_pairs(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read_pairs(tmp_path / "none")
    with pytest.raises(DataError, match="no pair"):
        read_pairs(tmp_path)
    (tmp_path / "a_fixed.nii").touch()
    with pytest.raises(DataError, match=r"'a' has no file a_moving"):
        read_pairs(tmp_path)
    (tmp_path / "a_fixed.nii.gz").touch()
    with pytest.raises(DataError, match="remove one"):
        read_pairs(tmp_path)
