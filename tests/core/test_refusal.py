"""Disks that do not take a file: one line that names it and says what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cst_core.files import write_atomically
from cst_core.refusal import RefusedError, refusal, refusals_named
from cst_core.result_folder import staged

WORDS = {
    errno.ENOSPC: ("cannot be written (No space left on device); free space", "(--out)"),
    errno.EROFS: ("cannot be written (Read-only file system); choose a folder on another disk (--out)", "mounted"),
    errno.EACCES: ("cannot be used (Permission denied); choose another folder (--out)", "chmod"),
    errno.EPERM: ("cannot be used (Operation not permitted); choose another folder (--out)", "chown"),
}


def failing(number: int, path: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([] if path is None else [str(path)]))


@pytest.mark.parametrize("number", WORDS)
def test_file_rule_and_remedy(number: int):
    said = str(refusal(failing(number, Path("runs/mine"))))
    assert said.startswith("runs/mine: ")
    for word in WORDS[number]:
        assert word in said
    assert str(refusal(failing(number), Path("there"))).startswith("there: ")
    assert refusal(failing(number)) is None  # nothing to name


def test_other_errors_stay_as_they_are():
    assert refusal(failing(errno.ENOENT, Path("there"))) is None
    with pytest.raises(FileNotFoundError), refusals_named(Path("there")):
        raise failing(errno.ENOENT, Path("here"))


def test_the_result_is_named_and_not_where_it_is_put_together(tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(RefusedError, match=f"^{out}: cannot be written"), staged(out) as folder:
        raise failing(errno.EROFS, folder / "warped.nii.gz")
    with pytest.raises(RefusedError, match=r"^input\.csv: cannot be used"), staged(out):
        raise failing(errno.EACCES, Path("input.csv"))
    assert not list(tmp_path.iterdir())


def test_the_file_is_named_and_not_its_sibling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(self: Path, _: bytes) -> int:
        raise failing(errno.EDQUOT, self)

    file = tmp_path / "manifest.json"
    file.write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", refused)
    with pytest.raises(RefusedError) as caught:
        write_atomically(file, b"new")
    assert str(caught.value).startswith(f"{file}: cannot be written (Disk quota exceeded); free space")
    assert str(caught.value).endswith(f"{file} is as it was")


@pytest.mark.parametrize("number", WORDS)
def test_training_that_cannot_begin_leaves_nothing(cst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def refused(*_: object, **__: object) -> None:
        raise failing(number)

    monkeypatch.setattr(Path, "write_bytes", refused)
    run = tmp_path / "run"
    said = cst("train", "--backend", "toy", "--out", run)
    assert said.code == 1
    assert said.err.startswith(f"error: {run}/config.toml: {WORDS[number][0]}")
    assert said.err.endswith("; the run had not begun: start it again\n")
    assert len(said.err.splitlines()) == 1
    assert not run.exists()


def test_full_disk_while_training_says_how_to_go_on(cst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also the manifest cannot be written any more: what is said is of the file that failed first."""
    write = Path.write_bytes
    tried = list[str]()

    def refused(self: Path, data: bytes) -> int:
        tried.append(self.name)
        if any(".resume.pt." in name for name in tried):
            raise failing(errno.ENOSPC)
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", refused)
    run = tmp_path / "run"
    said = cst("train", "--backend", "toy", "--set", "iterations=60", "--out", run)
    assert said.code == 1
    assert said.err.startswith(f"error: {run}/resume.pt: cannot be written (No space left on device); free space")
    assert said.err.endswith(f"; go on with: cst train --resume --out {run}\n")
    assert ".manifest.json." in tried[-1]
