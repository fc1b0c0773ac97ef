"""From a template and its values to one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from cst_core.eventlog import finite
from cst_core.files import write_atomically

_FOLDER = Path(__file__).parent / "templates"
DASH = "\N{EN DASH}"  # where there is no figure
WIDEST = 1600  # pixels of a picture that is taken into a page
POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the browser itself sees to it that a report loads nothing."""


def write_page(out: Path, template: str, values: Mapping[str, Any]) -> None:
    """Render ``template`` and write it; the file appears only when complete.

    Raises:
        CstError: the file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("cst_core.report"),
        autoescape=select_autoescape(["j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "embed": embedded_json}
    environment.globals |= {"asset": asset, "policy": POLICY}
    write_atomically(out, environment.get_template(template).render(values).encode())


def asset(name: str) -> Markup:
    """A style sheet or script of ours, as it is."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def embedded_json(value: Any) -> Markup:
    """JSON that can stand inside a ``<script>`` element, whatever its strings hold; NaN becomes null."""
    return Markup(json.dumps(finite(value), separators=(",", ":")).replace("<", "\\u003c"))


def figure(value: Any, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    if not isinstance(value, int | float) or value != value:
        return DASH
    return f"{value:.{digits}f}"


def data_uri(data: bytes, kind: str) -> str:
    """``data:`` address of bytes of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture_uri(path: Path) -> str:
    """A picture file as WebP, no wider than `WIDEST`.

    Raises:
        OSError: it is not a picture that can be read.
    """
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=82, method=4)
    return data_uri(stream.getvalue(), "image/webp")
