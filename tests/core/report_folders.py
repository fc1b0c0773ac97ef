"""Folders as ``cst train`` and ``cst register`` leave them, with known contents, written with nothing but nibabel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHIFT = 6.0  # mm to the patient's right: the displacement at the middle of the body
SPACING = (3.0, 3.0, 8.0)  # of the fixed scan: thick slices
SHAPE = (40, 36, 12)
CENTRE = np.array([5.0, -10.0, 20.0])  # RAS mm


def world(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """RAS mm of every voxel, ``(3, X, Y, Z)``."""
    return np.einsum("wa,axyz->wxyz", affine[:3, :3], np.indices(shape)) + affine[:3, 3, None, None, None]


def grid(shape: Sequence[int], spacing: Sequence[float], axes: str) -> np.ndarray:
    """An affine whose array axes run towards the three letters, such as ``LAS``."""
    affine = np.eye(4)
    for column, (letter, step) in enumerate(zip(axes, spacing, strict=True)):
        row, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[letter]
        affine[:3, column] = 0
        affine[row, column] = sign * step
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def body(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid with two organs at world points ``(3, ...)``: HU and labels."""
    x, y, z = (points - CENTRE[:, None, None, None]) / np.array([45.0, 40.0, 42.0])[:, None, None, None]
    values, labels = np.full(x.shape, -1000.0), np.zeros(x.shape)
    inside = x**2 + y**2 + z**2 < 1
    values[inside] = 40 + 30 * np.sin(9 * x[inside]) * np.cos(7 * y[inside])
    for label, (at, size) in {1: ((-0.4, 0.1, 0.1), 0.3), 2: ((0.4, -0.2, -0.2), 0.22)}.items():
        organ = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2 < size**2
        values[organ], labels[organ] = 150 + 20 * label, label
    return values, labels


def displacement(points: np.ndarray) -> np.ndarray:
    """RAS mm, towards the patient's right, fading away from the middle."""
    from_middle = points - CENTRE[:, None, None, None]
    u = np.zeros_like(points)
    u[0] = SHIFT * np.exp(-(from_middle**2).sum(0) / (2 * 30.0**2))
    return u


def registration_folder(root: Path) -> Path:
    """Fixed and moving scans beside it, and the folder that a registration of them would leave."""
    folder = root / "result"
    folder.mkdir(parents=True)
    fixed_affine, moving_affine = grid(SHAPE, SPACING, "LPS"), grid((44, 30, 34), (3.0, 4.0, 3.0), "PIR")
    points = world(SHAPE, fixed_affine)
    u = displacement(points)
    warped, warped_labels = body(points)  # a perfect registration: the moving scan at x + u(x) is the fixed one
    at_moving = world((44, 30, 34), moving_affine)
    moving, moving_labels = body(at_moving - displacement(at_moving))
    save(root / "fixed.nii.gz", warped.astype(np.int16), fixed_affine)
    save(root / "moving.nii.gz", moving.astype(np.int16), moving_affine)
    save(root / "fixed_labels.nii.gz", warped_labels.astype(np.uint8), fixed_affine)
    save(root / "moving_labels.nii.gz", moving_labels.astype(np.uint8), moving_affine)
    save(folder / "warped.nii.gz", warped.astype(np.float32), fixed_affine)
    save(folder / "warped_labels.nii.gz", warped_labels.astype(np.uint8), fixed_affine)
    lps = (u * np.array([-1, -1, 1])[:, None, None, None]).transpose(1, 2, 3, 0)[:, :, :, None]
    save(folder / "displacement.nii.gz", lps.astype(np.float32), fixed_affine, "vector")
    along = np.gradient(u[0], *SPACING)
    jacobian = 1 - along[0]  # the first array axis runs to the left
    jacobian[20, 18, 6] = -0.5
    save(folder / "jacobian.nii.gz", jacobian.astype(np.float32), fixed_affine)
    save(folder / "confidence.nii.gz", (0.3 * np.abs(u[0])).astype(np.float32), fixed_affine)
    names = ("fixed", "moving", "fixed_labels", "moving_labels")
    inputs = {name: entry(root / f"{name}.nii.gz") for name in names}
    write_result(folder, inputs, "image", grid={"shape": SHAPE, "spacing": SPACING, "affine": fixed_affine.tolist()})
    return folder


def cloud_folder(root: Path, n: int = 400) -> Path:
    """Two clouds beside it, and the folder that a registration of them would leave."""
    folder = root / "result"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    fixed = CENTRE + rng.normal(size=(n, 3)) * [50, 30, 60]
    u = displacement(fixed.T[:, :, None, None])[:, :, 0, 0].T
    for path, values, head in (
        (root / "fixed.csv", fixed, "x,y,z"),
        (root / "moving.csv", fixed[::-1] + u[::-1], "x,y,z"),
        (root / "landmarks.csv", np.hstack([fixed[:20], fixed[:20] + u[:20] + 1]), "fixed_x,fixed_y,fixed_z,moving_x"),
        (folder / "displaced.csv", fixed + u, "x,y,z"),
        (folder / "displacement.csv", u, "x,y,z"),
    ):
        np.savetxt(path, values, delimiter=",", header=head, comments="", fmt="%.4f")
    inputs = {name: entry(root / f"{name}.csv") for name in ("fixed", "moving", "landmarks")}
    errors = {"errors_mm_initial": np.linspace(1, 9, 20).tolist(), "errors_mm": np.linspace(0.2, 3, 20).tolist()}
    marks = {"tre_mm_initial": {"mean": 5.0, "sd": 2.4}, "tre_mm": {"mean": 1.6, "sd": 0.8}, **errors}
    write_result(folder, inputs, "points", landmarks=marks, initial={"tre_mm": 5.0}, final={"tre_mm": 1.6})
    return folder


