"""Two CT volumes of a lung to a pair of keypoint clouds, centred on their lung masks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cst_core.errors import DataError
from cst_points.lung_options import FEWEST_KEYPOINTS, Frame, LungOptions, Triple
from cst_points.scan import Scan, resample

LUNG_LITRES = (0.4, 12.0)
"""What a pair of human lungs can hold; a mask outside these is not one of lungs."""
WINDOW_HU = (-1000.0, 200.0)
"""Intensities are clamped to air and vessels, so that ribs do not set the scale of the keypoints' strength."""
RELEASE_HALF_EXTENT = (148.0, 164.0, 164.0)
"""mm along superior, posterior, left: half of DIR-Lab's COPDgene volumes, averaged over the ten cases; the release's
coordinates in [-1, 1] span whole volumes (see `cst_points.release.read_release`)."""


class LandmarkArrays(NamedTuple):
    """Points that correspond, both ``(L, 3)``, mm."""

    fixed: Float[np.ndarray, "L 3"]
    moving: Float[np.ndarray, "L 3"]


class Lungs(NamedTuple):
    """A lung mask on the voxels that keypoints were looked for on."""

    mask: Bool[np.ndarray, "X Y Z"]
    affine: Float[np.ndarray, "4 4"]
    """Voxel index to mm in the scanner's RAS frame."""


class PreparedLung(NamedTuple):
    """Clouds and landmarks in mm from each volume's own centre, in the axes of the frame."""

    fixed: Float[np.ndarray, "N 3"]
    moving: Float[np.ndarray, "M 3"]
    landmarks: LandmarkArrays | None
    fixed_centre: Float[np.ndarray, " 3"]
    """Where the fixed cloud's zero is, mm in the scanner's RAS frame."""
    moving_centre: Float[np.ndarray, " 3"]
    """Where the moving cloud's zero is, mm in the scanner's RAS frame."""
    half_extent: Triple
    """mm, in the axes of the frame."""
    fixed_lungs: Lungs | None = None
    """The mask that was used, given or found."""
    moving_lungs: Lungs | None = None


def prepare_lung(
    fixed: Scan,
    moving: Scan,
    fixed_mask: Bool[np.ndarray, "X Y Z"] | None = None,
    moving_mask: Bool[np.ndarray, "X Y Z"] | None = None,
    landmarks: LandmarkArrays | None = None,
    options: LungOptions | None = None,
) -> PreparedLung:
    """Keypoint clouds of two CT volumes; masks are found where none are given. ``landmarks``: mm, scanner's RAS frame.

    Raises:
        DataError: a mask that is not one of lungs, or next to no keypoints.
    """
    options = options or LungOptions()
    fixed_cloud, fixed_zero, fixed_lungs = _cloud(
        "fixed", fixed, fixed_mask, options.fixed_spacing, options.fixed_limit, options
    )
    moving_cloud, moving_zero, moving_lungs = _cloud(
        "moving", moving, moving_mask, options.moving_spacing, options.moving_limit, options
    )
    if landmarks is not None:
        landmarks = LandmarkArrays(
            _turned(fixed.along_axes(landmarks.fixed) - fixed_zero, options.frame),
            _turned(moving.along_axes(landmarks.moving) - moving_zero, options.frame),
        )
    x, y, z = (n * step / 2 for n, step in zip(options.crop, options.fixed_spacing, strict=True))
    return PreparedLung(
        _turned(fixed_cloud, options.frame),
        _turned(moving_cloud, options.frame),
        landmarks,
        fixed.in_scanner(fixed_zero[None])[0],
        moving.in_scanner(moving_zero[None])[0],
        RELEASE_HALF_EXTENT if options.frame is Frame.RELEASE else (x, y, z),
        fixed_lungs,
        moving_lungs,
    )


def _cloud(
    name: str,
    scan: Scan,
    mask: Bool[np.ndarray, "X Y Z"] | None,
    spacing: Triple,
    limit: int,
    options: LungOptions,
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " 3"], Lungs]:
    """Keypoints, mm along right, anterior, superior from the mask's centre; that centre from the first voxel; mask."""
    from cst_points.foerstner import foerstner_keypoints
    from cst_points.lung_mask import lung_mask

    values = resample(scan.values, scan.spacing, spacing)
    lungs = lung_mask(values, spacing) if mask is None else resample(mask, scan.spacing, spacing) > 0.5
    litres = float(lungs.sum()) * float(np.prod(spacing)) * 1e-6
    if not LUNG_LITRES[0] <= litres <= LUNG_LITRES[1]:
        low, high = LUNG_LITRES
        how = (
            "give a lung mask (are the values Hounsfield units?)" if mask is None else "check the mask and its spacing"
        )
        raise DataError(f"{name} volume: lungs hold {low:g} to {high:g} litres, found a mask of {litres:.3g}; {how}")
    low, high = _box(lungs)
    region = tuple(slice(max(0, int(a) - 8), int(b) + 9) for a, b in zip(low, high, strict=True))
    start = np.array([part.start for part in region])
    window = np.clip(values[region], *WINDOW_HU)
    points = foerstner_keypoints(window, lungs[region], spacing, threshold=options.threshold, limit=limit)
    if len(points) < FEWEST_KEYPOINTS:
        raise DataError(
            f"{name} volume: at least {FEWEST_KEYPOINTS} keypoints are needed, found {len(points)}; "
            f"lower the threshold ({options.threshold:g}) or check the volume"
        )
    centre = (low + high) / 2 * np.asarray(spacing)
    affine = scan.affine @ np.diag([*(np.asarray(spacing) / scan.spacing), 1.0])
    return points + start * np.asarray(spacing) - centre, centre, Lungs(lungs, affine)


def _turned(points: Float[np.ndarray, "N 3"], frame: Frame) -> Float[np.ndarray, "N 3"]:
    """From right, anterior, superior to the frame's axes; float32."""
    turned = points if frame is Frame.RAS else points[:, ::-1] * (1, -1, -1)
    return np.ascontiguousarray(turned, dtype=np.float32)


def _box(mask: Bool[np.ndarray, "X Y Z"]) -> tuple[np.ndarray, np.ndarray]:
    """First and last index of the mask per axis."""
    spans = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array([span[0] for span in spans]), np.array([span[-1] for span in spans])
