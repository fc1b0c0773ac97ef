"""Weights files: safetensors that say which backend and configuration they belong to. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cst_core.backend import Backend
from cst_core.config import overridden
from cst_core.environment import version
from cst_core.errors import CheckpointError, ConfigError, shortened
from cst_core.files import write_atomically
from cst_core.first_features import RANDOM_FEATURES, features_name
from cst_core.plugin import BackendPlugin
from cst_core.supervision import SELF
from cst_core.training import weights_digest

FORMAT = "cst-weights-1"
RANDOM = "random"
RANDOM_SEED = 0


class Model(NamedTuple):
    """A network in evaluation mode, with the backend it was trained for."""

    network: nn.Module
    backend: Backend[Any]
    config: BaseModel
    """The backend's configuration: the one stored with the weights, under `settings`."""
    file: Path | None
    """Where the weights came from; None for random ones."""
    about: Mapping[str, Any]
    """What `save_model` was told: ``trained_on``, figures, stage."""
    description: str
    """One line for people."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """What was set by hand, as JSON has it."""


def save_model(
    path: Path,
    network: nn.Module,
    backend_name: str,
    backend_config: Mapping[str, Any],
    about: Mapping[str, Any],
    stored: torch.dtype | None = None,
) -> None:
    """Write the weights, with all that is needed to use them, under their name only once complete.

    Args:
        path: Ends in ``.safetensors``.
        network: g; its weights and buffers are written.
        backend_name: Who can use them.
        backend_config: ``config.model_dump(mode="json")`` of the backend's configuration.
        about: ``trained_on``, figures and the like; anything that JSON can hold.
        stored: Type of the floating-point numbers in the file, where it is not the network's; it must hold each of
            them exactly.

    Raises:
        ValueError: ``stored`` would change a weight.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    if stored is not None:
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                continue
            tensors[name] = tensor.to(stored)
            if not torch.equal(tensors[name].to(tensor.dtype), tensor):
                raise ValueError(f"stored: {stored} must hold every weight exactly, but changes {name}; round it first")
    metadata = {
        "format": FORMAT,
        "cst": version(),
        "backend": backend_name,
        "config": json.dumps(dict(backend_config)),
        "about": json.dumps(dict(about)),
    }
    metadata["sha256"] = _digest(network, metadata)
    write_atomically(path, save(tensors, metadata))


def load_model(
    reference: str | Path, plugin: BackendPlugin[Any], device: str, assignments: Sequence[str] = ()
) -> Model:
    """Find and load weights.

    Args:
        reference: ``random`` (of the default preset) or ``random:PRESET``; a shipped name; a run folder (its last
            finished stage); or a weights file. A name comes before a folder that is called the same: write ``./lung``
            for the folder.
        plugin: The backend's.
        device: ``cpu`` or ``cuda``.
        assignments: ``key=value`` over the configuration that is stored with the weights (or the default preset's,
            for random ones).

    Raises:
        CheckpointError: there is no such model, or it is damaged or of another backend.
        ConfigError: an assignment that the backend does not know, or under which the weights do not fit.
    """
    name, _, preset = str(reference).partition(":")
    if name == RANDOM:
        return _random(plugin, preset or plugin.default_preset, device, assignments)
    file = find_weights(reference, plugin)
    tensors, metadata = _read(file)
    if metadata["backend"] != plugin.name:
        raise CheckpointError(
            f"{file}: belongs to the backend {shortened(repr(metadata['backend']))}, not {plugin.name!r}; "
            f"pass --backend {shortened(metadata['backend'])} or other weights"
        )
    try:
        config = plugin.config_class.model_validate_json(metadata["config"])
        about = json.loads(metadata["about"])
        if not isinstance(about, dict):
            raise ValueError(f"about must be a JSON object, found {type(about).__name__}")
    except (ValidationError, ValueError, RecursionError) as error:
        first = shortened(str(error).splitlines()[0])
        raise CheckpointError(
            f"{file}: was written by cst {shortened(metadata['cst'], 20)} with a configuration that this version "
            f"({version()}) does not know ({first}); train again, or use that version"
        ) from None
    config = overridden(plugin.name, config, assignments)
    try:
        _check_size(plugin, config, tensors)
        backend = plugin.backend(config, device)
        network = backend.new_network(RANDOM_SEED)
        network.load_state_dict(tensors)
    except (RuntimeError, _TooLargeError) as error:
        first = shortened(error, 200)
        if assignments:
            raise ConfigError(
                f"--set {', '.join(assignments)}: makes a network that the weights of {file} do not fit ({first}); "
                "leave out what shapes the network, or train with it"
            ) from None
        raise CheckpointError(
            f"{file}: its weights do not fit the network of {plugin.name!r} ({first}); train again"
        ) from None
    if _digest(network, metadata) != metadata["sha256"]:
        raise CheckpointError(f"{file}: is damaged (its checksum does not fit what it holds); {_AGAIN}")
    trained_on = about.get("trained_on", "unknown data")
    taught = about.get("supervision", SELF)
    description = f"{file} (trained on {trained_on}{'' if taught == SELF else f' by {taught}'})"
    return Model(network.eval(), backend, config, file, about, description, _settings(config, assignments))


