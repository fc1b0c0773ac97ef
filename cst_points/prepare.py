"""``cst prepare lung``: from two CT volumes of a lung to a pair of keypoint clouds in files.

Volumes are reoriented so that the array's axes run towards right, anterior and superior (RAS), DIR-Lab's raw ones too.
A cloud's coordinates are mm along those axes from the centre of its own volume's lung mask: fixed and moving crops are
centred separately, as in Sec. 3, which removes a bulk shift between the scans. Both centres, in mm of the scanner's RAS
frame, are written into the crop file, so that the shift can be put back.

``--frame release``, the default, turns the axes towards superior, posterior, left and gives the half-extent that
[-1, 1] has in the public keypoint release, so that networks trained on the release see what they know; ``--frame ras``
keeps the axes and takes the half-extent of the crop. Either way coordinates are the scanner's millimetres; the
release's own are nominal (`cst_points.release`). The paper's crop may cut a large lung, where here it only sets the
scale.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from cst_core.errors import DataError
from cst_points.lung_options import FEWEST_KEYPOINTS, Frame, LungOptions, Triple

if TYPE_CHECKING:
    from cst_core.plugin import EvalCase
    from cst_points.cloud import CloudPair
    from cst_points.lung_clouds import LandmarkArrays, Lungs, PreparedLung


class Counts(NamedTuple):
    """How many points were written; landmarks 0 if none were given."""

    fixed: int
    moving: int
    landmarks: int


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
        Frame,
        typer.Option(
            help="Axes and scale of the clouds. release: superior, posterior, left, scaled as the public keypoint "
            "release, which networks trained on it expect. ras: right, anterior, superior, scaled by the crop."
        ),
    ] = LungOptions.frame,
    fixed_spacing: Annotated[
        Triple, typer.Option(help="mm to resample to: right, anterior, superior.")
    ] = LungOptions.fixed_spacing,
    moving_spacing: Annotated[
        Triple, typer.Option(help="mm to resample to: right, anterior, superior.")
    ] = LungOptions.moving_spacing,
    fixed_limit: Annotated[
        int, typer.Option(min=FEWEST_KEYPOINTS, help="Keypoints at most.")
    ] = LungOptions.fixed_limit,
    moving_limit: Annotated[
        int, typer.Option(min=FEWEST_KEYPOINTS, help="Keypoints at most.")
    ] = LungOptions.moving_limit,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The weakest keypoint as a fraction of the strongest.")
    ] = LungOptions.threshold,
    masks: Annotated[
        bool, typer.Option("--masks", help="Also write the lung masks: case_<id>_fixed_mask.nii.gz and so on.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a case of the same id.")] = False,
) -> Counts:
    """Two lung CTs to a pair of keypoint clouds (and landmarks) that every points command reads."""
    from cst_points.case_folder import write_case
    from cst_points.lung_clouds import prepare_lung
    from cst_points.scan import read_mask, read_scan

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
    write_case(out, prepared_case(id, prepared), crop_entries(prepared, frame), overwrite)
    if masks:
        _write_masks(out, id, (prepared.fixed_lungs, prepared.moving_lungs))
    marks = 0 if prepared.landmarks is None else len(prepared.landmarks.fixed)
    counts = Counts(len(prepared.fixed), len(prepared.moving), marks)
    typer.echo(
        f"{out}: case {id}, {counts.fixed} fixed and {counts.moving} moving keypoints, {counts.landmarks} landmarks"
    )
    return counts


def _write_masks(out: Path, id: str, lungs: tuple[Lungs | None, Lungs | None]) -> None:
    from cst_core.field import Grid
    from cst_core.formats.nifti import placed, save_nifti

    for part, one in zip(("fixed", "moving"), lungs, strict=True):
        if one is not None:
            grid = Grid.from_affine(one.mask.shape, one.affine)
            save_nifti(out / f"case_{id}_{part}_mask.nii.gz", placed(one.mask.astype("uint8"), grid))


def _read_landmark_pair(fixed: Path | None, moving: Path | None, dirlab: str | None) -> LandmarkArrays | None:
    from cst_points.lung_clouds import LandmarkArrays
    from cst_points.scan import read_points

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

    from cst_points.plausibility import check_landmarks

    if prepared.landmarks is not None and fixed is not None and moving is not None:
        clouds, points = (prepared.fixed, prepared.moving), prepared.landmarks
        for path, part, cloud, marks in zip((fixed, moving), ("fixed", "moving"), clouds, points, strict=True):
            check_landmarks(path, part, torch.from_numpy(cloud), torch.from_numpy(marks))


def prepared_case(id: str, prepared: PreparedLung) -> EvalCase[CloudPair]:
    """The pair as `cst_points.case_folder` writes it; its zero is the origin."""
    import torch

    from cst_core.plugin import EvalCase, Landmarks
    from cst_points.cloud import CloudPair

    fixed, moving = torch.from_numpy(prepared.fixed), torch.from_numpy(prepared.moving)
    marks = prepared.landmarks
    landmarks = None if marks is None else Landmarks(torch.from_numpy(marks.fixed), torch.from_numpy(marks.moving))
    return EvalCase(id, CloudPair(fixed, moving, torch.zeros(3), torch.tensor(prepared.half_extent)), landmarks)


def crop_entries(prepared: PreparedLung, frame: Frame) -> dict[str, Any]:
    """What the crop file says besides origin and half-extent: the frame, and where the clouds' zeros are."""
    return {
        "frame": frame.value,
        "axes": list(frame.axes),
        "fixed_origin": prepared.fixed_centre.tolist(),
        "moving_origin": prepared.moving_centre.tolist(),
        "about": "mm; x, y, z run towards 'axes'; fixed_origin, moving_origin: where zero is in the scanner (RAS)",
    }
