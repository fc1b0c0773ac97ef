"""From two CT volumes of a lung to a pair of keypoint clouds: ``cst prepare lung``.

Frame: NIfTI volumes are reoriented so that the array's axes run towards right, anterior and superior (RAS), DIR-Lab's
raw ones too. A cloud's coordinates are mm along those axes from the centre of its own volume's lung mask: fixed and
moving crops are centred separately, as in Sec. 3, which removes a bulk shift between the scans. Both centres, in mm of
the scanner's RAS frame, are written beside the clouds, so that the shift can be put back.

This departs from the public keypoint release in two ways. Its clouds run along superior, posterior, left, and are
scaled to another extent; ``--frame release`` writes clouds like those, which networks trained on them need. And the
paper's crop may cut a large lung, where here the crop only sets the scale: the whole mask is searched.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from jaxtyping import Bool, Float

from cst_core.errors import DataError

Triple = tuple[float, float, float]

AIR_HU = -400.0
"""Lung and airways lie below, tissue and vessels above."""
LUNG_LITRES = (0.4, 12.0)
"""What a pair of human lungs can hold; a mask outside these is not one of lungs."""
LARGE_PART = 0.2
"""A second lung has at least this fraction of the larger one's volume; bowel gas has less."""
CLOSING_MM = 5.0
"""Vessels up to twice this width belong to the lung."""
WINDOW_HU = (-1000.0, 200.0)
"""Intensities are clamped to air and vessels, so that ribs do not set the scale of the keypoints' strength."""
RELEASE_HALF_EXTENT = (148.0, 164.0, 164.0)
"""mm along superior, posterior, left: half of DIR-Lab's COPDgene volumes, averaged over the ten cases; the release's
coordinates in [-1, 1] span whole volumes (the steps of its landmark lattice show it)."""
FEWEST_KEYPOINTS = 32
"""Fewer keypoints than this cannot carry a registration."""


class Frame(StrEnum):
    """Axes of the written clouds."""

    RAS = "ras"
    """Right, anterior, superior; half-extent of the crop."""
    RELEASE = "release"
    """Superior, posterior, left, and the half-extent of the public keypoint release."""


@dataclass(frozen=True)
class LungOptions:
    """How clouds are made; spacings and sizes along right, anterior, superior."""

    fixed_spacing: Triple = (1.75, 1.25, 1.75)
    """mm, Sec. 3."""
    moving_spacing: Triple = (1.75, 1.00, 1.25)
    """mm, Sec. 3."""
    crop: tuple[int, int, int] = (192, 192, 208)
    """Voxels of ``fixed_spacing``, Sec. 3; half of it is the half-extent that divides coordinates."""
    fixed_limit: int = 2048
    """Keypoints at most, the strongest; Sec. 3 has one to two thousand."""
    moving_limit: int = 4096
    """Keypoints at most, the strongest; Sec. 3 has two to four thousand."""
    threshold: float = 1e-4
    """The weakest keypoint as a fraction of the strongest."""
    frame: Frame = Frame.RAS


