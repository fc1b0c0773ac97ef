"""Do SimpleITK and ANTs reproduce our transforms? One pair, turned, flipped and resampled, registered, judged by both.

    python benchmarks/interchange.py FIXED MOVING --model MODEL [--json FILE]

For every kind of grid: ``cst register`` from files to files, then both libraries apply displacement.nii.gz to the
original moving file (largest difference to warped.nii.gz in the interior, per cent of the intensity range) and map
points, forth and back (largest distance to ``Transform.map``, mm); the inverse's residual; and how well ``cst apply``
brings an image there and back. Needs antspyx. 3D Slicer reads these files by ITK's own classes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import ants
import nibabel
import numpy as np
import pandas
import SimpleITK
import torch
from nibabel.affines import apply_affine
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from record import circumstances, write
from scipy import ndimage

from cst_core.transforms_io import read_transform


class Kind(NamedTuple):
    """What is done to a scan before it is registered."""

    axes: str = "RAS"
    zoom: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Voxels become so much longer."""
    degrees: float = 0.0
    """By which the patient lay turned, about an oblique axis: of the header alone, so the world turns with it."""


PAIRS: dict[str, tuple[Kind, Kind]] = {
    "as it is": (Kind(), Kind()),
    "LAS, PSR": (Kind("LAS"), Kind("PSR")),
    "anisotropic": (Kind("RAS", (1.0, 1.0, 2.0)), Kind("RAS", (1.5, 1.0, 1.0))),
    "oblique": (Kind(degrees=8.0), Kind(degrees=-6.0)),
    "all of it": (Kind("LAS", (1.0, 1.5, 1.0), 7.0), Kind("PSR", (1.0, 1.0, 2.0), -9.0)),
}
POINTS = 500
FLIP = np.array([-1.0, -1.0, 1.0])


