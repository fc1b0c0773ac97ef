"""The volumes of a registration as a browser can show them: slices in three planes, maps and contours over them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from cst_core.errors import DataError
from cst_core.report.mosaic import Window, columns, contrast, exact, label_bytes, lattice, lossy
from cst_core.report.result_folder import ResultFolder
from cst_core.report.volume_file import Volume, read_header, read_vectors, read_volume, reduction

MOST_VOXELS = 8e6  # of every volume in a page
MAP_BYTES = 300_000  # of every colour map: they are smooth
MOST_NODES = 30_000  # of the deformed grid
STEPS_A_MM = 100.0  # of the displacements that the deformed grid is drawn with


def planes_of(result: ResultFolder) -> dict[str, Any] | None:
    """Everything that ``viewer.js`` needs; None where there is no fixed volume. Notes say what is missing."""
    fixed = result.input("fixed")
    frame = fixed if fixed and _is_volume(fixed) else result.output("warped.nii.gz")
    if frame is None or not _is_volume(frame):
        return None
    header = read_header(frame)
    factors = reduction(header.shape, header.spacing, MOST_VOXELS)
    shown = read_volume(frame, factors, "mean")
    reader = _Reader(result, factors, shown, header.shape)
    images = reader.images(fixed is not None)
    labels, centre = reader.labels()
    spacing = np.linalg.norm(shown.affine[:3, :3], axis=0)
    maps, grid = reader.maps()
    return {
        "shape": shown.values.shape,
        "spacing": spacing.tolist(),
        "origin": shown.affine[:3, 3].tolist() if header.tilt < 1 else None,
        "tilt": header.tilt,
        "columns": columns(shown.values.shape),
        "start": centre or [n // 2 for n in shown.values.shape],
        "images": images,
        "labels": labels,
        "maps": maps,
        "field": grid,
        "reduced": max(factors),
    }


class _Reader:
    """Reads one file after the other onto the displayed grid, and keeps only what the page will hold."""

    def __init__(
        self, result: ResultFolder, factors: tuple[int, int, int], shown: Volume, full: tuple[int, int, int]
    ) -> None:
        self._result, self._factors, self._shown, self._full = result, factors, shown, full
        used = result.section("affine").get("matrix_ras")
        self._affine = np.asarray(used, dtype=np.float64) if used is not None else None

    def images(self, has_fixed: bool) -> list[dict[str, str]]:
        """Fixed, warped, and the moving image as its header (and the affine) places it."""
        layers = [("warped", "moving, registered", self._output("warped.nii.gz", "mean"))]
        if (path := self._result.input("moving")) and _is_volume(path):
            moving = self._try(lambda: _own(path, "mean"))
            if moving is not None:
                if self._affine is not None:
                    layers.append(("affine", "moving, affine only", self._brought(moving, self._affine, 1)))
                layers.append(("moving", "moving, as given", self._brought(moving, np.eye(4), 1)))
        greys = [(key, name, values) for key, name, values in layers if values is not None]
        window = contrast(greys[0][2]) if greys else Window(0.0, 1.0)
        found = []
        if has_fixed:
            own = contrast(self._shown.values)
            if greys and _alike(own, window):  # one scale for both, so that a difference is one of intensities
                own = window = Window(0.5 * (own.low + window.low), 0.5 * (own.high + window.high))
            found.append({"key": "fixed", "name": "fixed", "uri": lossy(own.bytes(self._shown.values))})
        return found + [{"key": key, "name": name, "uri": lossy(window.bytes(v))} for key, name, v in greys]

    def labels(self) -> tuple[dict[str, str], list[int] | None]:
        """Label maps by the image they belong to, and the middle of the fixed ones."""
        known: list[int] = []
        found, centre = {}, None
        if path := self._result.input("fixed_labels"):
            values = self._read(path, "nearest")
            if values is not None:
                found["fixed"] = exact(label_bytes(values, known))
                inside = np.argwhere(values != 0)
                centre = [round(float(v)) for v in inside.mean(axis=0)] if len(inside) else None
        values = self._output("warped_labels.nii.gz", "nearest")
        if values is not None:
            found["warped"] = exact(label_bytes(values, known))
        if path := self._result.input("moving_labels"):
            moving = self._try(lambda: _own(path, "nearest"))
            if moving is not None:
                found["moving"] = exact(label_bytes(self._brought(moving, np.eye(4), 0), known))
                if self._affine is not None:
                    found["affine"] = exact(label_bytes(self._brought(moving, self._affine, 0), known))
        return found, centre

    def maps(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Colour maps, and the displacements on a coarse grid."""
        found, grid = [], None
        vectors = self._vectors()
        if vectors is not None:
            length = np.linalg.norm(vectors, axis=-1)
            found.append(_millimetres("displacement", "length of the displacement", length))
            grid = _coarse(vectors, self._shown.affine)
        jacobian = self._output("jacobian.nii.gz", "least")
        if jacobian is not None:
            found.append(
                {
                    "key": "jacobian",
                    "name": "change of volume (Jacobian)",
                    "uri": lossy(Window(-2.0, 2.0).bytes(np.log2(np.maximum(jacobian, 1e-3))), MAP_BYTES),
                    "folds": exact((jacobian <= 0).astype(np.uint8) * 255) if (jacobian <= 0).any() else None,
                    "ticks": ["¼", "½", "1", "2", "4 times"],
                    "colours": "diverging",
                }
            )
        confidence = self._output("confidence.nii.gz", "mean")
        if confidence is not None:
            found.append(_millimetres("confidence", self._result.uncertainty, confidence))
        return found, grid

    def _vectors(self) -> np.ndarray | None:
        """World mm on the displayed grid, without what the affine alone does: A^-1 (x + u(x)) - x."""
        path = self._result.output("displacement.nii.gz")
        volume = self._try(lambda: read_vectors(path, self._factors)) if path else None
        if volume is None or not self._fits(volume.values, "displacement.nii.gz"):
            return None
        if self._affine is None:
            return volume.values
        back = np.linalg.inv(self._affine)
        world = _world(self._shown)
        return (volume.values + world) @ back[:3, :3].T.astype(np.float32) + back[:3, 3].astype(np.float32) - world

    def _output(self, name: str, how: Any) -> np.ndarray | None:
        path = self._result.output(name)
        return self._read(path, how) if path else None

    def _read(self, path: Path, how: Any) -> np.ndarray | None:
        """A file on the fixed grid."""
        volume = self._try(lambda: read_volume(path, self._factors, how))
        return volume.values if volume is not None and self._fits(volume.values, path.name) else None

    def _fits(self, values: np.ndarray, name: str) -> bool:
        if values.shape[:3] == self._shown.values.shape:
            return True
        self._result.notes.append(f"{name} is not on the fixed image's grid: not shown.")
        return False

    def _try(self, read: Callable[[], Volume]) -> Volume | None:
        try:
            return read()
        except DataError as error:
            self._result.notes.append(f"{error}: shown without it.")
            return None

    def _brought(self, moving: Volume, affine: Float64[np.ndarray, "4 4"], order: int) -> np.ndarray:
        """The moving volume on the displayed grid; ``affine`` leads from fixed to moving world."""
        index = np.linalg.inv(moving.affine) @ affine @ self._shown.affine
        values = moving.values.astype(np.float32)
        outside = float(values.min()) if order else 0.0
        shape = self._shown.values.shape
        return ndimage.affine_transform(values, index, output_shape=shape, order=order, cval=outside)