class Scan(NamedTuple):
    """A CT whose array axes run towards right, anterior, superior (within 45 degrees, if the scan is oblique)."""

    values: Float[np.ndarray, "X Y Z"]
    """Hounsfield units."""
    affine: Float[np.ndarray, "4 4"]
    """Voxel index to mm in the scanner's RAS frame."""

    @property
    def spacing(self) -> Float[np.ndarray, " 3"]:
        """mm along the array's axes."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def along_axes(self, points: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
        """Points in mm of the scanner's frame -> mm along the array's axes from the first voxel's centre."""
        return (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T * self.spacing

    def in_scanner(self, points: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
        """The way back of `along_axes`."""
        return points / self.spacing @ self.affine[:3, :3].T + self.affine[:3, 3]


class LandmarkArrays(NamedTuple):
    """Points that correspond, both ``(L, 3)``, mm."""

    fixed: Float[np.ndarray, "L 3"]
    moving: Float[np.ndarray, "L 3"]


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


class Counts(NamedTuple):
    """How many points were written; landmarks 0 if none were given."""

    fixed: int
    moving: int
    landmarks: int


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
    fixed_cloud, fixed_zero = _cloud("fixed", fixed, fixed_mask, options.fixed_spacing, options.fixed_limit, options)
    moving_cloud, moving_zero = _cloud(
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
    )


def _cloud(
    name: str,
    scan: Scan,
    mask: Bool[np.ndarray, "X Y Z"] | None,
    spacing: Triple,
    limit: int,
    options: LungOptions,
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " 3"]]:
    """Keypoints in mm along right, anterior, superior from the mask's centre, and that centre from the first voxel."""
    from cst_points.foerstner import foerstner_keypoints

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
    return points + start * np.asarray(spacing) - centre, centre


def _turned(points: Float[np.ndarray, "N 3"], frame: Frame) -> Float[np.ndarray, "N 3"]:
    """From right, anterior, superior to the frame's axes; float32."""
    turned = points if frame is Frame.RAS else points[:, ::-1] * (1, -1, -1)
    return np.ascontiguousarray(turned, dtype=np.float32)


def _box(mask: Bool[np.ndarray, "X Y Z"]) -> tuple[np.ndarray, np.ndarray]:
    """First and last index of the mask per axis."""
    spans = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array([span[0] for span in spans]), np.array([span[-1] for span in spans])


def resample(
    values: Float[np.ndarray, "X Y Z"] | Bool[np.ndarray, "X Y Z"], spacing: Float[np.ndarray, " 3"], target: Triple
) -> Float[np.ndarray, "X2 Y2 Z2"]:
    """Linear resampling to another voxel size, float32; the first voxel's centre stays, so mm along the axes do too.

    Axes that become coarser are smoothed before, with a Gaussian of half the excess, in voxels.
    """
    from scipy import ndimage

    ratio = np.asarray(target) / spacing
    shape = tuple(int(n) for n in np.floor((np.array(values.shape) - 1) / ratio + 1e-6) + 1)
    smooth = ndimage.gaussian_filter(values.astype(np.float32), np.maximum(ratio - 1, 0) / 2, mode="nearest")
    return ndimage.affine_transform(smooth, np.diag(ratio), output_shape=shape, order=1, mode="nearest")


def lung_mask(values: Float[np.ndarray, "X Y Z"], spacing: Triple) -> Bool[np.ndarray, "X Y Z"]:
    """Lungs by threshold: air that does not reach the sides of the volume, its one or two largest parts, filled.

    The trachea and main bronchi belong to it where they are connected with the lungs. All False if there is no air
    inside the body. ``values`` in Hounsfield units, axes right, anterior, superior.
    """
    from scipy import ndimage
    from skimage.measure import label

    parts = np.asarray(label(values < AIR_HU, connectivity=1))
    sides = np.unique(np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()]))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    sizes[sides] = 0
    large = [int(part) for part in np.argsort(-sizes)[:2] if sizes[part] > LARGE_PART * sizes.max()]
    lungs = np.isin(parts, large) if large else np.zeros(values.shape, dtype=bool)
    if not large:
        return lungs
    reach = [int(np.ceil(CLOSING_MM / step)) + 1 for step in spacing]
    padded = np.pad(lungs, [(n, n) for n in reach])
    grown = np.asarray(ndimage.distance_transform_edt(~padded, sampling=spacing)) <= CLOSING_MM
    closed = np.asarray(ndimage.distance_transform_edt(grown, sampling=spacing)) > CLOSING_MM
    inner = tuple(slice(n, -n) for n in reach)
    return np.asarray(ndimage.binary_fill_holes(closed | padded))[inner]


def read_scan(path: Path, dirlab: str | None = None) -> Scan:
    """A CT from NIfTI, or one of DIR-Lab's raw volumes (``copd3``), with axes right, anterior, superior.

    Raises:
        DataError: a file that cannot be read, is no 3-D volume, or holds NaN or infinity.
    """
    import nibabel

    if dirlab is not None:
        from cst_points import dirlab as raw

        image = nibabel.Nifti1Image(raw.read_volume(path, dirlab), raw.header(dirlab).affine)
    else:
        image = _load_nifti(path)
    return _canonical(path, image)


def _load_nifti(path: Path) -> Any:
    import nibabel

    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        return nibabel.load(path)
    except Exception as error:  # nibabel raises many unrelated types on damaged bytes
        raise DataError(f"{path}: no readable NIfTI volume ({type(error).__name__}); write or copy it again") from None