def main() -> None:
    """Every kind of pair, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for name, kinds in PAIRS.items():
        with tempfile.TemporaryDirectory() as folder:
            scans = [Path(folder) / part for part in ("fixed.nii.gz", "moving.nii.gz")]
            for source, kind, target in zip((options.fixed, options.moving), kinds, scans, strict=True):
                nibabel.save(changed(_load(source), kind), target)
            row = {"pair": name, **judged(scans[0], scans[1], options.model, Path(folder))}
        rows.append(row)
        print("  ".join(f"{key} {value:.2g}" if isinstance(value, float) else value for key, value in row.items()))
    write({"model": options.model, "rows": rows} | circumstances(torch.get_num_threads()), options.json)


def changed(image: Any, kind: Kind) -> Any:
    """A scan on another grid that shows the same."""
    values, affine = image.get_fdata(dtype=np.float32), image.affine
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(kind.axes))
    values, affine = nibabel.apply_orientation(values, turn), affine @ inv_ornt_aff(turn, values.shape)
    values = ndimage.zoom(values, [1 / z for z in kind.zoom], order=1, grid_mode=True, mode="nearest")
    scale = np.diag([*kind.zoom, 1.0])
    scale[:3, 3] = [(z - 1) / 2 for z in kind.zoom]
    rotation = np.eye(4)
    axis = np.array([1.0, 2.0, 3.0]) / np.sqrt(14.0)
    cross = np.cross(np.eye(3), axis)
    angle = np.deg2rad(kind.degrees)
    rotation[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return nibabel.Nifti1Image(values, rotation @ affine @ scale)


def judged(fixed: Path, moving: Path, model: str, folder: Path) -> dict[str, float]:
    """Register, and compare what each library makes of the files."""
    out = folder / "out"
    command = ["cst", "register", "--backend", "image", "--model", model, str(fixed), str(moving), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    forward, backward = out / "displacement.nii.gz", out / "displacement_inverse.nii.gz"
    warped = _load(out / "warped.nii.gz").get_fdata()
    inside = ndimage.binary_erosion(_led_inside(forward, moving, warped.shape), iterations=2)
    span = float(np.ptp(_load(moving).get_fdata()))
    found = {
        "SimpleITK %": 100 * np.abs(_by_itk(forward, fixed, moving) - warped)[inside].max() / span,
        "ANTs %": 100 * np.abs(_by_ants(forward, fixed, moving) - warped)[inside].max() / span,
    }
    for way, field, scan in (("forth", forward, fixed), ("back", backward, moving)):
        points = _points(scan)
        ours = read_transform(field).map(torch.from_numpy(points)).numpy()
        found[f"SimpleITK {way} mm"] = float(np.linalg.norm(_points_by_itk(field, points) - ours, axis=1).max())
        found[f"ANTs {way} mm"] = float(np.linalg.norm(_points_by_ants(field, points) - ours, axis=1).max())
    told = json.loads((out / "register.json").read_text())
    found |= {f"inverse {key} mm": value for key, value in told["inverse_residual_mm"].items()}
    return {name: float(value) for name, value in found.items()} | _there_and_back(out, fixed, folder)


def _there_and_back(out: Path, fixed: Path, folder: Path) -> dict[str, float]:
    """The fixed scan onto the moving grid and back: mean difference in the interior, per cent of the range."""
    there, back = folder / "there.nii.gz", folder / "back.nii.gz"
    moving = folder / "moving.nii.gz"
    for source, like, target, more in ((fixed, moving, there, ["--inverse"]), (there, fixed, back, [])):
        command = ["cst", "apply", str(out), str(source), "--like", str(like), "--out", str(target), *more]
        subprocess.run(command, check=True, capture_output=True)
    before, after = (_load(path).get_fdata() for path in (fixed, back))
    inside = ndimage.binary_erosion(_led_inside(out / "displacement.nii.gz", moving, before.shape), iterations=3)
    blurred = ndimage.gaussian_filter(before, 0.7)  # two linear interpolations are a blur of about that
    difference = np.abs(after - blurred)[inside]
    return {"there and back %": float(100 * difference.mean() / np.ptp(before))}


def _led_inside(field: Path, moving: Path, shape: tuple[int, ...]) -> np.ndarray:
    image, scan = _load(field), _load(moving)
    places = apply_affine(image.affine, np.moveaxis(np.indices(shape), 0, -1))
    places = places + image.get_fdata()[:, :, :, 0] * FLIP
    index = apply_affine(np.linalg.inv(scan.affine), places)
    return np.all((index >= 0) & (index <= np.array(scan.shape) - 1), axis=-1)


def _points(scan: Path) -> np.ndarray:
    """RAS mm, in the middle eight tenths of a scan."""
    image = _load(scan)
    share = np.random.default_rng(0).uniform(0.1, 0.9, (POINTS, 3))
    return apply_affine(image.affine, share * (np.array(image.shape) - 1))


def _load(path: Path) -> Any:
    return nibabel.load(path)


def _itk(field: Path) -> Any:
    return SimpleITK.DisplacementFieldTransform(SimpleITK.ReadImage(str(field), SimpleITK.sitkVectorFloat64))


def _by_itk(field: Path, fixed: Path, moving: Path) -> np.ndarray:
    made = SimpleITK.Resample(
        *(SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32) for path in (moving, fixed)), _itk(field)
    )
    return SimpleITK.GetArrayFromImage(made).T


def _points_by_itk(field: Path, points: np.ndarray) -> np.ndarray:
    transform = _itk(field)
    return np.array([transform.TransformPoint((FLIP * point).tolist()) for point in points]) * FLIP


def _by_ants(field: Path, fixed: Path, moving: Path) -> np.ndarray:
    images = (ants.image_read(str(path)) for path in (fixed, moving))
    made: Any = ants.apply_transforms(*images, transformlist=[str(field)], interpolator="linear")
    return made.numpy()


def _points_by_ants(field: Path, points: np.ndarray) -> np.ndarray:
    table = pandas.DataFrame(points * FLIP, columns=["x", "y", "z"])
    made: Any = ants.apply_transforms_to_points(3, table, [str(field)])
    return made[["x", "y", "z"]].to_numpy() * FLIP


if __name__ == "__main__":
    main()
