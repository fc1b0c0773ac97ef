from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from cst_core.errors import CheckpointError, ConfigError, CstError, DataError
from cst_core.event import Event
from cst_core.eventlog import finite
from cst_core.manifest import Origin
from cst_core.runs import Run
from cst_core.snapshots import Snapshot

ORIGIN = Origin("toy", "quick", "phantom", "f" * 64, None, 0, "cpu", 3, 2)


def snapshot(step: int, stage: int = 1) -> Snapshot:
    network = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.BatchNorm1d(30))
    adam = torch.optim.Adam(network.parameters())
    network(torch.rand(4, 20)).sum().backward()
    adam.step()
    return Snapshot(stage, step, network.state_dict(), network.state_dict(), adam.state_dict())


def same(one: Snapshot | None, other: Snapshot) -> bool:
    if one is None or (one.stage, one.step) != (other.stage, other.step):
        return False
    moments = all(
        torch.equal(one.optimizer["state"][k]["exp_avg"], other.optimizer["state"][k]["exp_avg"])
        for k in other.optimizer["state"]
    )
    weights = all(torch.equal(one.network[k], other.network[k]) for k in other.network)
    return moments and weights and one.optimizer["param_groups"] == other.optimizer["param_groups"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def run(folder: Path):
    with Run.new(folder) as run:
        run.begin(ORIGIN, 'backend = "toy"\n', ["cst", "train"])
        yield run


def test_snapshot_round_trip(run: Run):
    assert run.load() is None
    first, second = snapshot(50), snapshot(100)
    run.save(first)
    assert same(run.load(), first)
    run.save(second)
    assert same(run.load(), second)
    # nothing in the file needs unpickling of code
    assert torch.load(run.folder / "resume.pt", weights_only=True)["step"] == 100
    assert torch.load(run.folder / "resume.previous.pt", weights_only=True)["step"] == 50


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_damaged_snapshot_falls_back_to_the_previous(run: Run, damage: str):
    first, second, third = snapshot(50), snapshot(100), snapshot(150)
    run.save(first)
    run.save(second)
    said: list[str] = []
    run._say = said.append
    path = run.folder / "resume.pt"
    _damage(path, damage, second)
    assert same(run.load(), first)
    assert (damage == "missing") == (not said)  # a kill between two renames is no damage
    # the good one must survive the next save
    run.save(third)
    _damage(path, "truncated", third)
    assert same(run.load(), first)


def _damage(path: Path, how: str, held: Snapshot) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        place = data.index(held.network["0.weight"].numpy().tobytes()) + 1001  # a weight: the file still loads
        data[place] ^= 4
        path.write_bytes(data)
        torch.load(path, weights_only=True)
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2 if how == "truncated" else 0])


