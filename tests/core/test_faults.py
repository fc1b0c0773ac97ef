"""What may go wrong while training, and what is said of it. Kills are in `test_cli` and in `benchmarks/kills`."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cst_core import eventlog
from cst_core.device_memory import memory_advice
from cst_core.errors import CheckpointError, CstError
from cst_core.models import load_model
from cst_core.snapshots import load_snapshot
from cst_core.training import weights_digest

SHORT = ("--backend", "toy", "--set", "stages=2", "--set", "iterations=60")


@pytest.fixture
def whole(cst, toy, tmp_path: Path) -> str:
    """Digest of the weights that nothing has disturbed."""
    assert cst("train", *SHORT, "--out", tmp_path / "whole").code == 0
    return weights_digest(load_model(tmp_path / "whole", toy, "cpu").network)


@pytest.fixture
def stopped(cst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that stopped in the midst of its second stage: its disk was full."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_after(patch, 3)
        said = cst("train", *SHORT, "--out", run)
    assert said.code == 1
    assert "resume.pt: cannot be written (No space left on device); free space" in said.err
    assert "is as it was" in said.err
    assert len(said.err.splitlines()) == 1
    assert torch.load(run / "resume.pt", weights_only=True)["stage"] == 2
    return run


def full_after(patch: pytest.MonkeyPatch, snapshots: int) -> None:
    """No room for any further snapshot."""
    written, write = list[str](), Path.write_bytes

    def limited(self: Path, data: bytes) -> int:
        if ".resume.pt." in self.name:
            written.append(self.name)
            if len(written) > snapshots:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    patch.setattr(Path, "write_bytes", limited)


def ends_the_same(cst, toy, run: Path, whole: str) -> str:
    said = cst("train", "--resume", "--out", run)
    assert said.code == 0, said.err
    assert weights_digest(load_model(run, toy, "cpu").network) == whole
    return said.out


def test_full_disk_then_room_again(cst, toy, stopped: Path, whole: str):
    assert json.loads((stopped / "manifest.json").read_text())["status"] == "failed"
    ends_the_same(cst, toy, stopped, whole)


def test_flipped_bits_in_checkpoint_labels_and_log(cst, toy, stopped: Path, whole: str):
    """The checkpoint's predecessor is used, labels are made again, the log is for people: never silently wrong."""
    files = [stopped / "resume.pt", *stopped.glob("labels/stage-02/*"), stopped / "log.jsonl"]
    assert len(files) > 5
    for number, file in enumerate(files):
        data = bytearray(file.read_bytes())
        middle = range(len(data) // 4, 3 * len(data) // 4) if number == 0 else [len(data) * (1 + number % 3) // 4]
        for at in middle:  # one bit of an archive may lie in its padding
            data[at] ^= 0x10
        file.write_bytes(data)
    said = ends_the_same(cst, toy, stopped, whole)
    assert "resume.pt: is damaged" in said
    assert "going on from the one before it, stage 2" in said or "stage 1" in said


def test_truncated_checkpoint_and_labels(cst, toy, stopped: Path, whole: str):
    for file in (stopped / "resume.pt", *stopped.glob("labels/stage-02/*")):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    said = ends_the_same(cst, toy, stopped, whole)
    assert "resume.pt: is damaged" in said
    assert "start a new run" not in said  # there is no need to


def test_both_checkpoints_damaged(cst, stopped: Path):
    for name in ("resume.pt", "resume.previous.pt"):
        (stopped / name).write_bytes(b"x")
    said = cst("train", "--resume", "--out", stopped)
    assert said.code == 1
    assert "resume.previous.pt: is damaged" in said.err
    assert ", and so is resume.pt; " in said.err
    assert "finished stages (stage-*.safetensors) can be used with --model" in said.err


def test_checkpoint_that_is_a_foreign_pickle(tmp_path: Path):
    """torch would warn of it, and advise to load it with code."""
    with zipfile.ZipFile(tmp_path / "resume.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(tmp_path))
        archive.writestr("archive/version", "3\n")
    with pytest.raises(
        CheckpointError, match=r"resume\.pt: is damaged \(it holds .*: no code is run from it\); finished"
    ):
        load_snapshot(tmp_path / "resume.pt", tmp_path / "none")


def test_clock_that_jumps(cst, toy, stopped: Path, whole: str, monkeypatch: pytest.MonkeyPatch):
    """Files from the future, a clock in the past: nothing goes by either."""
    for file in stopped.rglob("*"):
        os.utime(file, (2**32, 2**32))
    monkeypatch.setattr(eventlog, "now", lambda: "1970-01-01T00:00:00.000+00:00")
    monkeypatch.setattr("time.time", lambda: 0.0)
    ends_the_same(cst, toy, stopped, whole)


def test_last_good_weights_are_kept_after_nan(cst, toy, stopped: Path, monkeypatch: pytest.MonkeyPatch):
    before = {file.name: file.read_bytes() for file in (stopped / "resume.pt", stopped / "stage-01.safetensors")}
    backend = type(toy.backend(toy.config_class(), "cpu"))
    monkeypatch.setattr(backend, "predict", _nan(backend.predict))
    said = cst("train", "--resume", "--out", stopped)
    assert said.code == 1
    assert "stage 2, step" in said.err
    assert "pairs [" in said.err
    assert "the loss is nan; finished stages are intact" in said.err
    assert {name: (stopped / name).read_bytes() for name in before} == before


def _nan(predict: Any) -> Any:
    def broken(*arguments: Any) -> Any:
        fields = predict(*arguments)
        return [field * float("nan") if field.requires_grad else field for field in fields]

    return broken


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_folder_that_cannot_be_written(cst, tmp_path: Path):
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut").chmod(stat.S_IRUSR | stat.S_IXUSR)
    said = cst("train", *SHORT, "--out", tmp_path / "shut" / "run")
    assert said.code == 1
    assert "Permission denied" in said.err


def test_file_system_that_is_read_only(cst, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "run"))

    monkeypatch.setattr(Path, "mkdir", refused)
    said = cst("train", *SHORT, "--out", tmp_path / "run")
    assert said.code == 1
    assert said.err.startswith(f"error: {tmp_path / 'run'}: cannot be written (Read-only file system); choose a folder")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nGPU 0 has"),
            "the GPU is out of memory",
        ),
        (MemoryError(), "the machine is out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "the machine is out"),
    ],
)
def test_memory_that_runs_out(cst, toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str):
    def full(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(type(toy.backend(toy.config_class(), "cpu")), "predict", full)
        said = cst("train", *SHORT, "--out", tmp_path / "run")
    assert said.code == 1
    assert f"training: {words}" in said.err
    assert "or lower a smaller --preset" not in said.err
    assert f"cst train --resume --out {tmp_path / 'run'}" in said.err
    assert len(said.err.splitlines()) == 1


def test_advice_names_the_settings_of_the_backend():
    from cst_core.plugins import load

    for name, setting in (("image", "spacing"), ("points", "candidates")):
        with pytest.raises(CstError, match=rf"lower --set .*{setting}"), memory_advice(load(name), "x"):
            raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="other"), memory_advice(load("points"), "x"):
        raise RuntimeError("other")


def test_flipped_bit_in_a_finished_stage(cst, tmp_path: Path):
    assert cst("train", *SHORT, "--out", tmp_path / "run").code == 0
    file = tmp_path / "run" / "stage-02.safetensors"
    data = np.frombuffer(file.read_bytes(), np.uint8).copy()
    data[-5] ^= 1
    file.write_bytes(data.tobytes())
    said = cst("evaluate", "--backend", "toy", "--model", tmp_path / "run")
    assert said.code == 1
    assert "stage-02.safetensors: is damaged (its checksum does not fit what it holds); copy it again" in said.err
