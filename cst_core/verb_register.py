"""``cst register`` as typer sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cst_core.cli_arguments import BackendOption, Device, DeviceOption, ModelOption, SetOption


def register(
    backend: BackendOption,
    model: ModelOption,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results; of a batch: a folder for each pair.")
    ],
    fixed: Annotated[Path | None, typer.Argument(metavar="FIXED", show_default=False)] = None,
    moving: Annotated[Path | None, typer.Argument(metavar="MOVING", show_default=False)] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV|FOLDER",
            help="A batch instead of FIXED and MOVING: a CSV file with the columns id,fixed,moving and any of "
            "fixed_mask,moving_mask,fixed_labels,moving_labels,landmarks (paths relative to it), or a folder of "
            "ID_fixed.*, ID_moving.* and the like.",
        ),
    ] = None,
    fixed_mask: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the fixed scan has data.")] = None,
    moving_mask: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the moving scan has data.")] = None,
    fixed_labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measured with; never seen by the registration.")
    ] = None,
    moving_labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Warped, and measured if both scans have labels.")
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z, world mm (RAS): measured with."
        ),
    ] = None,
    no_affine: Annotated[
        bool, typer.Option("--no-affine", help="The scans lie where their headers say: no affine pre-alignment.")
    ] = False,
    assignments: SetOption = None,
    device: DeviceOption = Device.AUTO,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in --out.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Of a batch: keep complete results of the same files and options.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Of a batch: every N-th pair from the K-th on, for task K of a cluster's array of N; "
            "all tasks write into one --out.",
        ),
    ] = None,
) -> None:
    """Register one pair of files, or many: transforms, warped scan, measures and a report."""
    from cst_core.cli_register import RegisterOptions, run
    from cst_core.progress import open_console
    from cst_core.shard import WHOLE, parse_shard

    inputs = {
        "fixed": fixed,
        "moving": moving,
        "fixed_mask": fixed_mask,
        "moving_mask": moving_mask,
        "fixed_labels": fixed_labels,
        "moving_labels": moving_labels,
        "landmarks": landmarks,
    }
    options = RegisterOptions(
        backend,
        model,
        out,
        inputs,
        pairs,
        not no_affine,
        assignments or [],
        device.value,
        overwrite,
        resume,
        WHOLE if shard is None else parse_shard(shard),
    )
    run(options, open_console())
