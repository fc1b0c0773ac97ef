"""Files of strangers that would run code, or write where they should not."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.scene import Fault, Outcome, Scene


class _Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self._path,)


def _pickled_model(scene: Scene) -> Outcome:
    trap = scene.folder / "TRAP"
    (scene.folder / "MODEL.safetensors").write_bytes(pickle.dumps(_Bomb(trap)))
    said = scene.cst("evaluate", "--backend", "toy", "--model", "MODEL.safetensors")
    left = scene.strangers("MODEL.safetensors")
    return Outcome(said, {"its code did not run": not trap.exists()} | _goes_off(scene, trap), left)


def _goes_off(scene: Scene, trap: Path) -> dict[str, bool]:
    """That the trap is one."""
    pickle.loads((scene.folder / "MODEL.safetensors").read_bytes())
    return {"unpickled, it would have": trap.exists()}


def _pickled_checkpoint(scene: Scene) -> Outcome:
    trap, run = scene.folder / "TRAP", scene.stopped_run()
    with zipfile.ZipFile(run / "resume.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Bomb(trap)))
        archive.writestr("archive/version", "3\n")
    (run / "resume.previous.pt").unlink()
    said = scene.cst("train", "--resume", "--out", "RUN")
    return Outcome(said, {"its code did not run": not trap.exists()}, scene.strangers("RUN"))


def _climbing_checkpoint(scene: Scene) -> Outcome:
    run = scene.stopped_run()
    names = ("../TRAP", "../../TRAP", str(scene.folder / "TRAP"), "archive/../../TRAP")
    with zipfile.ZipFile(run / "resume.pt", "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    (run / "resume.previous.pt").unlink()
    said = scene.cst("train", "--resume", "--out", "RUN")
    outside = not any(folder.joinpath("TRAP").exists() for folder in (run, *run.parents))
    return Outcome(said, {"nothing is written outside": outside}, scene.strangers("RUN"))


_REFUSED = ("RUN/resume.pt: is damaged", "to train on start a new run with another --out")
STRANGERS = (
    Fault(
        "pickle-as-model",
        "A pickle that would make a folder is given to `--model`.",
        1,
        ("MODEL.safetensors: is damaged or no safetensors file", "copy it again, or train again"),
        _pickled_model,
    ),
    Fault(
        "pickle-as-checkpoint",
        "The checkpoint of a run holds such a pickle.",
        1,
        _REFUSED,
        _pickled_checkpoint,
    ),
    Fault(
        "zip-that-climbs",
        "The checkpoint of a run is a zip with names such as `../TRAP`.",
        1,
        _REFUSED,
        _climbing_checkpoint,
    ),
)
