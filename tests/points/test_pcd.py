"""PCD through open3d, where it is installed."""

import sys

import pytest

from cst_core.errors import DataError
from cst_points.formats import read_cloud

PCD = """# .PCD v0.7
VERSION 0.7
FIELDS x y z
SIZE 4 4 4
TYPE F F F
COUNT 1 1 1
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
DATA ascii
1.5 -2 3
4 5 6
"""


def written(folder, text):
    path = folder / "cloud.pcd"
    path.write_text(text)
    return path


def test_points_are_read(tmp_path):
    pytest.importorskip("open3d", reason="open3d is optional and not installed")
    assert read_cloud(written(tmp_path, PCD)).tolist() == [[1.5, -2.0, 3.0], [4.0, 5.0, 6.0]]


def test_a_damaged_file_is_named(tmp_path):
    pytest.importorskip("open3d", reason="open3d is optional and not installed")
    with pytest.raises(DataError, match=r"cloud\.pcd.*no point"):
        read_cloud(written(tmp_path, "no such thing"))


def test_without_open3d_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(DataError, match=r"cloud\.pcd.*cst\[open3d\]"):
        read_cloud(written(tmp_path, PCD))


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cloud\.pcd.*empty"):
        read_cloud(written(tmp_path, ""))
