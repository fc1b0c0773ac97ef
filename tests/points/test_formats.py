import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cst_core.errors import DataError
from cst_core.plugin import Landmarks
from cst_points.formats import (
    READERS,
    WRITERS,
    read_cloud,
    read_landmarks,
    write_cloud,
    write_landmarks,
)

POINTS = torch.tensor([[0.1, -2.0, 3e5], [1 / 3, 1e-20, -7.25]])
SEEDS = [encode(POINTS.numpy()) for encode in WRITERS.values()]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path, *words: str, read=read_cloud) -> None:
    """One line that names the file and every word."""
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("extension", READERS)
def test_what_is_written_is_read_exactly(tmp_path, extension):
    path = tmp_path / f"cloud{extension}"
    write_cloud(path, POINTS)
    assert torch.equal(read_cloud(path), POINTS)
    assert read_cloud(path).dtype == torch.float32
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "text",
    [
        "x,y,z\n1,2,3\n4,5,6\n",
        "1,2,3\r\n4,5,6",
        "1; 2; 3\n4;5;6\n",
        "# comment\n1 2 3\n\n4\t5  6\n",
        '\ufeff"x","y","z"\n1,2,3\n4,5,6\n',
        "R,A,S\n1,2,3\n4,5,6\n",
        "z,y,x\n3,2,1\n6,5,4\n",
    ],
)
def test_csv_dialects(tmp_path, text):
    assert read_cloud(put(tmp_path, "a.csv", text)).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_xyz_ignores_columns_after_the_third(tmp_path):
    assert read_cloud(put(tmp_path, "a.xyz", "1 2 3 255 0 0\n4 5 6 0 0 1\n")).tolist() == [[1, 2, 3], [4, 5, 6]]


PLY_HEADER = "ply\nformat {} 1.0\ncomment made by hand\n{}element vertex 2\nproperty uchar red\nproperty double x\n"
PLY_HEADER += "property float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"


@pytest.mark.parametrize(("name", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_binary_ply_with_other_properties_and_elements(tmp_path, name, order):
    header = PLY_HEADER.format(name, "element camera 1\nproperty short id\n").encode()
    body = struct.pack(f"{order}h", 9) + b"".join(
        struct.pack(f"{order}Bdff", 7, *row) for row in [(1, 2, 3), (4, 5, 6)]
    )
    path = put(tmp_path, "a.ply", header + body + b"\x03" + bytes(12))
    assert read_cloud(path).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_ascii_ply_with_other_properties_and_elements(tmp_path):
    header = PLY_HEADER.format("ascii", "element camera 1\nproperty short id\n")
    path = put(tmp_path, "a.ply", header + "9\n7 1 2 3\n7 4 5 6\n3 0 1 2\n")
    assert read_cloud(path).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_ascii_vtk(tmp_path):
    text = "# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\nPOINTS 2 float\n1 2 3 4\n5 6\nVERTICES 1 2\n1 0\n"
    assert read_cloud(put(tmp_path, "a.vtk", text)).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("names", [{"points": 1, "other": 0}, {"xyz": 1, "other": 0}, {"anything": 1}])
def test_npz_names(tmp_path, names):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{name: np.ones((4, 3), order="F") * right for name, right in names.items()})
    assert read_cloud(path).tolist() == [[1, 1, 1]] * 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", ("empty",)),
        ("a.csv", "x,y,z\n", ("at least one",)),
        ("a.csv", "# only\n\n", ("at least one",)),
        ("a.csv", "1,2,3\n4,nan,6\n", ("finite", "point 2", "nan")),
        ("a.csv", "1,2,inf\n", ("finite", "point 1", "inf")),
        ("a.csv", "1,2,1e200\n", ("finite", "point 1")),
        ("a.csv", "1,2\n", ("3 columns", "found 2", "line 1")),
        ("a.csv", "1,2,3\n1,2,3,4\n", ("3 columns", "found 4", "line 2")),
        ("a.csv", "1,2,3\n1,two,3\n", ("numbers", "two", "line 2")),
        ("a.csv", "1,2,3\n1_0,2,3\n", ("numbers", "1_0")),
        ("a.csv", "1,5;2,5;3,5\n4;5;6\n", ("decimal point", "1,5")),
        ("a.csv", b"\xff\xfe1,2,3", ("UTF-8",)),
        ("a.xyz", "1 2\n", ("at least 3", "found 2")),
        ("a.npz", b"PK nonsense", ("NPZ",)),
        ("a.ply", "plop", ("header",)),
        ("a.ply", "ply\nformat ascii 1.0\nend_header\n", ("vertex",)),
        ("a.ply", "ply\nelement vertex 1\nend_header\n", ("format",)),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", ("not understood",)),
        ("a.ply", PLY_HEADER.format("ascii", "") + "7 1 2 3\n", ("promises 2", "found 1", "truncated")),
        ("a.ply", PLY_HEADER.format("ascii", "") + "7 1 2 3\n7 8\n", ("vertex 2", "found 2")),
        ("a.ply", PLY_HEADER.format("ascii", "") + "7 1 2 3\n7 a b c\n", ("numbers", "'a'")),
        ("a.ply", PLY_HEADER.format("binary_little_endian", "") + "abc", ("truncated", "found 3")),
        ("a.ply", PLY_HEADER.format("ascii", "").replace("double x", "double w"), ("x, y, z", "w")),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 0\n" + "".join(f"property float {a}\n" for a in "xyz")
         + "end_header\n", ("found 0",)),
        ("a.ply", PLY_HEADER.format("ascii", "element f 1\nproperty list uchar int v\n"), ("lists",)),
        ("a.vtk", "nonsense", ("VTK",)),
        ("a.vtk", "<?xml version='1.0'?><VTKFile/>", ("XML", "legacy")),
        ("a.vtk", "# vtk DataFile Version 3.0\nt\nASCII\nDATASET STRUCTURED_GRID\n", ("POLYDATA", "STRUCTURED_GRID")),
        ("a.vtk", "# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\nLINES 0 0\n", ("POINTS",)),
        ("a.vtk", "# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\nPOINTS 2 float\n1 2 3\n", ("truncated",)),
        ("a.vtk", "# vtk DataFile Version 3.0\nt\nBINARY\nDATASET POLYDATA\nPOINTS 2 float\n123", ("truncated",)),
        ("a.vtk", "# vtk DataFile Version 3.0\nt\nBINARY\nDATASET POLYDATA\nPOINTS 2 bit\n123", ("bit",)),
        ("a.vtp", "<VTKFile/>", ("XML", "legacy .vtk")),
        ("a.stl", "solid", (".csv", ".ply", ".xyz", ".npz", ".vtk")),
    ],
)  # fmt: skip
def test_bad_files_are_refused_by_name(tmp_path, name, content, words):
    refused(put(tmp_path, name, content), *words)


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / "none.csv", "no such file")
    (tmp_path / "folder.csv").mkdir()
    refused(tmp_path / "folder.csv", "folder")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.ones((2, 3)), "b": np.ones((2, 3))}, ("'points' or 'xyz'", "a, b")),
        ({}, ("found none",)),
        ({"points": np.ones((3, 2))}, ("(N, 3)", "(3, 2)")),
        ({"points": np.ones((0, 3))}, ("found 0",)),
        ({"points": np.full((2, 3), np.nan)}, ("finite", "point 1")),
        ({"points": np.array([["a", "b", "c"]])}, ("numbers",)),
        ({"points": np.array([[None, None, None]])}, ("points",)),
    ],
)
def test_bad_npz(tmp_path, arrays, words):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    refused(path, *words)


