"""Finding backends and preparation commands that installed distributions declare as entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from cst_core.errors import ConfigError, CstError

if TYPE_CHECKING:
    from cst_core.plugin import BackendPlugin

BACKENDS = "cst.backends"
PREPARE = "cst.prepare"
_NEEDED = (
    "name",
    "config_class",
    "presets",
    "default_preset",
    "backend",
    "untrained",
    "read_data",
    "score",
    "shipped",
    "picture",
)


def found(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, sorted; nothing is imported.

    Raises:
        CstError: two distributions declare the same name for different objects.
    """
    by_name: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        other = by_name.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise CstError(
                f"{entry.name!r} is declared in {group} by both {distribution(other)} and {distribution(entry)}; "
                "uninstall one of them"
            )
    return by_name


def distribution(entry: EntryPoint) -> str:
    """Name and version of the distribution that declares an entry point."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


def load_entry(entry: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        CstError: it cannot be imported; names the distribution that declares it.
    """
    try:
        return entry.load()
    except Exception as error:  # whatever a foreign module raises while it is imported
        raise CstError(
            f"{entry.name!r} of the distribution {distribution(entry)} cannot be imported "
            f"({entry.value}: {type(error).__name__}: {error}); repair or uninstall that distribution"
        ) from error


def load(name: str) -> BackendPlugin[Any]:
    """The plugin of the backend ``name``.

    Raises:
        ConfigError: no installed distribution declares it; lists those that are.
        CstError: it cannot be imported or is no plugin.
    """
    backends = found(BACKENDS)
    if name not in backends:
        known = ", ".join(backends) or "none; install a distribution that declares one"
        raise ConfigError(f"--backend {name}: no such backend; found: {known}")
    plugin = load_entry(backends[name])
    if missing := [attribute for attribute in _NEEDED if not hasattr(plugin, attribute)]:
        raise CstError(
            f"{name!r} of the distribution {distribution(backends[name])} is no backend plugin: "
            f"{backends[name].value} has no {', '.join(missing)}; see cst_core.plugin.BackendPlugin"
        )
    return plugin