def find_weights(reference: str | Path, plugin: BackendPlugin[Any]) -> Path:
    """The weights file that a reference other than ``random`` means.

    Raises:
        CheckpointError: there is none.
    """
    shipped = plugin.shipped()
    if str(reference) in shipped:
        return shipped[str(reference)]
    path = Path(reference)
    if path.is_dir():
        return last_stage(path)
    if path.is_file():
        return path
    names = ", ".join([*sorted(shipped), RANDOM])
    raise CheckpointError(f"--model {reference}: no such run folder or weights file, and no shipped name ({names})")


def last_stage(run: Path) -> Path:
    """The weights of the last finished stage of a run folder.

    Raises:
        CheckpointError: no stage is finished yet.
    """
    stages = {int(m[1]): file for file in run.iterdir() if (m := re.fullmatch(r"stage-(\d+)\.safetensors", file.name))}
    if not stages:
        raise CheckpointError(
            f"{run}: holds no finished stage (stage-*.safetensors); finish it: cst train --resume --out {run}"
        )
    return stages[max(stages)]


_AGAIN = "copy it again, or train again"
_KEYS = ("format", "cst", "backend", "config", "about")


def _digest(network: nn.Module, metadata: Mapping[str, str]) -> str:
    # safetensors has no checksum of its own, and a flipped bit in a weight is a valid weight
    told = json.dumps([metadata[key] for key in _KEYS])
    return hashlib.sha256((told + weights_digest(network)).encode()).hexdigest()


class _TooLargeError(ValueError):
    """A network would be larger than the weights for it."""


def _check_size(plugin: BackendPlugin[Any], config: BaseModel, tensors: Mapping[str, Tensor]) -> None:
    """Before a network is made that takes all memory, as a damaged or hostile configuration may describe."""
    try:
        with torch.device("meta"):
            network = plugin.backend(config, "meta").new_network(RANDOM_SEED)
    except Exception:  # a backend of somebody else's that cannot do without memory: its own affair
        return
    needed, held = (sum(one.numel() for one in part.values()) for part in (network.state_dict(), tensors))
    if needed > held:
        raise _TooLargeError(f"it has {needed} numbers, the file {held}")


def _settings(config: BaseModel, assignments: Sequence[str]) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    keys = (assignment.partition("=")[0].strip().rpartition(".")[2] for assignment in assignments)
    return {key: values[key] for key in keys}


def _random(plugin: BackendPlugin[Any], preset: str, device: str, assignments: Sequence[str]) -> Model:
    if preset not in plugin.presets:
        known = ", ".join(plugin.presets)
        raise CheckpointError(f"--model {RANDOM}:{preset}: no such preset of {plugin.name!r}; known: {known}")
    try:
        config = plugin.config_class.model_validate(dict(plugin.presets[preset].backend))
    except ValidationError as error:
        raise ConfigError(f"backend {plugin.name!r}: its preset {preset} is invalid ({error}); repair it") from error
    config = overridden(plugin.name, config, assignments)
    backend = plugin.backend(config, device)
    network = plugin.untrained(backend, RANDOM_SEED).eval()
    name = features_name(network)
    description = f"{name}{f' (seed {RANDOM_SEED})' if name == RANDOM_FEATURES else ''}, not trained"
    return Model(network, backend, config, None, {}, description, _settings(config, assignments))


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt", device="cpu") as stream:
            metadata = dict(stream.metadata() or {})
            if metadata.get("format") == FORMAT and {*_KEYS, "sha256"} <= set(metadata):
                return {name: stream.get_tensor(name) for name in stream.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file}: is damaged or no safetensors file ({error}); {_AGAIN}") from None
    raise CheckpointError(
        f"{file}: holds tensors, but was not written by this program (no {FORMAT!r} in its metadata); "
        "pass a run folder or a file that cst train wrote"
    )
