"""Charts as inline SVG: text stays text, colours come from the page's style sheet and follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 14.0, 42.0


class Series(NamedTuple):
    """A line or a set of marks: ``points`` are (x, y); ``colour`` is a number of the style sheet's palette."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 1
    marks: bool = True
    line: bool = True


class Scale(NamedTuple):
    """From values between ``low`` and ``high`` to places between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float | int) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(
    title: str,
    series: Sequence[Series],
    y_label: str,
    x_label: str,
    x_names: Sequence[tuple[float, str]] = (),
    level: tuple[float, str] | None = None,
    from_zero: bool = False,
) -> Markup:
    """Lines over x; ``x_names`` replaces the numbers of the x axis, ``level`` is a dashed line across."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + ([level[0]] if level else []) + ([0.0] if from_zero else [])
    if not xs:
        return Markup("")
    ticks = nice_ticks(min(ys), max(ys))
    across = Scale(*_apart(min(xs), max(xs)), LEFT + 10, WIDTH - RIGHT - 10)
    up = Scale(min(ticks[0], *ys), max(ticks[-1], *ys), HEIGHT - BOTTOM, TOP)
    named = x_names or [(x, f"{x:g}") for x in nice_ticks(min(xs), max(xs)) if min(xs) <= x <= max(xs)]
    parts = [*_frame(ticks, up, y_label, x_label)]
    parts += [_text(across.at(x), HEIGHT - BOTTOM + 17, name, "middle") for x, name in named]
    if level:
        y = up.at(level[0])
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(WIDTH - RIGHT, y - 5, level[1], "end"))
    for one in series:
        places = [(across.at(x), up.at(y)) for x, y in one.points]
        if one.line:
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="line c{one.colour}" points="{joined}"/>')
        if one.marks:
            for (x, y), (value_x, value) in zip(places, one.points, strict=True):
                said = f"{one.name}, {_name_of(value_x, named)}: {value:.4g}"
                parts.append(_dot(x, y, 4.0, one.colour, said))
    return _svg(title, HEIGHT, parts)


def histogram(title: str, values: Sequence[float], edges: Sequence[float], most: int, x_label: str) -> Markup:
    """Counts of ``values`` between ``edges``, under a common height ``most``; a line marks the median."""
    height = 150.0
    across = Scale(edges[0], edges[-1], LEFT, WIDTH - RIGHT)
    up = Scale(0.0, float(max(most, 1)), height - BOTTOM, TOP)
    parts = [*_frame([0.0, float(max(most, 1))], up, "pairs", x_label, height)]
    parts += [
        _text(across.at(x), height - BOTTOM + 17, f"{x:g}", "middle")
        for x in nice_ticks(edges[0], edges[-1])
        if x <= edges[-1]
    ]
    for low, high, count in zip(edges, edges[1:], counts(values, edges), strict=False):
        if count:
            x, y = across.at(low) + 0.7, up.at(count)
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{across.at(high) - x - 0.7:.1f}" '
                f'height="{height - BOTTOM - y:.1f}"><title>{low:.3g} to {high:.3g}: {count}</title></rect>'
            )
    middle = across.at(sorted(values)[len(values) // 2])
    parts.append(f'<line class="median" x1="{middle:.1f}" x2="{middle:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
    return _svg(title, height, parts)


def dumbbells(title: str, rows: Sequence[tuple[str, float | None, float | None]], x_label: str, top: float) -> Markup:
    """One row a name: a hollow mark before, a full one after, a line between; from 0 to ``top``."""
    left, step = 132.0, 22.0
    height = TOP + step * len(rows) + BOTTOM
    ticks = nice_ticks(0.0, top)
    across = Scale(0.0, max(top, ticks[-1]), left, WIDTH - RIGHT)
    parts = []
    for x in ticks:
        parts.append(
            f'<line class="rule" x1="{across.at(x):.1f}" x2="{across.at(x):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        )
        parts.append(_text(across.at(x), height - BOTTOM + 17, f"{x:g}", "middle"))
    for row, (name, before, after) in enumerate(rows):
        y = TOP + step * (row + 0.5)
        parts.append(_text(left - 10, y + 4, _shortened(name, 20), "end"))
        if before is not None and after is not None:
            a, b = across.at(before), across.at(after)
            kind = "worse" if after < before else "better"
            parts.append(f'<line class="between {kind}" x1="{a:.1f}" x2="{b:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if before is not None:
            parts.append(
                f'<circle class="hollow" cx="{across.at(before):.1f}" cy="{y:.1f}" r="4.5">'
                f"<title>{escape(name)}, before: {before:.3f}</title></circle>"
            )
        if after is not None:
            parts.append(_dot(across.at(after), y, 4.5, 1, f"{name}, after: {after:.3f}"))
    parts.append(_text((left + WIDTH - RIGHT) / 2, height - 6, x_label, "middle", "label"))
    return _svg(title, height, parts)


def counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each interval; the last one is closed."""
    found = [0] * (len(edges) - 1)
    for value in values:
        place = next((i for i, high in enumerate(edges[1:]) if value < high), len(found) - 1)
        found[place] += 1
    return found


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``."""
    low, high = _apart(low, high)
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1.0, 2.0, 2.5, 5.0, 10.0) if f * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * i, 12) for i in range(first, last + 1)]


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high - low > 1e-12 else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def _frame(ticks: Sequence[float], up: Scale, y_label: str, x_label: str, height: float = HEIGHT) -> Iterator[str]:
    for value in ticks:
        y = up.at(value)
        yield f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 7, y + 4, f"{value:g}", "end")
    middle = (TOP + height - BOTTOM) / 2
    yield (
        f'<text class="label" text-anchor="middle" transform="translate(12 {middle:.0f}) rotate(-90)">'
        f"{escape(y_label)}</text>"
    )
    yield _text((LEFT + WIDTH - RIGHT) / 2, height - 6, x_label, "middle", "label")


def _dot(x: float, y: float, radius: float, colour: int, said: str) -> str:
    return (
        f'<circle class="dot c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(said)}</title></circle>'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _name_of(x: float, named: Sequence[tuple[float, str]]) -> str:
    return next((name for value, name in named if value == x), f"{x:g}")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(title: str, height: float, parts: Sequence[str]) -> Markup:
    inside = "".join(parts)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">{inside}</svg>'
    )
