"""What a displacement maps to what, as SVG for light and for dark pages.

python docs/generate/displacement_figures.py DIR writes them all.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch


class Theme(NamedTuple):
    """Colours that are seen on one kind of page."""

    text: str
    faint: str
    fixed: str
    moving: str
    arrow: str


THEMES: Mapping[str, Theme] = {
    "light": Theme("#24292f", "#c3cad1", "#1f6fb2", "#c2570c", "#24292f"),
    "dark": Theme("#e3e7ee", "#59616e", "#6cb6ff", "#ffab6b", "#e3e7ee"),
}
_POINT = (3.2, 3.6)  # x, in the fixed grid
_THERE = (5.5, 4.7)  # x + u(x)
_MIDDLE = (4.35, 4.15)  # between the two


def drawn(name: str, theme: str) -> str:
    """The SVG of one of `FIGURES`; the same bytes every time."""
    settings: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": name, "mathtext.fontset": "dejavusans"}
    with matplotlib.rc_context(settings):
        figure = FIGURES[name](THEMES[theme])
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return stream.getvalue()


def _maps(theme: Theme) -> Figure:
    """One pair: where a fixed point goes, and where a warped voxel's value comes from."""
    figure = Figure(figsize=(7.4, 4.4))
    left, right = figure.add_axes((0.01, 0.2, 0.4, 0.62)), figure.add_axes((0.59, 0.2, 0.4, 0.62))
    for axes, colour, title in ((left, theme.fixed, "fixed scan"), (right, theme.moving, "moving scan")):
        _voxels(axes, theme, colour)
        axes.set_title(title, color=colour, fontsize=13, fontweight="bold")
    left.add_patch(Ellipse(_POINT, 3.6, 2.6, fill=False, ec=theme.fixed, lw=2))
    left.plot(*_POINT, "o", color=theme.fixed, ms=8)
    left.annotate("$x$", _POINT, (-14, 8), textcoords="offset points", color=theme.text, fontsize=14)
    right.add_patch(Ellipse(_POINT, 3.6, 2.6, fill=False, ec=theme.faint, lw=1.2, ls="--"))
    right.add_patch(Ellipse(_THERE, 3.0, 3.2, angle=20, fill=False, ec=theme.moving, lw=2))
    right.plot(*_POINT, "o", color=theme.faint, ms=6)
    right.annotate("$x$", _POINT, (-14, -12), textcoords="offset points", color=theme.text, fontsize=13)
    right.annotate("", _THERE, _POINT, arrowprops={"arrowstyle": "-|>", "color": theme.text, "lw": 2})
    right.annotate("$u(x)$", _MIDDLE, (-6, -20), textcoords="offset points", color=theme.text, fontsize=13)
    right.plot(*_THERE, "o", color=theme.moving, ms=8)
    right.annotate("$x + u(x)$", _THERE, (-20, 9), textcoords="offset points", color=theme.text, fontsize=13)
    _between(figure, theme, 0.62, "a point goes", theme.fixed, forward=True)
    _between(figure, theme, 0.40, "a value comes", theme.moving, forward=False)
    below = (
        (0.115, "points:  cst apply sends $x$ of the fixed scan to $x + u(x)$ in the moving scan", theme.fixed),
        (0.04, "images:  voxel $x$ of the warped image is the moving scan at $x + u(x)$", theme.moving),
    )
    for height, text, colour in below:
        figure.text(0.5, height, text, color=colour, fontsize=11, ha="center")
    return figure


def _voxels(axes: Axes, theme: Theme, colour: str) -> None:
    for step in range(9):
        axes.plot([step, step], [0, 7], color=theme.faint, lw=0.6)
    for step in range(8):
        axes.plot([0, 8], [step, step], color=theme.faint, lw=0.6)
    axes.plot([0, 8, 8, 0, 0], [0, 0, 7, 7, 0], color=colour, lw=1.4)
    axes.set_xlim(-0.1, 8.1)
    axes.set_ylim(-0.1, 7.1)
    axes.set_aspect("equal")
    axes.axis("off")


def _between(figure: Figure, theme: Theme, height: float, text: str, colour: str, forward: bool) -> None:
    ends = ((0.575, height), (0.425, height)) if forward else ((0.425, height), (0.575, height))
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2.2}
    _canvas(figure).annotate("", ends[0], ends[1], arrowprops=arrow)
    figure.text(0.5, height + 0.03, text, color=theme.text, fontsize=11, ha="center")


