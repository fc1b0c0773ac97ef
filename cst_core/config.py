"""Configuration: typed, validated, from defaults < preset < TOML file < ``--set key=value``; TOML out again.

Unknown keys are refused, and the resolved configuration is saved with the run, reloadable with ``--config``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cst_core.errors import ConfigError, shortened


class Settings(BaseModel):
    """Base of every configuration class: frozen, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainConfig(Settings):
    """The loop of Sec. 2.2, whatever the modality."""

    stages: int = Field(default=8, ge=1)
    """T: how many times labels are made and learned (Sec. 3: 8 for images)."""
    iterations: int | None = Field(default=None, ge=1)
    """Steps a stage (Sec. 3: 1000 for images). Either this or `epochs`."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over all pairs a stage (Sec. 3: 60 for points). Either this or `iterations`; both unset: 1000 steps."""
    batch_size: int = Field(default=2, ge=1)
    """Pairs a step (Sec. 3: 2 for images, 4 for points)."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of Adam, at the start of every stage (Sec. 3)."""
    schedule: Literal["cosine", "step"] = "cosine"
    """``cosine`` to `final_learning_rate` (images), or ``step``: x0.1 at each of `drops` (points)."""
    final_learning_rate: float = Field(default=1e-5, ge=0)
    """Where the cosine ends (Sec. 3)."""
    drops: tuple[float, ...] = (40 / 60, 52 / 60)
    """Fractions of a stage at which the step schedule drops (Sec. 3: epochs 40 and 52 of 60)."""
    augment: bool = True
    """Asymmetry 1: random affine maps in the training stream. Off: the first ablation of Table 1."""
    weighted_sampling: bool = True
    """Draw easy pairs more often (Sec. 2.3.1). Off: every pair once a pass."""
    refine: bool = True
    """Asymmetry 2: labels are h's field after refinement. Off: h's own field is the label."""
    margin: int = Field(default=0, ge=0)
    """Sites at every side of the field that are not trained on (published code: 8, images). Clouds have no sides."""
    max_labels_gb: float | None = Field(default=None, gt=0)
    """Of pseudo labels that a stage makes, 10^9 bytes: where there are more pairs, each stage labels others of them,
    drawn at random. None: of all pairs."""
    supervision: str = "self"
    """What teaches g: ``self`` (the paper), or a rival that the backend offers; see `cst_core.supervision`."""
    metric: str | None = None
    """A second supervision, one that needs no field, whose loss is added: combined training (Sec. 4)."""
    metric_weight: float = Field(default=1.0, gt=0)
    """Of that loss, beside mm."""
    seed: int = 0
    """Of the networks, the draws and the augmentation; the phantom has its own."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if self.iterations is not None and self.epochs is not None:
            raise ValueError("set iterations or epochs, not both")
        return self

    def steps(self, n_pairs: int) -> int:
        """Optimisation steps a stage for this many pairs."""
        if self.epochs is not None:
            return max(1, round(self.epochs * n_pairs / self.batch_size))
        return self.iterations or 1000


class Resolved(NamedTuple):
    """A complete configuration and where it came from."""

    train: TrainConfig
    backend: BaseModel
    preset: str


def resolve(
    name: str,
    backend_class: type[BaseModel],
    preset: str,
    preset_values: tuple[Mapping[str, Any], Mapping[str, Any]],
    file: Path | None = None,
    assignments: Sequence[str] = (),
) -> Resolved:
    """Defaults, then the preset, then the file, then ``key=value`` assignments; validated as a whole.

    ``name`` is the backend's and the title of its table in the file; ``preset_values`` are its (train, backend) parts.

    Raises:
        ConfigError: an unknown or ambiguous key, an impossible value, a file that is no TOML or of another backend.
    """
    train, backend = dict(preset_values[0]), dict(preset_values[1])
    if file is not None:
        table = _read_toml(file)
        if table.get("backend", name) != name:
            raise ConfigError(
                f"{file}: is for the backend {shortened(repr(table['backend']))}, not {name!r}; pass another --config"
            )
        if extra := set(table) - {"backend", "preset", "train", name}:
            unknown = shortened(repr(sorted(extra)[0]))
            raise ConfigError(f"{file}: unknown table {unknown}; allowed: backend, preset, [train], [{name}]")
        for section in ("train", name):
            if not isinstance(table.get(section, {}), dict):
                raise ConfigError(
                    f"{file}: {section} must be a table, [{section}], got {shortened(repr(table[section]))}"
                )
        preset = str(table.get("preset", preset))
        # A file replaces the preset's choice of a stage's length, whichever of the two keys it uses.
        _override(train, table.get("train", {}))
        backend |= table.get(name, {})
    assigned: set[str] = set()
    for assignment in assignments:
        key, value = _parse(assignment)
        section, field = _section(key, name, backend_class), key.rpartition(".")[2]
        assigned.add(f"{section}.{field}")
        if section == "train":
            _override(train, {field: value})
        else:
            backend[field] = value
    return Resolved(
        _validated(TrainConfig, train, file, "train", assigned),
        _validated(backend_class, backend, file, name, assigned),
        preset,
    )


def overridden(name: str, config: BaseModel, assignments: Sequence[str]) -> BaseModel:
    """A backend's configuration under ``key=value`` assignments; validated as a whole, training's keys refused.

    Raises:
        ConfigError: a key that the backend ``name`` does not have, or an impossible value.
    """
    values, kind = config.model_dump(), type(config)
    for assignment in assignments:
        key, value = _parse(assignment)
        section, _, field = key.rpartition(".")
        if section not in ("", name) or field not in kind.model_fields:
            known = ", ".join(sorted(kind.model_fields))
            raise ConfigError(f"--set {shortened(key)}: is no setting of the backend {name!r}; known: {known}")
        values[field] = value
    return _validated(kind, values, None, name, {f"{name}.{key}" for key in values})


def preset_of(file: Path) -> str | None:
    """The preset that a configuration file builds on, if it names one.

    Raises:
        ConfigError: the file cannot be read or is no TOML.
    """
    preset = _read_toml(file).get("preset")
    return None if preset is None else str(preset)


def differences(one: Resolved, other: Resolved) -> list[str]:
    """Keys with different values, as ``section.key is one's value, other's value``; empty when the two are the same."""
    found: list[str] = []
    for section, a, b in (("train", one.train, other.train), ("backend", one.backend, other.backend)):
        ours, theirs = a.model_dump(mode="json"), b.model_dump(mode="json")
        found += [
            f"{section}.{key} is {ours.get(key)!r}, {theirs.get(key)!r}"
            for key in ours | theirs
            if ours.get(key) != theirs.get(key)
        ]
    return found


def to_toml(name: str, resolved: Resolved) -> str:
    """The resolved configuration as ``--config`` reads it; unset (None) keys are left out, as TOML has no null."""
    return tomli_w.dumps(
        {
            "backend": name,
            "preset": resolved.preset,
            "train": resolved.train.model_dump(mode="json", exclude_none=True),
            name: resolved.backend.model_dump(mode="json", exclude_none=True),
        }
    )


def _override(train: dict[str, Any], values: Mapping[str, Any]) -> None:
    if {"iterations", "epochs"} & set(values):
        train.pop("iterations", None)
        train.pop("epochs", None)
    train |= values


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); check --config") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{file}: is no valid TOML ({shortened(error)}); compare with config.toml of a finished run"
        ) from None


def _parse(assignment: str) -> tuple[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {shortened(assignment)}: must be key=value, for instance --set stages=3")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()  # a bare word is a string: --set schedule=step
    return key.strip(), value


def _section(key: str, name: str, backend_class: type[BaseModel]) -> str:
    section, _, field = key.rpartition(".")
    homes = [s for s, c in (("train", TrainConfig), (name, backend_class)) if field in c.model_fields]
    if section:
        homes = [home for home in homes if home == section]
    if len(homes) == 1:
        return homes[0]
    if homes:
        raise ConfigError(
            f"--set {key}: is a key of {' and '.join(homes)}; write {homes[0]}.{field} or {homes[1]}.{field}"
        )
    known = ", ".join(sorted(set(TrainConfig.model_fields) | set(backend_class.model_fields)))
    raise ConfigError(f"--set {shortened(key)}: no such key; known: {known}")


def _validated(
    kind: type[BaseModel], values: Mapping[str, Any], file: Path | None, section: str, by_hand: set[str]
) -> Any:
    known = f"known keys: {', '.join(kind.model_fields)}"
    source = f"{file}: " if file else ""
    if extra := set(values) - set(kind.model_fields):  # also where a backend's class does not forbid them
        raise ConfigError(f"{source}{section}.{shortened(sorted(extra)[0])}: no such key; {known}")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([section, *map(str, first["loc"])])
        if where in by_hand:
            source = "--set "
        # a rule about the whole has no place in it, and its value is the whole
        given = f", got {shortened(repr(first['input']))}" if first["loc"] else ""
        raise ConfigError(f"{source}{where}: {first['msg']}{given}; {known}") from None