def _own(path: Path, how: Any) -> Volume:
    """A file on its own grid, reduced as its own size asks."""
    header = read_header(path)
    return read_volume(path, reduction(header.shape, header.spacing, MOST_VOXELS), how)


def _is_volume(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def _alike(a: Window, b: Window) -> bool:
    """Whether two windows are so near that both images are of one scale, as two CTs are."""
    return max(abs(a.low - b.low), abs(a.high - b.high)) < 0.35 * max(a.high - a.low, b.high - b.low)


def _world(volume: Volume) -> np.ndarray:
    """``(X, Y, Z, 3)``, RAS mm."""
    i, j, k = (axis.astype(np.float32) for axis in np.ogrid[tuple(slice(n) for n in volume.values.shape[:3])])
    rows = volume.affine[:3].astype(np.float32)
    return np.stack([a * i + b * j + c * k + t for a, b, c, t in rows], axis=-1)


def _millimetres(key: str, name: str, values: np.ndarray) -> dict[str, Any]:
    top = max(1.0, float(np.nanpercentile(values, 99.5)))
    top = round(top, 1) if top < 10 else float(round(top))
    ticks = ["0", f"{top / 2:g}", f"{top:g} mm"]
    uri = lossy(Window(0.0, top).bytes(values), MAP_BYTES)
    return {"key": key, "name": name, "uri": uri, "folds": None, "ticks": ticks, "colours": "sequential"}


def _coarse(vectors: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    """Displacements along the array axes at every ``step``-th voxel, as 16-bit hundredths of a millimetre."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    step = lattice(vectors, (float(spacing[0]), float(spacing[1]), float(spacing[2])), MOST_NODES)
    nodes = vectors[:: step[0], :: step[1], :: step[2]] @ (affine[:3, :3] / spacing).astype(np.float32)
    kept = np.clip(np.rint(nodes * STEPS_A_MM), -32767, 32767).astype("<i2")
    data = np.ascontiguousarray(kept.transpose(2, 1, 0, 3)).tobytes()
    return {"step": step, "shape": nodes.shape[:3], "scale": STEPS_A_MM, "data": base64.b64encode(data).decode()}