def _canvas(figure: Figure) -> Axes:
    axes = figure.add_axes((0, 0, 1, 1), zorder=-1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.axis("off")
    return axes


def _frames(theme: Theme) -> Figure:
    """The same axial slice with the axes of RAS and of LPS."""
    figure = Figure(figsize=(7.4, 3.5))
    said = (
        ("RAS", "NIfTI, FreeSurfer, cst's points", (-1, 1), ("$x$: right", "$y$: anterior"), theme.fixed),
        ("LPS", "ITK, ANTs, DICOM, files of fields", (1, -1), ("$x$: left", "$y$: posterior"), theme.moving),
    )
    for place, (name, users, (along_x, along_y), labels, colour) in enumerate(said):
        axes = figure.add_axes((0.5 * place, 0, 0.5, 0.86))
        axes.set_xlim(-5, 5)
        axes.set_ylim(-4.2, 3.9)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.set_title(f"{name}  ({users})", color=colour, fontsize=11, fontweight="bold")
        axes.add_patch(Ellipse((0, 0), 7.4, 5.0, fill=False, ec=theme.faint, lw=1.6))
        axes.add_patch(Ellipse((0, -1.75), 0.9, 0.8, fc=theme.faint, ec=theme.faint))  # the spine
        for at, text in (((-4.4, 0), "R"), ((4.4, 0), "L"), ((0, 2.95), "A"), ((0, -3.0), "P")):
            axes.text(*at, text, color=theme.text, fontsize=13, ha="center", va="center")
        for end, text, at in (
            ((2.4 * along_x, 0), labels[0], (1.45 * along_x, -0.3 * along_y)),
            ((0, 1.7 * along_y), labels[1], (-0.25 * along_x, 1.15 * along_y)),
        ):
            axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.2})
            side = "left" if at[0] > 0 else "right"
            side = "center" if end[0] else side
            axes.text(
                *at,
                text,
                color=theme.text,
                fontsize=11,
                ha=side,
                va="center" if not end[0] else "top" if at[1] < 0 else "bottom",
            )
        axes.text(0, -3.9, "$z$: superior in both. Seen from the feet.", color=theme.text, fontsize=10, ha="center")
    return figure


def _chain(theme: Theme) -> Figure:
    """The order in which the deformation and the affine map are applied, and undone."""
    figure = Figure(figsize=(7.4, 2.5))
    axes = _canvas(figure)
    boxes = (
        (0.02, "fixed world", "$x$", theme.fixed),
        (0.385, "still the fixed world", "$x' = x + u(x)$", theme.fixed),
        (0.75, "moving world", "$y = A\\,x'$", theme.moving),
    )
    for x, title, formula, colour in boxes:
        axes.add_patch(
            FancyBboxPatch(
                (x, 0.42), 0.23, 0.34, boxstyle="round,pad=0,rounding_size=0.02", fill=False, ec=colour, lw=1.8
            )
        )
        axes.text(x + 0.115, 0.65, title, color=colour, fontsize=11, ha="center", va="center")
        axes.text(x + 0.115, 0.52, formula, color=theme.text, fontsize=13, ha="center", va="center")
    for start, end, text, height in (
        (0.255, 0.38, "deformation", 0.64),
        (0.62, 0.745, "affine map", 0.64),
    ):
        axes.annotate(
            "", (end, height), (start, height), arrowprops={"arrowstyle": "-|>", "color": theme.text, "lw": 2}
        )
        axes.text(0.5 * (start + end), height + 0.2, text, color=theme.text, fontsize=11, ha="center", va="center")
        axes.annotate(
            "", (start, 0.52), (end, 0.52), arrowprops={"arrowstyle": "-|>", "color": theme.text, "lw": 1.2, "ls": "--"}
        )
    axes.text(
        0.5,
        0.2,
        "displacement.nii.gz holds the whole: $y - x$ at every fixed voxel",
        color=theme.fixed,
        fontsize=11,
        ha="center",
    )
    axes.text(
        0.5,
        0.05,
        "displacement_inverse.nii.gz: the way back, $x - y$ at every moving voxel",
        color=theme.moving,
        fontsize=11,
        ha="center",
    )
    return figure


FIGURES: Mapping[str, Callable[[Theme], Figure]] = {"maps": _maps, "frames": _frames, "chain": _chain}

if __name__ == "__main__":
    for figure_name in FIGURES:
        for theme_name in THEMES:
            Path(sys.argv[1], f"{figure_name}-{theme_name}.svg").write_text(drawn(figure_name, theme_name))