def write_result(folder: Path, inputs: dict[str, Any], backend: str, **changes: Any) -> None:
    """``register.json`` with plausible figures, and what a test changes."""
    values = {
        "format": "cst-registration-1",
        "cst": "0.1.0",
        "backend": backend,
        "model": {"reference": "abdomen", "description": "a model", "sha256": None},
        "options": {"affine": False},
        "inputs": inputs,
        "grid": None,
        "working_grid": None,
        "affine": {"used": False, "matrix_ras": None, "similarity_before": None, "similarity_after": None},
        "initial": {"dice": 0.61, "dice_per_label": {"liver": 0.8, "spleen": 0.42}, "tre_mm": None, "ncc": 0.8},
        "final": {"dice": 0.86, "dice_per_label": {"liver": 0.92, "spleen": 0.8}, "tre_mm": None, "ncc": 0.97},
        "sdlogj": 0.2,
        "sdlogj_l2r": 0.05,
        "folding_percent": 0.006,
        "displacement_mm": {"mean": 2.1, "p99": 5.5, "max": SHIFT},
        "inverse_residual_mm": {"mean": 0.001, "p999": 0.02, "max": 0.1},
        "confidence": {
            "measure": "forward-backward error",
            "mean_mm": 1.2,
            "p95_mm": 2.9,
            "verdict": "good",
            "text": "Forward and backward agree within 3 mm in 95 % of the body.",
        },
        "landmarks": None,
        "files": {path.name.split(".")[0]: path.name for path in sorted(folder.iterdir())},
        "seconds": {"read": 0.5, "register": 6.1, "write": 1.0, "total": 7.6},
        "notes": ["A note about <this> & that."],
    }
    (folder / "register.json").write_text(json.dumps(values | changes))


def run_folder(root: Path, measure: str = "dice", status: str = "finished") -> Path:
    """A run of two stages on five test pairs, whose measure improves in every pair and stage."""
    folder = root / "run"
    folder.mkdir(parents=True)
    origin = {"backend": "toy", "preset": "quick", "data": "phantom", "fingerprint": "0" * 64, "fold": None, "seed": 0}
    manifest = {"cst": "0.1.0", "python": "3.11", "phantom": True, "command": ["cst", "train"], "status": status,
                "origin": origin | {"device": "cpu", "n_train": 8, "n_test": 5}, "resumed": [],
                "started": "2026-01-01T10:00:00+00:00", "ended": "2026-01-01T11:00:00+00:00"}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "config.toml").write_text('backend = "toy"\n[train]\nstages = 2\n[toy]\nreach = 3\n')
    log = [evaluation(0, measure)]
    for stage in (1, 2):
        log += [event("label", stage, i + 1, 8, 10.0 / stage + i) for i in range(8)]
        log += [event("step", stage, 20 * i + 20, 100, 5.0 - i) for i in range(5)]
        log += [event("stage", stage, stage, 2, 1.0), evaluation(stage, measure)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return folder


def evaluation(stage: int, measure: str) -> dict[str, Any]:
    """As `cst_core.evaluation.summary` has it."""
    values = [0.5 + 0.05 * i + 0.1 * stage if measure == "dice" else 9.0 - i - stage for i in range(5)]
    pairs = [{"id": f"pair_{i}", measure: value, f"{measure}_initial": 0.3, "folding_percent": 0.0, "hd95_mm": None,
              "seconds": 1.0} for i, value in enumerate(values)]  # fmt: skip
    mean: dict[str, Any] = {measure: sum(values) / 5, "folding_percent": 0.0, "seconds": 1.0}
    initial: dict[str, Any] = {measure: 0.3}
    if measure == "dice":
        mean["dice_per_label"] = {"liver": 0.7 + 0.1 * stage, "<spleen>": 0.4 + 0.1 * stage}
    return {"kind": "evaluation", "stage": stage, "initial": initial, "pairs": pairs, "mean": mean}


def event(kind: str, stage: int, done: int, total: int, value: float) -> dict[str, Any]:
    """As the log has `cst_core.training.Event`."""
    return {"kind": kind, "stage": stage, "done": done, "total": total, "value": value, "learning_rate": 0.001}


def entry(path: Path) -> dict[str, str]:
    """An input as ``register.json`` names it."""
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def save(path: Path, values: np.ndarray, affine: np.ndarray, intent: str | None = None) -> None:
    """A NIfTI file."""
    image = nib.Nifti1Image(values, affine)
    if intent:
        image.header.set_intent(intent)
    nib.save(image, path)
