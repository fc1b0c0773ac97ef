"""What torchrun and SLURM say about a process, and the command line on several of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from team_processes import commands

from cst_core.errors import ConfigError
from cst_core.launch import Place, find_place, first_host, open_team
from cst_core.runs import Run
from cst_core.team import Alone, check_batch

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_JOB_ID": "123456", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "gpu[007-008]",
}  # fmt: skip
TRAIN = ("train", "--backend", "toy", "--data", "phantom", "--device", "cpu", "--set", "stages=2")


def test_torchrun():
    assert find_place(TORCHRUN) == Place(5, 8, 1, "node1", 29500)
    again = {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert find_place(again) == Place(5, 8, 1, "node1", 29500, launcher_serves=True, restarts=2)
    assert find_place({**SLURM, **TORCHRUN}) == find_place(TORCHRUN)  # torchrun in a job of SLURM's


def test_slurm():
    assert find_place(SLURM) == Place(3, 4, 1, "gpu007", 23456)
    assert find_place({**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "7"}) == Place(3, 4, 1, "10.0.0.1", 7)


def test_alone():
    assert find_place({}) is None
    # a job's script, which runs once however many tasks the job may have; and a step of one task
    assert find_place({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) is None
    assert find_place({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    with open_team("cpu") as team:
        assert isinstance(team, Alone)
        assert team.broadcast("a") == "a"
        assert team.gather("a") == ["a"]
        assert torch.equal(team.sum(torch.ones(2)), torch.ones(2))


@pytest.mark.parametrize("environ", [{**TORCHRUN, "RANK": "first"}, {**SLURM, "SLURM_PROCID": ""}])
def test_variables_that_make_no_sense(environ: dict[str, str]):
    with pytest.raises(ConfigError, match=r"environment: .*torchrun"):
        find_place(environ)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("one", "one"), ("a1,a2", "a1"), ("gpu[007-009,12],cpu1", "gpu007"), ("n[3,5]", "n3"), ("n[1-2]-ib", "n1-ib")],
)
def test_first_host(nodes: str, first: str):
    assert first_host(nodes) == first


def test_batch_that_cannot_be_divided():
    check_batch(6, SimpleNamespace(rank=0, size=3))
    with pytest.raises(ConfigError, match=r"multiple of the number of processes, 3, got 4; .*batch_size=6"):
        check_batch(4, SimpleNamespace(rank=0, size=3))


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("size", "more", "rank", "what", "words"),
    [
        (3, (), -1, "", "must be a multiple of the number of processes, 3, got 4"),
        (2, ("--set", "nothing=1"), -1, "", "no such key"),
        (2, ("--set", "learning_rate=1e30"), -1, "", "lower learning_rate"),
        (2, (), 1, "cst_toy.backend:ToyBackend:register", "a scan: is broken"),
        (2, (), 0, "cst_toy.plugin:ToyPlugin:score", "a scan: is broken"),
    ],
)
def test_an_error_ends_all_and_is_said_once(
    size: int, more: tuple[str, ...], rank: int, what: str, words: str, tmp_path: Path
):
    arguments = (*TRAIN, "--set", "iterations=5", "--out", str(tmp_path / "run"), *more)
    said = commands(size, arguments, tmp_path, rank, what)
    assert all(one.result in (1, 2) for one in said)
    assert [one.text.count("error: ") for one in said].count(1) == 1
    assert sum(one.text.count("error: ") for one in said) == 1
    assert words in "".join(one.text for one in said)


def test_killed_worker(toy_folder: Path, tmp_path: Path):
    whole = tmp_path / "whole"
    torchrun(whole, toy_folder).communicate(timeout=120)
    run = tmp_path / "killed"
    process = torchrun(run, toy_folder)
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "resume.pt").exists():  # in the middle of the first stage
            os.kill(other_worker(process.pid, run), signal.SIGKILL)
            break
        time.sleep(0.01)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert "Started again after a process had ended: going on with the run" in out
    manifest = json.loads((run / "manifest.json").read_text())
    assert len(manifest["resumed"]) == 1
    assert manifest["status"] == "finished"
    for stage in (1, 2):
        name = f"stage-{stage:02d}.safetensors"
        one, other = ((folder / name).read_bytes() for folder in (whole, run))
        header = 8 + int.from_bytes(one[:8], "little")  # which has seconds in it
        assert one[header:] == other[8 + int.from_bytes(other[:8], "little") :]
    assert Run.existing(run).load() is not None


def torchrun(run: Path, toy_folder: Path) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(toy_folder), "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    command = [sys.executable, *launcher, "-m", "cst_core.cli", *TRAIN, "--set", "iterations=150", "--out", str(run)]
    return subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def other_worker(launcher: int, run: Path) -> int:
    """The process that does not hold the run's folder."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next(int(pid) for pid in children if pid != (run / ".lock").read_text().strip())