@pytest.mark.parametrize("number", [10**9, 10**15])
def test_huge_claims_allocate_nothing(tmp_path, number):
    """Each of these would take terabytes if the header were believed."""
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    for encoding in ("ascii", "binary_little_endian"):
        header = f"ply\nformat {encoding} 1.0\nelement vertex {number}\n{properties}end_header\n1 2 3\n"
        refused(put(tmp_path, "a.ply", header), "truncated")
    for encoding in ("ASCII", "BINARY"):
        header = f"# vtk DataFile Version 3.0\nt\n{encoding}\nDATASET POLYDATA\nPOINTS {number} float\n1 2 3\n"
        refused(put(tmp_path, "a.vtk", header), "truncated")
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (number, 3)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", stream.getvalue())
    refused(tmp_path / "a.npz", "truncated")


@pytest.mark.parametrize("extension", [".ply", ".npz", ".vtk"])
def test_truncated_binary(tmp_path, extension):
    path = tmp_path / f"cloud{extension}"
    write_cloud(path, POINTS)
    path.write_bytes(path.read_bytes()[:-9])
    refused(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    extension=st.sampled_from(sorted(READERS)),
    seed=st.sampled_from([b"", *SEEDS, PLY_HEADER.format("ascii", "").encode()]),
    cut=st.floats(0, 1),
    noise=st.binary(max_size=64),
    rest=st.booleans(),
)
def test_arbitrary_bytes_raise_nothing_but_data_errors(tmp_path, extension, seed, cut, noise, rest):
    at = int(cut * len(seed))
    path = put(tmp_path, f"fuzz{extension}", seed[:at] + noise + (seed[at + len(noise) :] if rest else b""))
    for read in (read_cloud, read_landmarks):
        try:
            read(path)
        except DataError as error:
            assert path.name in str(error)  # noqa: PT017 - a valid file is as welcome


def test_landmarks_round_trip(tmp_path):
    path = tmp_path / "landmarks.csv"
    landmarks = Landmarks(POINTS, POINTS + 1)
    write_landmarks(path, landmarks)
    again = read_landmarks(path)
    assert torch.equal(again.fixed, landmarks.fixed)
    assert torch.equal(again.moving, landmarks.moving)
    assert read_landmarks(put(tmp_path, "bare.csv", "1,2,3,4,5,6\n")).moving.tolist() == [[4, 5, 6]]


def test_bad_landmarks(tmp_path):
    refused(put(tmp_path, "a.csv", "1,2,3\n"), "6 columns", "found 3", read=read_landmarks)
    refused(put(tmp_path, "a.csv", "1,2,3,4,5,nan\n"), "finite", "point 1", read=read_landmarks)
    with pytest.raises(DataError, match=r"a\.csv.*as many"):
        write_landmarks(tmp_path / "a.csv", Landmarks(POINTS, POINTS[:1]))


@pytest.mark.parametrize("points", [torch.zeros(0, 3), torch.zeros(3, 2), torch.full((2, 3), float("nan"))])
def test_what_could_not_be_read_is_not_written(tmp_path, points):
    path = tmp_path / "a.ply"
    write_cloud(path, POINTS)
    with pytest.raises(DataError, match=r"a\.ply"):
        write_cloud(path, points)
    assert torch.equal(read_cloud(path), POINTS)


def test_write_refuses_unknown_places(tmp_path):
    with pytest.raises(DataError, match=r"none.*must exist"):
        write_cloud(tmp_path / "none" / "a.csv", POINTS)
    with pytest.raises(DataError, match=r"a\.las.*\.csv"):
        write_cloud(tmp_path / "a.las", POINTS)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv.*cannot be written"):
        write_cloud(tmp_path / "folder.csv", POINTS)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]