def test_nothing_good_left_is_said(run: Run):
    run.save(snapshot(50))
    (run.folder / "resume.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"resume\.pt: is damaged .* another --out"):
        run.load()


def test_flipped_bit_in_adam_is_found(run: Run):
    held = snapshot(50)
    run.save(held)
    path = run.folder / "resume.pt"
    data = bytearray(path.read_bytes())
    data[data.index(held.optimizer["state"][0]["exp_avg_sq"].numpy().tobytes()) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        run.load()


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_full_disk_leaves_the_old_snapshot(run: Run, monkeypatch: pytest.MonkeyPatch, where: str):
    first = snapshot(50)
    run.save(first)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(Path, "write_bytes", full)
        else:
            patch.setattr(os, where, full)
        with pytest.raises(CstError, match=r"resume\.pt: cannot be written \(No space left.*as it was"):
            run.save(snapshot(100))
    assert same(run.load(), first)
    assert not list(run.folder.glob(".*.partial"))


def test_full_disk_after_the_first_rename(run: Run, monkeypatch: pytest.MonkeyPatch):
    first = snapshot(50)
    run.save(first)
    real = os.replace

    def full(source, target):
        if Path(target).name == "resume.pt":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(CstError, match=r"resume\.previous\.pt is as it was"):
            run.save(snapshot(100))
    assert same(run.load(), first)


def test_folder_that_holds_something_is_refused(folder: Path):
    folder.mkdir()
    (folder / "holiday.jpg").write_text("x")
    with pytest.raises(CstError, match=r"not empty .*holiday\.jpg.*--resume.*another --out"):
        Run.new(folder)
    with pytest.raises(CstError, match="holds no run"):
        Run.existing(folder)
    file = folder / "holiday.jpg"
    with pytest.raises(CstError, match="is a file"):
        Run.new(file)


@pytest.mark.usefixtures("run")
def test_two_processes_cannot_share_a_folder(folder: Path):
    with pytest.raises(CstError, match=rf"in use by another process \(pid {os.getpid()}\)"):
        Run.existing(folder)


def test_lock_is_given_back(folder: Path):
    with Run.new(folder) as run:
        run.begin(ORIGIN, "", [])
    Run.existing(folder).close("")


def test_run_that_never_began_leaves_nothing(folder: Path):
    with pytest.raises(DataError), Run.new(folder):
        raise DataError("no data")
    assert not folder.exists()
    # killed before its manifest was written: can be begun again
    folder.mkdir()
    (folder / ".lock").write_text("1\n")
    (folder / "config.toml").write_text("half")
    Run.new(folder).close("")


@pytest.mark.parametrize(
    ("error", "status"), [(None, "finished"), (KeyboardInterrupt(), "interrupted"), (ValueError(), "failed")]
)
def test_manifest_says_how_it_ended(folder: Path, error: BaseException | None, status: str):
    try:
        with Run.new(folder) as run:
            run.begin(ORIGIN, "", ["cst"])
            assert json.loads((folder / "manifest.json").read_text())["status"] == "running"
            if error:
                raise error
    except BaseException as raised:
        assert raised is error  # noqa: PT017
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == status
    assert manifest["ended"] >= manifest["started"]


def test_resume_checks_what_it_continues(run: Run):
    run.check("toy", None, [])
    run.resume(ORIGIN)
    with pytest.raises(ConfigError, match="backend toy, not points"):
        run.check("points", None, [])
    with pytest.raises(ConfigError, match="fold None, not 2"):
        run.check("toy", 2, [])
    with pytest.raises(ConfigError, match=r"train\.seed is 0, 1"):
        run.check("toy", None, ["train.seed is 0, 1"])
    with pytest.raises(DataError, match="fingerprint"):
        run.resume(ORIGIN.__class__(**{**ORIGIN.__dict__, "fingerprint": "0" * 64}))


def test_resume_before_the_first_snapshot_says_so(run: Run):
    said: list[str] = []
    run._say = said.append
    run.resume(ORIGIN)
    assert run.load() is None
    assert "from the beginning" in said[0]


def test_half_written_line_is_dropped(run: Run):
    run.watch(Event("step", 1, 20, 100, 1.5, 1e-3))
    with (run.folder / "log.jsonl").open("a") as log:
        log.write('{"kind": "st')
    run.resume(ORIGIN)
    run.watch(Event("step", 1, 40, 100, float("nan"), 1e-3))
    assert [(event["done"], event["value"]) for event in run.events()] == [(20, 1.5), (40, None)]
    assert list((run.folder / "tensorboard").iterdir())


def test_curves_are_what_tensorboard_reads(run: Run):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    run.watch(Event("step", 2, 20, 100, 1.5, 1e-3))
    run.evaluated(2, {"mean": {"tre_mm": 2.5, "dice": None}})
    (file,) = (run.folder / "tensorboard").iterdir()
    points = [(v.tag, e.step) for e in EventFileLoader(str(file)).Load() for v in e.summary.value]  # not yet closed
    assert points == [("train/loss_mm", 120), ("train/learning_rate", 120), ("test/tre_mm", 2)]


def test_damaged_manifest_is_named(folder: Path):
    folder.mkdir()
    (folder / "manifest.json").write_text('{"origin": {')
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        Run.existing(folder)


def test_labels_of_finished_stages_and_leftovers_go(run: Run, folder: Path):
    for stage in (1, 2):
        (folder / f"labels/stage-{stage:02d}").mkdir(parents=True)
    run.save(snapshot(0, stage=2))
    assert [path.name for path in (folder / "labels").iterdir()] == ["stage-02"]
    leftover = folder / "labels/stage-02/.000001.npy.77.partial"
    leftover.write_text("x")
    run.close("")
    with Run.existing(folder):
        assert not leftover.exists()


def test_labels_go_whole_when_killed_in_the_middle(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Never an index without its labels: the folder loses its name first, and the rest goes with the next process."""
    labels = folder / "labels/stage-01"
    labels.mkdir(parents=True)
    for name in ("000000.npy", "000001.npy", "index.jsonl"):
        (labels / name).write_text("x")

    def killed(path: Path, **_: object) -> None:
        (path / "000001.npy").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            run.save(snapshot(0, stage=2))
    assert not labels.exists()
    assert list(folder.rglob("index.jsonl"))
    run.close("")
    with Run.existing(folder):
        assert not list(folder.rglob("index.jsonl"))


def test_labels_of_a_stage_that_was_finished_go_on_resume(run: Run, folder: Path):
    """Killed between the snapshot and the removal."""
    run.save(snapshot(0, stage=2))
    (folder / "labels/stage-01").mkdir(parents=True)
    assert run.load()
    assert not list((folder / "labels").iterdir())


def test_finite():
    assert finite({"a": [1.0, float("nan"), {"b": float("inf")}], "c": None}) == {
        "a": [1.0, None, {"b": None}],
        "c": None,
    }
