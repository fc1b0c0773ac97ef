from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cst_core.errors import CstError, DataError
from cst_core.formats.point_list import read_points, write_points


def test_points_come_back_in_either_frame(tmp_path: Path):
    points = torch.tensor([[1.5, -2.25, 3.125], [100.0, 0.0, -7.0]], dtype=torch.float64)
    for frame in ("ras", "lps"):
        write_points(tmp_path / "p.csv", points, frame)
        assert read_points(tmp_path / "p.csv", frame).tolist() == points.tolist()
    assert (tmp_path / "p.csv").read_text() == "x,y,z\n-1.5000,2.2500,3.1250\n-100.0000,-0.0000,-7.0000\n"
    assert read_points(tmp_path / "p.csv", "ras").tolist() == (points * torch.tensor([-1.0, -1.0, 1.0])).tolist()


def test_spaces_capitals_blank_lines_and_a_byte_order_mark_are_read(tmp_path: Path):
    (tmp_path / "p.csv").write_text("\ufeffX, Y ,z\n\n 1, 2,3e0\n")
    assert read_points(tmp_path / "p.csv").tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line must be x,y,z, found ''"),
        ("1,2,3\n4,5,6\n", "first line must be x,y,z, found '1,2,3'"),
        ("x,y\n1,2\n", "found 'x,y'"),
        ("x,y,z\n", "at least one point"),
        ("x,y,z\n1,2,3\n1,nan,3\n", "line 3: must be three finite numbers, found '1,nan,3'"),
        ("x,y,z\n1,2\n", "line 2: must be three finite"),
        ("x,y,z\n1,2,three\n", "line 2: .*found '1,2,three'"),
    ],
)
def test_what_is_no_list_of_points(tmp_path: Path, text: str, said: str):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_points(tmp_path / "p.csv")


def test_files_that_are_not_there_or_no_text(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        read_points(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_bytes(b"\x80\x81\x00")
    with pytest.raises(DataError, match="no text file"):
        read_points(tmp_path / "p.csv")
    with pytest.raises(CstError, match="cannot be written"):
        write_points(tmp_path / "none" / "p.csv", torch.zeros(1, 3, dtype=torch.float64))
