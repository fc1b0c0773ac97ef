"""Options that several verbs have, declared once; light, as ``cst --help`` imports it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


BackendOption = Annotated[str, typer.Option(help="Which kind of data: see cst info.", show_default=False)]
DeviceOption = Annotated[Device, typer.Option(help="auto: CUDA where there is one.")]
ModelOption = Annotated[
    str, typer.Option(metavar="RUN|FILE|NAME", help="Or random, random:PRESET: untrained features.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One of the backend's settings, this once; repeatable."),
]