def _canonical(path: Path, image: Any) -> Scan:
    import nibabel

    if len(image.shape) != 3:
        raise DataError(f"{path}: must be a 3-D volume, found shape {image.shape}; extract one volume")
    if image.affine is None or not abs(np.linalg.det(image.affine[:3, :3])) > 1e-9:
        raise DataError(f"{path}: the affine must have a voxel size on every axis, found a singular one; correct it")
    image = nibabel.as_closest_canonical(image)
    try:
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    if not np.isfinite(values).all():
        raise DataError(
            f"{path}: voxels must be finite, found {int((~np.isfinite(values)).sum())} NaN or infinite ones"
        )
    return Scan(values, np.asarray(image.affine, dtype=np.float64))


def read_mask(path: Path, scan: Scan) -> Bool[np.ndarray, "X Y Z"]:
    """A lung mask (above 0.5: lung) on the scan's grid.

    Raises:
        DataError: as `read_scan`; also a mask on another grid, or an empty one.
    """
    mask = read_scan(path)
    if mask.values.shape != scan.values.shape or not np.allclose(mask.affine, scan.affine, atol=0.01):
        found = f"{mask.values.shape} of {np.round(mask.spacing, 3).tolist()} mm"
        wanted = f"{scan.values.shape} of {np.round(scan.spacing, 3).tolist()} mm"
        raise DataError(f"{path}: the mask must be on its volume's grid, {wanted}, found {found}; resample the mask")
    inside = mask.values > 0.5
    if not inside.any():
        raise DataError(f"{path}: the mask must mark the lungs, found no voxel above 0.5; check the file")
    return inside


def read_points(path: Path, dirlab: str | None = None) -> Float[np.ndarray, "L 3"]:
    """Landmarks of one scan in mm of its RAS frame: a CSV of x, y, z in mm, or DIR-Lab's text file in voxels from 1."""
    if dirlab is not None:
        from cst_points import dirlab as raw

        return raw.read_landmarks(path, dirlab)
    from cst_points.formats import read_cloud

    return read_cloud(path).double().numpy()


def write_case(prepared: PreparedLung, id: str, out: Path, frame: Frame, overwrite: bool = False) -> Counts:
    """Write ``case_<id>_fixed.csv``, ``_moving.csv``, ``_landmarks.csv`` and ``_crop.json``, each when complete.

    Raises:
        DataError: an id that makes no file name, or files of this id that are already there.
    """
    import torch

    from cst_core.plugin import Landmarks
    from cst_points.formats import write_bytes, write_cloud, write_landmarks

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", id):
        raise DataError(f"--id: must be letters, digits, '_', '-' or '.', found {id!r}; choose another")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: must be a folder that can be written, found none ({error}); choose another") from None
    stem = re.compile(rf"case_{re.escape(id)}_(fixed|moving|landmarks|crop)\.\w+")
    present = sorted(path for path in out.iterdir() if stem.fullmatch(path.name))
    if present and not overwrite:
        raise DataError(f"{present[0]}: case '{id}' is already there; choose another --id or --out, or --overwrite")
    crop = {
        "origin": [0.0, 0.0, 0.0],
        "half_extent": list(prepared.half_extent),
        "frame": frame.value,
        "fixed_origin": prepared.fixed_centre.tolist(),
        "moving_origin": prepared.moving_centre.tolist(),
    }
    write_bytes(out / f"case_{id}_crop.json", (json.dumps(crop, indent=1) + "\n").encode())
    if prepared.landmarks is not None:
        fixed, moving = (torch.from_numpy(points) for points in prepared.landmarks)
        write_landmarks(out / f"case_{id}_landmarks.csv", Landmarks(fixed, moving))
    write_cloud(out / f"case_{id}_moving.csv", torch.from_numpy(prepared.moving))
    write_cloud(out / f"case_{id}_fixed.csv", torch.from_numpy(prepared.fixed))
    parts = {"fixed.csv", "moving.csv", "crop.json"} | ({"landmarks.csv"} if prepared.landmarks is not None else set())
    for stale in present:
        if stale.name.removeprefix(f"case_{id}_") not in parts:
            stale.unlink()
    return Counts(
        len(prepared.fixed), len(prepared.moving), 0 if prepared.landmarks is None else len(prepared.landmarks.fixed)
    )


