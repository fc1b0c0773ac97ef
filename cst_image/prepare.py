"""``cst prepare abdomen``: raw CTs of any grid to a folder that ``cst train --backend image`` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cst_core.errors import ConfigError


def abdomen(
    scans: Annotated[list[Path], typer.Argument(help="CTs in Hounsfield units (NIfTI), or folders of them.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the data set; created if missing.")],
    grid: Annotated[str, typer.Option(help="Voxels: right-left x front-back x along the body.")] = "192x160x256",
    spacing: Annotated[float, typer.Option(min=0.5, max=20.0, help="mm.")] = 2.0,
    template: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CT that all are aligned to. Default: a mean made of the scans themselves."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Label maps named as the scans, to be resampled; they align nothing."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Forget what DIR was made with.")] = False,
) -> None:
    """Raw abdominal CTs to one grid: right, anterior, superior; affinely aligned. Run again to go on.

    Each scan keeps its map in DIR/transforms: cst apply DIR/transforms/ID.tfm FILE --like SCAN --inverse brings what
    was found on the grid back to the raw scan. A scan that cannot be used is reported and left out; exit code 1.
    """
    from cst_image.preparation.prepare_abdomen import Wanted, prepare

    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", grid)
    if not found or not all(8 <= int(n) <= 2048 for n in found.groups()):
        raise ConfigError(f"--grid {grid}: must be three numbers from 8 to 2048 such as 192x160x256; correct it")
    x, y, z = (int(n) for n in found.groups())
    prepare(scans, out, Wanted((x, y, z), spacing, template, labels), overwrite, typer.echo)
