"""What the options of ``cst`` mean: which configuration, which data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cst_core.choose_supervision import check_supervision
from cst_core.config import Resolved, preset_of, resolve
from cst_core.errors import ConfigError
from cst_core.manifest import MANIFEST, Origin, read_manifest
from cst_core.plugin import BackendPlugin

PHANTOM = "phantom"


@dataclass(frozen=True)
class TrainOptions:
    """The command line of ``cst train``; None is an option that was not given."""

    backend: str | None
    data: str | None
    fold: int | None
    out: Path | None
    preset: str | None
    config: Path | None
    assignments: Sequence[str]
    device: str
    resume: bool


@dataclass(frozen=True)
class DataChoice:
    """Which data, and why these."""

    source: str
    """``phantom`` or a folder, absolute."""
    because: str

    def __str__(self) -> str:
        name = "the built-in phantom" if self.source == PHANTOM else self.source
        return f"{name} ({self.because})"


def resolve_options(plugin: BackendPlugin[Any], options: TrainOptions) -> Resolved:
    """The configuration that the options of a new run mean.

    Raises:
        ConfigError: an unknown preset, supervision, key or value.
    """
    named = preset_of(options.config) if options.config else None
    if options.preset and named and options.preset != named:
        raise ConfigError(
            f"--preset {options.preset}: {options.config} builds on the preset {named!r}; leave one of the two out"
        )
    preset = options.preset or named or plugin.default_preset
    if preset not in plugin.presets:
        known = "; ".join(f"{name} ({values.about})" for name, values in plugin.presets.items())
        raise ConfigError(f"--preset {preset}: no such preset of {plugin.name!r}; known: {known}")
    values = plugin.presets[preset]
    resolved = resolve(
        plugin.name, plugin.config_class, preset, (values.train, values.backend), options.config, options.assignments
    )
    check_supervision(plugin, resolved.train)
    return resolved


def choose_data(given: str | None) -> DataChoice:
    """``--data``, else ``CST_DATA``, else the phantom."""
    if given is not None:
        return DataChoice(_absolute(given), "--data")
    if default := os.environ.get("CST_DATA"):
        return DataChoice(_absolute(default), "CST_DATA")
    return DataChoice(PHANTOM, "neither --data nor CST_DATA names other data")


def _absolute(source: str) -> str:
    return source if source == PHANTOM else str(Path(source).expanduser().absolute())


def run_of(weights: Path | None) -> Origin | None:
    """What the run was made from whose folder the weights lie in, if they lie in one."""
    if weights is None or not (weights.parent / MANIFEST).exists():
        return None
    return Origin(**read_manifest(weights.parent)["origin"])


def choose_evaluation_data(given: str | None, fold: int | None, weights: Path | None) -> tuple[DataChoice, int | None]:
    """Data and fold on which a model is judged: by default those of its own run, whose test pairs it never saw."""
    origin = run_of(weights)
    if given is not None or origin is None:
        return choose_data(given), fold
    return DataChoice(origin.data, "as the model's run"), origin.fold if fold is None else fold


def shareable(source: str) -> str:
    """What weights say of their data: they are given to others, who need its name, and not where it lies."""
    return "the built-in phantom" if source == PHANTOM else Path(source).name
