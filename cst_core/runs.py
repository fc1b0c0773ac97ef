"""The run folder: what training leaves on disk, and how it is continued after a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn

from cst_core.environment import devices, version, versions
from cst_core.errors import CheckpointError, ConfigError, CstError, DataError
from cst_core.event import Event
from cst_core.eventlog import EventLog, now
from cst_core.files import PARTIAL, remove_leftovers, write_atomically
from cst_core.labels import remove_labels
from cst_core.lock import LOCK, lock
from cst_core.manifest import MANIFEST, Origin, read_manifest
from cst_core.models import save_model
from cst_core.refusal import RefusedError
from cst_core.scalars import ScalarWriter
from cst_core.snapshots import Snapshot, load_snapshot, save_snapshot

CONFIG = "config.toml"
RESUME = "resume.pt"
PREVIOUS = "resume.previous.pt"


class Run:
    """A run folder, held by this process alone; implements `cst_core.training.Memory`.

    `Run.new` or `Run.existing` take the folder, `begin` or `check` and `resume` say what the run is made from. Use it
    as a context manager: leaving it notes in the manifest how the run ended, and gives the folder back.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Only through `new` and `existing`."""
        self.folder = folder
        self.config_file = folder / CONFIG
        self.labels_folder = folder / "labels"  # a cache: may be deleted at any time
        self._say = say
        self._manifest: dict[str, Any] = {}
        self._board: ScalarWriter | None = None
        self._running = False
        self._log = EventLog(folder / "log.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = lock(folder)
        remove_leftovers(folder)

    @classmethod
    def new(cls, folder: Path, say: Callable[[str], None] = lambda _: None) -> Run:
        """Take a folder that does not exist or is empty.

        Raises:
            CstError: the folder is in use, is not empty, or cannot be made.
        """
        # A process that was killed before its run had begun leaves no more than these.
        unborn = {LOCK, CONFIG}
        if folder.exists() and not folder.is_dir():
            raise CstError(f"--out {folder}: is a file; choose another --out")
        if folder.is_dir() and (others := {p.name for p in folder.iterdir() if not p.match(PARTIAL)} - unborn):
            raise CstError(
                f"--out {folder}: is not empty (it holds {sorted(others)[0]}); "
                "continue that run with --resume, or choose another --out"
            )
        return cls(folder, say)

    @classmethod
    def existing(cls, folder: Path, say: Callable[[str], None] = lambda _: None) -> Run:
        """Take the folder of a run that was begun earlier.

        Raises:
            CstError: there is no such run, or it is in use.
        """
        if not folder.is_dir():
            raise CstError(f"--resume: there is no run folder {folder}; check --out, or leave --resume out")
        if not (folder / MANIFEST).exists():
            rule = f"holds no run (no {MANIFEST}); check --out, or leave --resume out if it is empty"
            raise CstError(f"--resume: {folder} {rule}")
        run = cls(folder, say)
        try:
            run._manifest = read_manifest(folder)
        except CstError:
            run.close("")
            raise
        return run

    @property
    def origin(self) -> Origin:
        """What the manifest says the run is made from."""
        try:
            return Origin(**self._manifest["origin"])
        except (KeyError, TypeError):
            raise CheckpointError(f"{self.folder / MANIFEST}: is no manifest of a run; start a new one") from None

    def begin(self, origin: Origin, config: str, command: list[str]) -> None:
        """Write configuration (TOML) and manifest; from here on the run can be resumed."""
        write_atomically(self.config_file, config.encode())
        self._manifest = {
            **versions(),
            "device_name": devices().get(origin.device, "unknown"),
            "command": command,
            "phantom": origin.data == "phantom",
            "origin": asdict(origin),
            "started": now(),
            "resumed": [],
            "ended": None,
            "status": "running",
        }
        self._write_manifest()
        self._running = True

    def check(self, backend: str, fold: int | None, changed: list[str]) -> None:
        """That the run is of this backend and fold, and ``changed`` (see `cst_core.config.differences`) is empty.

        Raises:
            ConfigError: it is not; names what differs.
        """
        before = self.origin
        for name, ours, theirs in (("backend", before.backend, backend), ("fold", before.fold, fold)):
            if ours != theirs:
                raise ConfigError(
                    f"--resume: the run in {self.folder} has {name} {ours}, not {theirs}; leave --{name} out"
                )
        if changed:
            raise ConfigError(
                f"--resume: the run in {self.folder} has another configuration "
                f"({'; '.join(changed)} given now); leave that out, or start a new run with another --out"
            )

    def resume(self, origin: Origin) -> None:
        """Continue with the data of ``origin``; the device may be another one.

        A half-written last line of the log is dropped.

        Raises:
            DataError: the data is not what the run was trained on.
        """
        before = self.origin
        if before.fingerprint != origin.fingerprint:
            raise DataError(
                f"--resume: {origin.data} is not what the run in {self.folder} was trained on "
                f"(fingerprint {origin.fingerprint[:12]}, not {before.fingerprint[:12]}); "
                "restore the data or pass --data"
            )
        if before.device != origin.device:
            self._say(f"note: begun on {before.device}, going on with {origin.device}: the result may differ a little")
        if self._manifest["cst"] != version():
            self._say(f"note: the run was begun with cst {self._manifest['cst']}, this is {version()}")
        self._log.repair()
        self._manifest["resumed"].append(now())
        self._manifest |= {"ended": None, "status": "running"}
        self._write_manifest()
        self._running = True

    def save(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the last one, which stays as ``resume.previous.pt``.

        Raises:
            CstError: it cannot be written; the last one is still there.
        """
        save_snapshot(snapshot, self.folder / RESUME, self.folder / PREVIOUS)
        remove_labels(self.labels_folder, snapshot.stage)

    def load(self) -> Snapshot | None:
        """The last snapshot; the one before where the last is damaged; None where no snapshot was ever taken.

        Raises:
            CheckpointError: what there is, is damaged.
        """
        snapshot = load_snapshot(self.folder / RESUME, self.folder / PREVIOUS, self._say)
        if snapshot:
            remove_labels(self.labels_folder, snapshot.stage)
        elif self._manifest.get("resumed"):
            self._say(f"{self.folder} holds no snapshot yet: starting from the beginning")
        return snapshot

    def watch(self, event: Event) -> None:
        """Log a progress event, for people also as TensorBoard scalars."""
        values = {key: value for key, value in event._asdict().items() if key != "kind"}
        self._log.append(event.kind, values)
        if event.kind == "step":
            at = (event.stage - 1) * event.total + event.done
            self._scalar("train/loss_mm" if event.unit else "train/loss", event.value, at)
            self._scalar("train/learning_rate", event.learning_rate, at)

    def evaluated(self, stage: int, summary: Mapping[str, Any]) -> None:
        """Log an evaluation after a stage (0: random features); ``summary`` is `cst_core.evaluation.summary`'s."""
        self._log.append("evaluation", {"stage": stage, **summary})
        for name, value in summary["mean"].items():
            if isinstance(value, float):
                self._scalar(f"test/{name}", value, stage)

    def evaluations(self) -> dict[int, dict[str, Any]]:
        """As `EventLog.evaluations`."""
        return self._log.evaluations()

    def events(self) -> list[dict[str, Any]]:
        """Every line of the log."""
        return self._log.read()

    def finish_stage(self, stage: int, network: nn.Module, config: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
        """Write the weights of a finished stage; ``config`` and ``about`` as for `save_model`."""
        path = self.folder / f"stage-{stage:02d}.safetensors"
        origin = self.origin
        made = {"stage": stage, "fold": origin.fold, "seed": origin.seed, "pairs": origin.n_train}
        save_model(path, network, origin.backend, config, made | dict(about))
        return path

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "finished" if kind is None else "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
        with nullcontext() if kind is None else suppress(RefusedError):  # a full disk does not take the note either
            self.close(status)

    def close(self, status: str) -> None:
        """Note how the run ended and give the folder back, once; a run that never began leaves nothing."""
        if self._lock is None:
            return
        if self._board is not None:
            self._board.close()
        try:
            if self._running:
                self._manifest |= {"ended": now(), "status": status}
                self._write_manifest()
        finally:
            if not (self.folder / MANIFEST).exists():
                (self.folder / LOCK).unlink(missing_ok=True)
                if not any(self.folder.iterdir()):
                    self.folder.rmdir()
            os.close(self._lock)
            self._lock = None

    def _write_manifest(self) -> None:
        write_atomically(self.folder / MANIFEST, (json.dumps(self._manifest, indent=2) + "\n").encode())

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if self._board is None:
            self._board = ScalarWriter(self.folder / "tensorboard")
        self._board.add(tag, value, step)
