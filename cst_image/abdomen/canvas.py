"""Where a subject is painted: HU and labels on the voxels of one grid, back to front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from cst_image.abdomen.random_field import Axes
from cst_image.abdomen.shapes import Bounds, Cone, Ellipsoid, Solid, Tube

AIR = -1000.0  # HU, by definition
COARSE = 16.0  # mm, the step at which a solid is looked for
MARGIN = 16.0  # mm round a solid: a coarse position this near is the nearest one to some place inside, however bent
CREASE = 20.0  # mm, the difference in depth below which two ellipsoids count as meeting
OUTSIDE = np.float32(-1e3)  # mm, a depth that is outside for sure

Box = tuple[slice, slice, slice]
Paint = float | Float[np.ndarray, "*voxels"]


class Canvas:
    """HU and labels of one subject, and where in the canonical anatomy each of its voxels lies."""

    def __init__(self, axes: Axes, canonical: Float[np.ndarray, "3 X Y Z"], spacing: float) -> None:
        """``axes``: world mm of the voxels along each axis; ``canonical``: mm, of every voxel; ``spacing``: mm."""
        self.axes, self.canonical, self.spacing = axes, canonical, spacing
        self.volume = np.full(canonical.shape[1:], AIR, np.float32)
        self.labels = np.zeros(canonical.shape[1:], np.uint8)
        self._step = max(1, int(COARSE / spacing))
        self._coarse = canonical[:, :: self._step, :: self._step, :: self._step].copy()

    @property
    def everywhere(self) -> Box:
        """The box of all voxels."""
        x, y, z = (slice(0, len(at)) for at in self.axes)
        return x, y, z

    def box(self, bounds: Bounds) -> Box | None:
        """Voxels among which all with a canonical position inside ``bounds`` are; None if there are none."""
        inside = np.ones(self._coarse.shape[1:], bool)
        for axis in range(3):
            inside &= self._coarse[axis] > bounds.low[axis] - MARGIN
            inside &= self._coarse[axis] < bounds.high[axis] + MARGIN
        if not inside.any():
            return None
        found = []
        for axis in range(3):
            hit = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
            last = min((int(hit[-1]) + 1) * self._step, self.volume.shape[axis])
            found.append(slice(max(int(hit[0]) - 1, 0) * self._step, last))
        return found[0], found[1], found[2]

    def axes_of(self, box: Box) -> Axes:
        """World mm of a box's voxels along each axis."""
        x, y, z = (at[part] for at, part in zip(self.axes, box, strict=True))
        return x, y, z

    def depth(self, solids: Sequence[Solid]) -> tuple[Box, Float[np.ndarray, "X Y Z"]] | None:
        """Depth of the union of ``solids``, mm, in the box that holds them; None if they are out of view.

        Where ellipsoids meet, the crease between them is filled; the pieces of a tube keep their surface.
        """
        found = self._find(solids)
        if not found:
            return None
        boxes = [box for _, box in found]
        whole = [slice(min(b[i].start for b in boxes), max(b[i].stop for b in boxes)) for i in range(3)]
        hull: Box = (whole[0], whole[1], whole[2])
        return hull, self._union(hull, found)

    def depth_in(self, box: Box, solids: Sequence[Solid]) -> Float[np.ndarray, "X Y Z"]:
        """Depth of the union of ``solids``, mm, in ``box``: `OUTSIDE` or less wherever they are far away."""
        return self._union(box, self._find(solids))

    def _find(self, solids: Sequence[Solid]) -> list[tuple[Ellipsoid | Cone, Box]]:
        """The simple pieces that solids consist of and that are in view, and where."""
        pieces: list[Ellipsoid | Cone] = []
        for solid in solids:
            pieces += solid.pieces() if isinstance(solid, Tube) else [solid]
        return [(piece, box) for piece in pieces if (box := self.box(piece.bounds())) is not None]

    def _union(self, hull: Box, found: Sequence[tuple[Ellipsoid | Cone, Box]]) -> Float[np.ndarray, "X Y Z"]:
        union = np.full(self.volume[hull].shape, OUTSIDE)
        for piece, box in found:
            common = _intersection(box, hull)
            if common is None:
                continue
            under = union[tuple(slice(c.start - h.start, c.stop - h.start) for c, h in zip(common, hull, strict=True))]
            depth = piece.depth(self.canonical[:, *common])
            if isinstance(piece, Ellipsoid) and len(found) > 1:
                overlap = np.clip(1 - np.abs(depth - under) / np.float32(CREASE), 0, None)
                depth = np.maximum(depth, under) + np.float32(CREASE / 4) * overlap**2
            np.maximum(under, depth, out=under)
        return union

    def paint(self, box: Box, depth: Float[np.ndarray, "X Y Z"], hu: Paint, label: int | None = None) -> None:
        """Cover what is there by ``hu`` where ``depth`` (mm) is positive; voxels that the surface cuts get a mixture.

        ``label``: what the covered voxels become; None leaves the labels.
        """
        cover = depth / np.float32(self.spacing)
        cover += np.float32(0.5)
        np.clip(cover, 0, 1, out=cover)
        under = self.volume[box]
        under += cover * (np.float32(hu) - under if isinstance(hu, float) else hu - under)
        if label is not None:
            self.labels[box][depth > 0] = label


def _intersection(one: Box, other: Box) -> Box | None:
    """What two boxes have in common; None if nothing."""
    x, y, z = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (x, y, z) if all(part.start < part.stop for part in (x, y, z)) else None
