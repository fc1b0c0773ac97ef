"""Files that cannot be registered or trained on, and some that are taken and said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.faults.scans import affine, cloud, values, write_points, write_scan
from benchmarks.faults.scene import Fault, Outcome, Scene, damage_by_cut

_FIXED, _MOVING = "FIXED.nii.gz", "MOVING.nii.gz"
_PAIR = (_FIXED, _MOVING, "--out", "OUT")
_IMAGE = ("register", "--backend", "image", "--model", "random", *_PAIR)
_POINTS = ("register", "--backend", "points", "--model", "random", "FIXED.csv", "MOVING.csv", "--out", "OUT")
_TRAIN = ("train", "--backend", "image", "--data", "DATA", "--out", "OUT")
Make = Callable[[Scene], None]


def _refused(make: Make, *arguments: str) -> Callable[[Scene], Outcome]:
    """Nothing is made."""

    def provoke(scene: Scene) -> Outcome:
        make(scene)
        inputs = [path.name for path in scene.folder.iterdir()]
        said = scene.cst(*arguments)
        return Outcome(said, {}, scene.strangers(*inputs))

    return provoke


def _images(moving: Callable[[], np.ndarray] = values, world: np.ndarray | None = None) -> Make:
    def make(scene: Scene) -> None:
        write_scan(scene.folder / _FIXED)
        write_scan(scene.folder / _MOVING, moving(), world)

    return make


def _cut(scene: Scene) -> None:
    _images()(scene)
    damage_by_cut(scene.folder / _MOVING)


def _with_nan() -> np.ndarray:
    content = values()
    content[3, 3, 3] = np.nan
    return content


def _with_labels(scene: Scene) -> None:
    _images()(scene)
    write_scan(scene.folder / "LABELS.nii.gz", np.ones((12, 11, 9), np.uint8))


def _with_landmarks(scene: Scene) -> None:
    _images()(scene)
    (scene.folder / "LANDMARKS.csv").write_text("fixed_x,fixed_y,fixed_z,moving_x,moving_y\n1,2,3,4,5\n")


def _clouds(moving: list[list[object]]) -> Make:
    def make(scene: Scene) -> None:
        write_points(scene.folder / "FIXED.csv", cloud())
        write_points(scene.folder / "MOVING.csv", moving)

    return make


def _scans(*names: str) -> Make:
    def make(scene: Scene) -> None:
        for number, name in enumerate(names):
            write_scan(scene.folder / "DATA" / name, seed=number)

    return make


def _case_landmarks(scene: Scene) -> None:
    (scene.folder / "DATA").mkdir()
    for name in ("fixed", "moving"):
        write_points(scene.folder / "DATA" / f"case_01_{name}.csv", cloud())
    write_points(scene.folder / "DATA" / "case_01_landmarks.csv", [[1, 2, 3, 4, 5]] * 3)


def _turned(scene: Scene) -> Outcome:
    write_scan(scene.folder / "DATA" / "a.nii.gz")
    write_scan(scene.folder / "DATA" / "b.nii.gz", values(1), affine() @ np.diag([-1.0, -1.0, 1.0, 1.0]))
    said = scene.cst(*_TRAIN, "--set", "stages=1", "--set", "iterations=1")
    done = (scene.folder / "OUT" / "stage-01.safetensors").exists()
    return Outcome(said, {"it is trained on": done}, scene.strangers("DATA", "OUT"))


def _pairs(scene: Scene) -> None:
    _images()(scene)
    (scene.folder / "PAIRS.csv").write_text(f"id,fixed,moving\na,{_FIXED},{_MOVING}\na,{_MOVING},{_FIXED}\n")


def _apart(scene: Scene) -> None:
    for name, shift in (("a", 0.0), ("b", 10_000.0)):
        write_scan(scene.folder / "DATA" / f"{name}.nii.gz", world=affine(shift_mm=shift))


def _exists(scene: Scene) -> Outcome:
    _images(lambda: values(1))(scene)
    first = scene.cst(*_IMAGE)
    before = {path.name: path.read_bytes() for path in (scene.folder / "OUT").iterdir()}
    said = scene.cst(*_IMAGE)
    now = {path.name: path.read_bytes() for path in (scene.folder / "OUT").iterdir()}
    again = scene.cst(*_IMAGE, "--overwrite")
    after = {
        "the earlier result is as it was": first.code == 0 and now == before,
        "with `--overwrite` it is replaced": again.code == 0,
    }
    return Outcome(said, after, scene.strangers(_FIXED, _MOVING, "OUT"))


def _far_apart(scene: Scene) -> Outcome:
    _images(lambda: values(1), affine(shift_mm=10_000.0))(scene)
    said = scene.cst(*_IMAGE)
    done = (scene.folder / "OUT" / "register.json").exists()
    return Outcome(said, {"a result is written, and its note with it": done}, scene.strangers(_FIXED, _MOVING, "OUT"))


_WORD = [*cloud()[:5], [1.0, "two", 3.0]]
INPUTS = (
    Fault("scan-cut", "Half of a scan is lost.", 1, ("MOVING.nii.gz: ", "cannot be read"), _refused(_cut, *_IMAGE)),
    Fault(
        "scan-4d",
        "A scan with a fourth axis.",
        1,
        ("MOVING.nii.gz: ", "must be one 3-D volume"),
        _refused(_images(lambda: np.stack([values()] * 2, -1)), *_IMAGE),
    ),
    Fault(
        "scan-nan",
        "A voxel is no number.",
        1,
        ("MOVING.nii.gz: ", "voxels must be finite"),
        _refused(_images(_with_nan), *_IMAGE),
    ),
    Fault(
        "scan-constant",
        "All voxels are the same.",
        1,
        ("MOVING.nii.gz: ", "intensities must differ"),
        _refused(_images(lambda: np.full_like(values(), 40.0)), *_IMAGE),
    ),
    Fault(
        "scan-sheared",
        "The axes of a scan are not at right angles.",
        1,
        ("MOVING.nii.gz: ", "must be orthogonal"),
        _refused(_images(values, affine(shear_mm=3.0)), *_IMAGE),
    ),
    Fault("scan-turned", "The axes of a scan are turned.", 0, ("voxel axes turned to right",), _turned),
    Fault("scans-apart", "The scans lie ten metres apart.", 0, ("Note: ",), _far_apart),
    Fault(
        "scans-apart-training",
        "Scans to train on lie ten metres apart.",
        1,
        ("a and b: must share 25% of their fields of view", "pass --set alignment=centre"),
        _refused(_apart, *_TRAIN, "--set", "alignment=world"),
    ),
    Fault(
        "labels-shape",
        "A label map of another shape than its scan.",
        1,
        ("LABELS.nii.gz", "must be on the voxels of"),
        _refused(_with_labels, *_IMAGE, "--moving-labels", "LABELS.nii.gz"),
    ),
    Fault(
        "landmarks-columns",
        "Landmarks with five columns.",
        1,
        ("LANDMARKS.csv: ", "the first line must be fixed_x,fixed_y"),
        _refused(_with_landmarks, *_IMAGE, "--landmarks", "LANDMARKS.csv"),
    ),
    Fault(
        "case-landmarks-columns",
        "Landmarks of a data folder of clouds with five columns.",
        1,
        ("case_01_landmarks.csv", "columns"),
        _refused(_case_landmarks, "train", "--backend", "points", "--data", "DATA", "--out", "OUT"),
    ),
    Fault(
        "cloud-word",
        "A word in the place of a coordinate.",
        1,
        ("MOVING.csv", "two"),
        _refused(_clouds(_WORD), *_POINTS),
    ),
    Fault("cloud-empty", "A cloud without points.", 1, ("MOVING.csv",), _refused(_clouds([]), *_POINTS)),
    Fault(
        "one-scan",
        "A data folder with one scan.",
        1,
        ("DATA", "two"),
        _refused(_scans("a.nii.gz"), *_TRAIN),
    ),
    Fault(
        "scan-twice",
        "A scan as `.nii` and as `.nii.gz`.",
        1,
        ("DATA", "a.nii"),
        _refused(_scans("a.nii.gz", "a.nii", "b.nii.gz"), *_TRAIN),
    ),
    Fault(
        "id-twice",
        "Two pairs of a batch have the same id.",
        1,
        ("PAIRS.csv", "a"),
        _refused(_pairs, "register", "--backend", "image", "--model", "random", "--pairs", "PAIRS.csv", "--out", "OUT"),
    ),
    Fault("result-exists", "`--out` holds an earlier result.", 2, ("--out OUT: exists", "--overwrite"), _exists),
)
