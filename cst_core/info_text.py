"""What ``cst info`` found, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_FIGURES = (("tre_mm", "TRE", "mm", 2), ("dice", "Dice", "", 3), ("sdlogj_l2r", "SDlogJ (L2R)", "", 3))


def show(found: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print one panel a section."""
    versions = {**found["versions"], **found["packages"]}
    sections: list[tuple[str, RenderableType]] = [
        ("Installed", _columns(versions)),
        ("Machine", _pairs({**found["devices"], **found["compilers"], **found["checks"]})),
        ("Models", _models(found["backends"])),
        ("Backends", _pairs({name: _backend(one) for name, one in found["backends"].items()})),
        ("Prepare", _pairs({f"cst prepare {name}": by for name, by in found["prepare"].items()})),
        ("Data", _pairs(_flat(found["data"]))),
    ]
    console.print(Group(*(Panel(body, title=title, title_align="left") for title, body in sections)))


def _columns(values: Mapping[str, str]) -> Table:
    """Names and versions, three side by side."""
    table = Table.grid(padding=(0, 2))
    cells = [
        Text.assemble((name, "bold"), "  ", (value, "yellow" if value == "not installed" else ""))
        for name, value in values.items()
    ]
    for start in range(0, len(cells), 3):
        table.add_row(*cells[start : start + 3])
    return table


def _pairs(values: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in values.items() or {"none": ""}.items():
        table.add_row(Text(name, "bold"), Text(value, overflow="fold"))
    return table


def _models(backends: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("model", "backend", "trained on", "figures at its last evaluation"):
        table.add_column(heading, overflow="fold")
    for backend, one in backends.items():
        for name, about in one.get("models", {}).items():
            table.add_row(name, backend, about.get("error") or _trained(about), _figures(about))
    return table if table.row_count else Text("none come with the installed backends")


def _trained(about: Mapping[str, Any]) -> str:
    seeds = about.get("seeds") or ([about["seed"]] if "seed" in about else [])
    parts = [
        str(about.get("trained_on", "not said")),
        *([f"fold {about['fold']}"] if about.get("fold") is not None else []),
        *([f"{about['pairs']} pairs"] if about.get("pairs") else []),
        *([f"stage {about['stage']}"] if about.get("stage") is not None else []),
        *([f"seeds {', '.join(map(str, seeds))}"] if len(seeds) > 1 else []),
    ]
    return ", ".join(parts)


def _figures(about: Mapping[str, Any]) -> str:
    figures = about.get("figures") or {}
    said = [
        f"{label} {figures[key]:.{digits}f} {unit}".rstrip()
        for key, label, unit, digits in _FIGURES
        if isinstance(figures.get(key), int | float)
    ]
    return ", ".join(said) or "none in the file"


def _backend(one: Mapping[str, Any]) -> str:
    if "error" in one:
        return f"{one['distribution']}: {one['error']}"
    return f"{one['distribution']}; presets {', '.join(one['presets']) or 'none'}"


def _flat(data: Mapping[str, Any]) -> dict[str, str]:
    flat = dict[str, str]()
    for name, value in data.items():
        if isinstance(value, Mapping):
            flat |= {f"for {backend}": said for backend, said in value.items()}
        else:
            flat[name] = str(value)
    return flat
