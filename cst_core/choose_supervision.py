"""Which supervision a configuration names, among those that a plugin offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cst_core.config import TrainConfig
from cst_core.errors import ConfigError
from cst_core.plugin import BackendPlugin, EvalCase
from cst_core.supervision import SELF, Combined, SelfTraining, Supervision


def offered(plugin: BackendPlugin[Any]) -> Mapping[str, str]:
    """Every supervision of a backend by name, with a line about it."""
    return {SELF: "self-training, as in the paper; the default", **getattr(plugin, "supervisions", {})}


def taught_by(config: TrainConfig) -> str:
    """What teaches g, as weights and results name it."""
    return config.supervision + (f" + {config.metric_weight:g} {config.metric}" if config.metric else "")


def check_supervision(plugin: BackendPlugin[Any], config: TrainConfig) -> None:
    """That the backend has what the configuration names.

    Raises:
        ConfigError: it has not; names what it has.
    """
    known = offered(plugin)
    for option, name in (("--supervision ", config.supervision), ("--set metric=", config.metric)):
        if name is not None and name not in known:
            told = "; ".join(f"{one} ({about})" for one, about in known.items())
            raise ConfigError(f"{option}{name}: no such supervision of {plugin.name!r}; known: {told}")
    if config.metric == config.supervision:
        raise ConfigError(f"--set metric={config.metric}: is the supervision already; leave it out")


def make_supervision(
    plugin: BackendPlugin[Any], backend: Any, config: TrainConfig, cases: Sequence[EvalCase[Any]]
) -> Supervision[Any]:
    """What teaches g under a configuration that `check_supervision` has passed; ``cases`` are the training pairs.

    Raises:
        ConfigError: the metric is none.
        DataError: the data lacks the truth that the supervision needs.
    """

    def named(name: str) -> Supervision[Any]:
        rivals: Any = plugin  # it has them, or `check_supervision` would have refused the name
        return SelfTraining(config.margin) if name == SELF else rivals.supervision(name, backend, cases)

    main = named(config.supervision)
    if config.metric is None:
        return main
    other = named(config.metric)
    if other.fields:
        raise ConfigError(
            f"--set metric={config.metric}: compares with a field, which a pair alone has not; name another"
        )
    return Combined(main, other, config.metric_weight)
