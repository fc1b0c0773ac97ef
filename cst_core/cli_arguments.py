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


class Split(StrEnum):
    """Which pairs of a data set."""

    TEST = "test"
    TRAIN = "train"


BackendOption = Annotated[str, typer.Option(help="Which kind of data: see cst info.", show_default=False)]
DeviceOption = Annotated[Device, typer.Option(help="auto: CUDA where there is one.")]
ModelOption = Annotated[
    str, typer.Option(metavar="RUN|FILE|NAME", help="Or random, random:PRESET: untrained features.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One of the backend's settings, this once; repeatable."),
]
ModelDataOption = Annotated[
    str | None,
    typer.Option(metavar="DIR|phantom", help="Default: the data of the model's run, else CST_DATA, else a phantom."),
]
ModelFoldOption = Annotated[
    int | None, typer.Option(help="Default: the fold of the model's run, if --data is not given.")
]
