from __future__ import annotations

from pathlib import Path

import pytest

from cst_core.errors import CstError
from cst_core.files import replace_atomically, write_atomically


def test_error_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError):
        _fail_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replace_atomically(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def _fail_half_way(path: Path) -> None:
    with replace_atomically(path) as partial:
        partial.write_text("half")
        raise KeyError


def test_previous_is_kept(tmp_path: Path):
    path, previous = tmp_path / "a", tmp_path / "b"
    for data in (b"1", b"2", b"3"):
        write_atomically(path, data, previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")


def test_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CstError, match=r"none/a: cannot be written \(No such file"):
        write_atomically(tmp_path / "none" / "a", b"1")
