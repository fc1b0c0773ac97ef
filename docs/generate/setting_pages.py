"""The reference of settings and presets, from the configuration classes and the texts below their fields."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from cst_core import plugins
from cst_core.config import TrainConfig

_HEAD = """# Settings and presets

This page is made from the configuration classes. A setting is given with `--set key=value`, or in a TOML file with
`--config FILE.toml`; a run folder holds its own, complete, as `config.toml`. What is given later wins: defaults,
preset, file, `--set`. A key that does not exist is an error.

"Sec." and "Eq." are of the paper; what stands in brackets is the published value where ours differs. `--set` of
`cst evaluate` and `cst register` takes the settings of the backend alone: they do not train.
"""


def settings_page() -> str:
    """Markdown: training's settings, then each backend's presets and settings."""
    parts = [_HEAD, "## Training: `[train]`\n", *_settings(TrainConfig)]
    for name, entry in plugins.found(plugins.BACKENDS).items():
        if entry.dist is None or entry.dist.name != "cst":
            continue
        plugin = plugins.load(name)
        parts += [f"## Backend {name}: presets\n", *_presets(plugin)]
        parts += [f"## Backend {name}: `[{name}]`\n", *_settings(plugin.config_class)]
    return "\n".join(parts)


def _presets(plugin: Any) -> Iterator[str]:
    yield f"`{plugin.default_preset}` is the default. All that a preset does not name stays as below.\n"
    yield "| preset | | sets |\n|---|---|---|"
    for name, preset in plugin.presets.items():
        values = {**preset.train, **preset.backend}
        said = ", ".join(f"`{key}={_value(value)}`" for key, value in values.items())
        yield f"| `{name}` | {preset.about} | {said or 'nothing'} |"
    yield ""


def _settings(kind: type[BaseModel]) -> Iterator[str]:
    texts = _texts(kind)
    heading = "| key | default | |\n|---|---|---|"
    if not any(group for group, _ in texts.values()):
        yield heading
    last = ""
    for key, field in kind.model_fields.items():
        group, text = texts[key]
        if group != last:
            yield f"\n### {kind.__name__}: {group}\n\n{heading}"
            last = group
        yield f"| `{key}` | `{_value(field.default)}` | {_cell(text)} |"
    yield ""


def _texts(kind: type[BaseModel]) -> Mapping[str, tuple[str, str]]:
    """Of every field: the comment that heads its group, and the text below it."""
    source = inspect.getsource(kind)
    comments = {
        number: found[1]
        for number, line in enumerate(source.splitlines(), 1)
        if (found := re.match(r"    # (.+)", line))
    }
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    texts: dict[str, tuple[str, str]] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        group = next((comments[line] for line in sorted(comments, reverse=True) if line < node.lineno), "")
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        text = str(after.value.value) if is_text else ""  # type: ignore[union-attr]
        texts[node.target.id] = group, " ".join(text.split())
    return texts


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
