import numpy as np
import pytest

from cst_core.errors import DataError
from cst_points import dirlab
from cst_points.scan import read_scan


@pytest.fixture
def small_case(monkeypatch) -> str:
    """A raw case of 6 x 5 x 4 voxels in the table."""
    monkeypatch.setitem(dirlab.HEADERS, "copd1", dirlab.Header((6, 5, 4), (0.5, 0.6, 2.5)))
    return "copd1"


def test_dirlab_tables():
    assert [name for name in dirlab.HEADERS if name.startswith("copd")] == [f"copd{i}" for i in range(1, 11)]
    assert dirlab.header("COPD9") == ((512, 512, 116), (0.664, 0.664, 2.5))
    assert dirlab.header("case7") == ((512, 512, 136), (0.97, 0.97, 2.5))
    with pytest.raises(DataError, match=r"copd1 to copd10.*'copd11'"):
        dirlab.header("copd11")


def test_dirlab_volume_and_landmarks_share_one_frame(tmp_path, small_case):
    """A bright voxel at (x, y, z) = (5, 2, 3), from 1, and the landmark that names it."""
    raw = np.full((4, 5, 6), 24, dtype="<i2")
    raw[2, 1, 4] = 1124
    raw[0, 0, 0] = -2000
    (tmp_path / "a.img").write_bytes(raw.tobytes())
    (tmp_path / "a.txt").write_text("5\t2\t3\n")
    scan = read_scan(tmp_path / "a.img", small_case)
    point = scan.along_axes(dirlab.read_landmarks(tmp_path / "a.txt", small_case))
    index = np.round(point / scan.spacing).astype(int)[0]
    assert scan.values[tuple(index)] == 100
    assert scan.values.max() == 100
    assert scan.values.min() == -1024
    np.testing.assert_allclose(scan.spacing, (0.5, 0.6, 2.5))


def test_bad_dirlab_files(tmp_path, small_case):
    (tmp_path / "a.img").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"a\.img.*240 bytes, found 100"):
        dirlab.read_volume(tmp_path / "a.img", small_case)
    for text, message in (("7 1 1\n", "found.*7.*row 1"), ("1 1\n", "3 columns"), ("0 1 1\n", "row 1"), ("", "empty")):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(DataError, match=rf"a\.txt.*{message}"):
            dirlab.read_landmarks(tmp_path / "a.txt", small_case)