def _read_landmark_pair(fixed: Path | None, moving: Path | None, dirlab: str | None) -> LandmarkArrays | None:
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        raise DataError(f"{fixed or moving}: landmarks of both volumes are needed, found one file; give the other too")
    arrays = LandmarkArrays(read_points(fixed, dirlab), read_points(moving, dirlab))
    if len(arrays.fixed) != len(arrays.moving):
        raise DataError(
            f"{moving}: landmarks must correspond row by row, found {len(arrays.moving)} for {len(arrays.fixed)} in "
            f"{fixed.name}; give files of one set"
        )
    return arrays


def _check_landmarks(prepared: PreparedLung, fixed: Path | None, moving: Path | None) -> None:
    import torch

    from cst_points.data import check_landmarks

    if prepared.landmarks is not None and fixed is not None and moving is not None:
        clouds, points = (prepared.fixed, prepared.moving), prepared.landmarks
        for path, part, cloud, marks in zip((fixed, moving), ("fixed", "moving"), clouds, points, strict=True):
            check_landmarks(path, part, torch.from_numpy(cloud), torch.from_numpy(marks))


def lung(
    fixed: Annotated[Path, typer.Argument(help="Fixed CT, exhale: NIfTI in Hounsfield units, or raw with --dirlab.")],
    moving: Annotated[Path, typer.Argument(help="Moving CT, inhale.")],
    id: Annotated[str, typer.Option("--id", help="Names the files: case_<id>_fixed.csv and so on.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the clouds; created if missing.")],
    dirlab: Annotated[
        str | None, typer.Option(help="Volumes and landmarks are DIR-Lab's raw files of this case, e.g. copd3.")
    ] = None,
    fixed_mask: Annotated[
        Path | None, typer.Option(help="Lung mask of the fixed CT; found by threshold if not given.")
    ] = None,
    moving_mask: Annotated[Path | None, typer.Option(help="Lung mask of the moving CT.")] = None,
    fixed_landmarks: Annotated[
        Path | None, typer.Option(help="CSV of x,y,z in mm (RAS), or DIR-Lab's text file with --dirlab.")
    ] = None,
    moving_landmarks: Annotated[
        Path | None, typer.Option(help="The same points, row by row, in the moving CT.")
    ] = None,
    frame: Annotated[
        Frame, typer.Option(help="Axes: ras, or those of the public keypoint release, for networks trained on it.")
    ] = Frame.RAS,
    fixed_spacing: Annotated[Triple, typer.Option(help="mm to resample to: right, anterior, superior.")] = (
        1.75,
        1.25,
        1.75,
    ),
    moving_spacing: Annotated[Triple, typer.Option(help="mm to resample to: right, anterior, superior.")] = (
        1.75,
        1.0,
        1.25,
    ),
    fixed_limit: Annotated[int, typer.Option(min=FEWEST_KEYPOINTS, help="Keypoints at most.")] = 2048,
    moving_limit: Annotated[int, typer.Option(min=FEWEST_KEYPOINTS, help="Keypoints at most.")] = 4096,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The weakest keypoint as a fraction of the strongest.")
    ] = 1e-4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a case of the same id.")] = False,
) -> Counts:
    """Two lung CTs to a pair of keypoint clouds (and landmarks) that every points command reads."""
    for name, spacing in (("--fixed-spacing", fixed_spacing), ("--moving-spacing", moving_spacing)):
        if not all(0.1 <= step <= 20 for step in spacing):
            raise DataError(f"{name}: voxel sizes must be 0.1 to 20 mm, found {spacing}; correct them")
    landmarks = _read_landmark_pair(fixed_landmarks, moving_landmarks, dirlab)
    fixed_scan, moving_scan = read_scan(fixed, dirlab), read_scan(moving, dirlab)
    options = LungOptions(
        fixed_spacing=fixed_spacing,
        moving_spacing=moving_spacing,
        fixed_limit=fixed_limit,
        moving_limit=moving_limit,
        threshold=threshold,
        frame=frame,
    )
    prepared = prepare_lung(
        fixed_scan,
        moving_scan,
        None if fixed_mask is None else read_mask(fixed_mask, fixed_scan),
        None if moving_mask is None else read_mask(moving_mask, moving_scan),
        landmarks,
        options,
    )
    _check_landmarks(prepared, fixed_landmarks, moving_landmarks)
    counts = write_case(prepared, id, out, frame, overwrite)
    typer.echo(
        f"{out}: case {id}, {counts.fixed} fixed and {counts.moving} moving keypoints, {counts.landmarks} landmarks"
    )
    return counts
