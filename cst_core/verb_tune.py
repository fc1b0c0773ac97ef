"""``cst tune``: its options. Heavy imports are inside, as in `cst_core.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cst_core.cli_arguments import (
    BackendOption,
    Device,
    DeviceOption,
    ModelDataOption,
    ModelFoldOption,
    ModelOption,
    SetOption,
    Split,
)


def tune(
    backend: BackendOption,
    model: ModelOption,
    target_sdlogj: Annotated[
        float, typer.Option(metavar="X", help="Wanted mean SDlogJ over the pairs, by Learn2Reg's definition.")
    ],
    data: ModelDataOption = None,
    fold: ModelFoldOption = None,
    split: Annotated[Split, typer.Option(help="Which pairs.")] = Split.TEST,
    tolerance: Annotated[float, typer.Option(help="Of the target, as a fraction of it.")] = 0.02,
    pairs: Annotated[
        int | None, typer.Option(metavar="N", help="So many of them, evenly spread. Default: all.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write trials and the last one's figures there.")
    ] = None,
    device: DeviceOption = Device.AUTO,
    assignments: SetOption = None,
) -> None:
    """Find the regularisation that gives fields the wanted smoothness, so that models compare at equal SDlogJ."""
    from cst_core.cli_tune import TuneOptions
    from cst_core.cli_tune import tune as run
    from cst_core.progress import open_console

    options = TuneOptions(
        backend,
        model,
        data,
        fold,
        split.value,
        target_sdlogj,
        tolerance,
        pairs,
        report,
        device.value,
        assignments or [],
    )
    run(options, open_console())
