"""The verbs of ``cst`` that use a transform: ``apply`` and ``convert``. Light: heavy imports are inside."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class InterpolationChoice(StrEnum):
    """How values between voxels are found."""

    LINEAR = "linear"
    NEAREST = "nearest"
    LABEL = "label"


class FrameChoice(StrEnum):
    """Which way the axes of a list of points run."""

    RAS = "ras"
    LPS = "lps"


class FormatChoice(StrEnum):
    """Files of other software."""

    ITK = "itk"
    ITK_COMPOSITE = "itk-composite"
    ANTS = "ants"
    LEARN2REG = "learn2reg"
    LEARN2REG_NPZ = "learn2reg-npz"
    FSL = "fsl"
    NIFTYREG = "niftyreg"


TransformArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TRANSFORM",
        show_default=False,
        help="A file of ITK, ANTs, Learn2Reg, FSL or NiftyReg; a folder that cst register made; or the prefix of ANTs' "
        "1Warp.nii.gz and 0GenericAffine.mat.",
    ),
]
MovingScanOption = Annotated[
    Path | None, typer.Option("--moving", metavar="MOVING", help="The moving scan, for Learn2Reg and FSL files.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what --out names; never an input.")]


def apply(
    transform: TransformArgument,
    moving: Annotated[
        Path,
        typer.Argument(
            metavar="MOVING",
            show_default=False,
            help="NIfTI image or label map; or points: CSV with the header x,y,z, world mm.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help=".nii, .nii.gz, or .csv for points.", show_default=False)],
    like: Annotated[
        Path | None,
        typer.Option(metavar="FIXED", help="The scan whose voxels the result shall have; needed for images."),
    ] = None,
    interpolation: Annotated[
        InterpolationChoice, typer.Option(help="label: linear for every label on its own, then the largest.")
    ] = InterpolationChoice.LINEAR,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="The other way: images fixed to moving, points moving to fixed.")
    ] = False,
    frame: Annotated[
        FrameChoice, typer.Option(help="Of the points, in and out: ras as in NIfTI, lps as in ITK and DICOM.")
    ] = FrameChoice.RAS,
    outside: Annotated[
        float | None,
        typer.Option(metavar="VALUE", help="Where there is no moving scan. Default: its minimum; 0 for labels."),
    ] = None,
    moving_scan: MovingScanOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Bring an image or a label map onto another grid, or map a list of points.

    Images are pulled from MOVING onto the voxels of --like FIXED.
    Points go the opposite way: from the fixed scan to the moving scan.
    With --inverse, images go from fixed to moving, points from moving to fixed.
    """
    from cst_core.cli_apply import ApplyOptions
    from cst_core.cli_apply import apply as run
    from cst_core.progress import open_console

    options = ApplyOptions(
        *(transform, moving, like, out, interpolation.value, inverse, frame.value, outside, moving_scan, overwrite)
    )
    run(options, open_console())


def convert(
    transform: TransformArgument,
    to: Annotated[FormatChoice, typer.Option(help="Whose format.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="For ants the beginning of two names.", show_default=False)],
    like: Annotated[
        Path | None, typer.Option(metavar="FIXED", help="The fixed scan: the grid of the field. Default: its own.")
    ] = None,
    moving_scan: MovingScanOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a transform in the format of other software.

    itk: displacement field (.nii.gz, .nrrd, .mha), or one affine map (.tfm, .mat).
    itk-composite: .h5, field and affine map apart.
    ants: two files, FILE1Warp.nii.gz and FILE0GenericAffine.mat.
    learn2reg: .nii.gz, counts voxels, so it needs --moving.
    learn2reg-npz: the same at half resolution; loses detail.
    fsl: .nii.gz for applywarp, needs --moving.
    niftyreg: .nii.gz for reg_resample.
    """
    from cst_core.cli_convert import ConvertOptions
    from cst_core.cli_convert import convert as run
    from cst_core.progress import open_console

    run(ConvertOptions(transform, to.value, out, like, moving_scan, overwrite), open_console())
