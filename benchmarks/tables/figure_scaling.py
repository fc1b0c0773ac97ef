"""Seconds and memory against the number of scans and of voxels, both axes logarithmic, with the fitted lines.

    python -m benchmarks.tables.figure_scaling     # benchmarks/results/scaling.json -> docs/results/scaling.svg

The background is transparent and the text grey: it is read on light pages and on dark ones. The same bytes every time.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.tables.figure_stages import COLOURS, GREY
from benchmarks.tables.pages import DOCS, RESULTS


class Line(NamedTuple):
    """One figure of one part of the result."""

    part: str
    key: str
    name: str


class Panel(NamedTuple):
    """One set of axes."""

    heading: str
    along: str
    """The key of a point that is drawn along."""
    unit: str
    lines: Sequence[Line]


_WORK = (("scans", "images"), ("clouds", "clouds"))
PANELS = (
    Panel("scans (clouds: pairs)", "n", "processor seconds", [
        *(Line(part, "open_s", f"{name}: open the data set") for part, name in _WORK),
        *(Line(part, "label_s", f"{name}: one label") for part, name in _WORK),
    ]),
    Panel("scans (clouds: pairs)", "n", "MB", [Line(part, "growth_mb", name) for part, name in _WORK]),
    Panel("voxels", "voxels", "processor seconds", [Line("side", "pair_s", "one pair")]),
    Panel("voxels", "voxels", "MB", [Line("side", "growth_mb", "one pair")]),
)  # fmt: skip


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS / "scaling.json")
    parser.add_argument("--out", type=Path, default=DOCS / "scaling.svg")
    options = parser.parse_args()
    options.out.write_text(drawn(json.loads(options.json.read_text())), encoding="utf-8")
    print(options.out)


def drawn(result: Mapping[str, Any]) -> str:
    """The SVG."""
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "scaling", "font.size": 10}):
        figure = Figure(figsize=(9.0, 6.4), layout="constrained")
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            _draw(axes, panel, result)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return stream.getvalue()


def _draw(axes: Axes, panel: Panel, result: Mapping[str, Any]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for (part, key, name), colour in zip(panel.lines, COLOURS, strict=False):
        points, power = result[part]["points"], result[part]["exponents"][key]
        x, y = (np.array([point[what] for point in points], dtype=float) for what in (panel.along, key))
        axes.plot(x, y, "o", color=colour, ms=5, label=f"{name}, exponent {power:.2f}")
        # the least-squares line goes through the middle of the logarithms
        middle = np.log(y).mean() - power * np.log(x).mean()
        axes.plot(x, np.exp(middle) * x**power, color=colour, lw=1.2, alpha=0.7)
    low, high = axes.get_ylim()
    if high < 30 * low:  # what is flat shall look flat
        axes.set_ylim(low / 4, high * 8)
    axes.set_xlabel(panel.heading, color=GREY)
    axes.set_ylabel(panel.unit, color=GREY)
    axes.tick_params(which="both", colors=GREY)
    axes.grid(color=GREY, alpha=0.25, lw=0.6)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(GREY)
    axes.legend(frameon=False, labelcolor=GREY, fontsize=8)


if __name__ == "__main__":
    main()
