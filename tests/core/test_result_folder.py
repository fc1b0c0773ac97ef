import os
import subprocess
import sys

import pytest

from cst_core.errors import ConfigError
from cst_core.result_folder import RESULT, check_free, remove_stale, staged


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dead() -> int:
    """The id of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_appears_only_when_complete(tmp_path):
    out = tmp_path / "deep" / "out"
    with staged(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists()
    assert names(out) == ["a"]
    assert names(out.parent) == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()

    def fail():
        with staged(out) as folder:
            (folder / "new").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == ["out"]
    assert names(out) == ["old"]
    with staged(out) as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["out"]
    assert names(out) == ["new"]


def test_only_results_are_replaced_and_only_when_asked(tmp_path):
    out = tmp_path / "out"
    check_free(out, overwrite=False)
    out.mkdir()
    check_free(out, overwrite=False)
    (out / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="no result of cst register"):
            check_free(out, overwrite)
    (out / RESULT).touch()
    check_free(out, overwrite=True)
    with pytest.raises(ConfigError, match="--overwrite"):
        check_free(out, overwrite=False)
    with pytest.raises(ConfigError, match="no result"):
        check_free(out / RESULT, overwrite=True)


def test_what_killed_processes_left_is_removed(tmp_path, dead):
    mine = f".a.{os.getpid()}.partial"
    for name in (f".a.{dead}.partial", f".b.{dead}.partial", mine, ".hidden", ".c.x.partial"):
        (tmp_path / name).mkdir()
    remove_stale(tmp_path, "a")
    assert names(tmp_path) == sorted([f".b.{dead}.partial", mine, ".hidden", ".c.x.partial"])
    remove_stale(tmp_path)
    assert names(tmp_path) == sorted([mine, ".hidden", ".c.x.partial"])


def test_a_kill_between_two_renames_loses_no_result(tmp_path, dead):
    (tmp_path / f".a.{dead}.replaced").mkdir()
    (tmp_path / f".a.{dead}.replaced" / RESULT).touch()
    (tmp_path / f".a.{dead}.partial").mkdir()
    remove_stale(tmp_path)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == [RESULT]
