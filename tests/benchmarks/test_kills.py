"""What is found wrong with the folder of a run that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kills.remains import leftovers, place, unsound, weights
from cst_core.cli import main

SHORT = ("--backend", "toy", "--set", "stages=1", "--set", "iterations=60")


@pytest.fixture
def run(toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert toy.name == "toy"
    with pytest.raises(SystemExit) as end:
        main(["train", *SHORT, "--out", str(tmp_path / "run")])
    assert end.value.code == 0, capsys.readouterr().err
    return tmp_path / "run"


def test_a_finished_run_is_whole(run: Path, toy):
    assert unsound(run, toy) == []
    assert leftovers(run) == []
    assert place(run) == "stage 1, after a evaluation"
    assert set(weights(run)) == {"stage-01.safetensors"}


def test_a_cut_file_and_a_stranger_are_seen(run: Path, toy):
    """Whatever is cut short under its final name is named; only files that grow may end anywhere."""
    grown = {"log.jsonl", *(file.name for file in run.glob("tensorboard/*"))}
    files = [file for file in run.rglob("*") if file.is_file() and file.name not in {".lock", *grown}]
    assert len(files) >= 6
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) * 2 // 3] if file.suffix != ".png" else b"")
        found = unsound(run, toy)
        if file.name != "config.toml":  # two thirds of it may be TOML as well
            assert [text.partition(":")[0] for text in found] == [file.relative_to(run).as_posix()]
        file.write_bytes(whole)
    log = run / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    assert unsound(run, toy) == []
    log.write_bytes(b"{\n" + log.read_bytes())
    (run / "strange").touch()
    assert [text.partition(":")[0] for text in unsound(run, toy)] == ["log.jsonl", "strange"]
    (run / ".resume.pt.1.partial").touch()
    assert leftovers(run) == [".resume.pt.1.partial: is left"]


def test_weights_are_told_apart_by_their_tensors_alone(run: Path):
    before, file = weights(run), run / "stage-01.safetensors"
    data = bytearray(file.read_bytes())
    data[8 + int.from_bytes(data[:8], "little") - 2] ^= 1  # in the header
    file.write_bytes(data)
    assert weights(run) == before
    data[-1] ^= 1
    file.write_bytes(data)
    assert weights(run) != before
