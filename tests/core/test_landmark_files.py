import pytest
import torch

from cst_core.errors import DataError
from cst_core.formats.landmark_files import COLUMNS, MOVED, landmark_figures, read_landmarks, write_moved

HEADER = ",".join(COLUMNS)


def test_landmarks_come_back_with_where_they_went(tmp_path):
    path = tmp_path / "landmarks.csv"
    path.write_text(f"{HEADER}\n1,2,3,4,5,6\n\n-1.5,0,1e1,0,0,0\n")
    found = read_landmarks(path)
    assert found.fixed.tolist() == [[1, 2, 3], [-1.5, 0, 10]]
    assert found.moving.tolist() == [[4, 5, 6], [0, 0, 0]]
    write_moved(tmp_path / "moved.csv", found, found.fixed + 1, torch.tensor([0.5, 2.0]))
    header, first, _ = (tmp_path / "moved.csv").read_text().splitlines()
    assert header == ",".join(MOVED)
    assert [float(word) for word in first.split(",")] == [1, 2, 3, 4, 5, 6, 2, 3, 4, 0.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,y,z\n1,2,3\n", ["first line", "fixed_x,fixed_y", "'x,y,z'"]),
        ("", ["first line"]),
        (f"{HEADER}\n", ["at least one"]),
        (f"{HEADER}\n1,2,3,4,5\n", ["row 2", "six finite numbers"]),
        (f"{HEADER}\n1,2,3,4,5,6\n1,2,3,4,5,nan\n", ["row 3"]),
        (f"{HEADER}\n1,2,3,4,5,six\n", ["row 2"]),
        (b"\xff\xfe", ["UTF-8"]),
    ],
)
def test_what_is_no_landmark_file_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "landmarks.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_landmarks(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_figures_are_mean_and_deviation_of_the_population():
    found = landmark_figures(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0]))
    assert found["tre_mm_initial"] == {"mean": 4.0, "sd": 1.0}
    assert found["tre_mm"] == {"mean": 1.0, "sd": 0.0}
    assert found["errors_mm_initial"] == [3.0, 5.0]
