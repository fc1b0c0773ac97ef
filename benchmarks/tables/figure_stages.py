"""Fig. 1: Dice or landmark error of the test pairs after each stage, a line a supervision.

    python -m benchmarks.tables.figure_stages                                           # writes docs/results/stages.svg
    python -m benchmarks.tables.figure_stages runs/bench/comparison_*.json --out F.svg  # of these files

Without files those of benchmarks/results: ``comparison_DATA.json`` whose rows have their runs' curves, and for data
that has none the curve of a single run, ``DATA_run.json``. The background is transparent and the text grey: it is read
on light pages and on dark ones. The same bytes every time.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.tables.pages import DOCS, RESULTS

TITLES = {"lungs": "lungs", "hippocampus": "hippocampus", "abdomen": "abdomen"}
HEADS = {"dice": "Dice", "tre_mm": "TRE mm"}
GREY = "#808890"
COLOURS = ("#2a8fd8", "#e07a1f", "#2fa568", "#c25ec4", "#b8912b", "#d9534f", "#5b7fdb", "#7a8f3c")
"""Seen on white and on dark grey; the first is self-training's."""


class Curve(NamedTuple):
    """One line."""

    name: str
    seeds: Sequence[Mapping[int, float]]
    """By stage; one a seed."""

    def mean(self) -> dict[int, float]:
        """Over seeds, at the stages that all have."""
        stages = sorted(set.intersection(*(set(seed) for seed in self.seeds)))
        return {stage: fmean(seed[stage] for seed in self.seeds) for stage in stages}


class Panel(NamedTuple):
    """One set of axes."""

    title: str
    figure: str
    """A key of `HEADS`."""
    curves: Sequence[Curve]


def main() -> None:
    """Draw what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=DOCS / "stages.svg")
    options = parser.parse_args()
    panels = panels_of(options.files or files_in(RESULTS))
    if not panels:
        raise SystemExit("no file has a curve over stages; make some: python -m benchmarks.supervisions --help")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(drawn(panels), encoding="utf-8")
    print(options.out)


def files_in(results: Path) -> list[Path]:
    """For every data set the comparison, else a single run's curve."""
    choices = [(results / f"comparison_{name}.json", results / f"{name}_run.json") for name in TITLES]
    return [
        file
        for comparison, run in choices
        for file in [comparison if _has_curves(comparison) else run]
        if file.exists()
    ]


def panels_of(files: Sequence[Path]) -> list[Panel]:
    """One a file that has a curve."""
    made = []
    for file in files:
        result = json.loads(file.read_text())
        curves = _curves(result)
        name = file.stem.removeprefix("comparison_").removesuffix("_run")
        for figure in HEADS:
            if of_figure := [curve for curve in (_picked(*one, figure) for one in curves.items()) if curve]:
                made.append(Panel(TITLES.get(name, name.replace("_", " ")), figure, of_figure))
                break
    return made


def drawn(panels: Sequence[Panel]) -> str:
    """The SVG."""
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "stages", "font.size": 10}):
        colours = _colours(panels)
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel, colours)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return stream.getvalue()


def _draw(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    for curve in panel.curves:
        colour = colours[curve.name]
        if len(curve.seeds) > 1:
            for seed in curve.seeds:
                axes.plot(sorted(seed), [seed[stage] for stage in sorted(seed)], color=colour, lw=0.7, alpha=0.45)
        mean = curve.mean()
        axes.plot(list(mean), list(mean.values()), color=colour, lw=2, marker="o", ms=4, label=curve.name)
    stages = sorted({stage for curve in panel.curves for stage in curve.mean()})
    axes.set_xticks(stages, ["random\nfeatures" if stage == 0 else str(stage) for stage in stages])
    axes.set_xlabel("stage", color=GREY)
    axes.set_ylabel(HEADS[panel.figure], color=GREY)
    axes.set_title(panel.title, color=GREY, fontsize=11)
    axes.tick_params(colors=GREY)
    axes.grid(axis="y", color=GREY, alpha=0.25, lw=0.6)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(GREY)
    axes.legend(frameon=False, labelcolor=GREY, fontsize=9)


def _curves(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Mapping[str, float]]]]:
    """By method: figures by stage, one a seed. Not of what has a table of its own (``self, labels at 8 mm``)."""
    if "rows" not in result:
        return {"self-training": [result["stages"]]}
    found: dict[str, list[Mapping[str, Mapping[str, float]]]] = {}
    for row in result["rows"]:
        if row.get("stages") and row["setting"] == "default" and ", " not in row["method"]:
            found.setdefault("self-training" if row["method"] == "self" else row["method"], []).append(row["stages"])
    return found


def _picked(name: str, seeds: Sequence[Mapping[str, Mapping[str, float]]], figure: str) -> Curve | None:
    values = [{int(stage): means[figure] for stage, means in seed.items() if figure in means} for seed in seeds]
    return Curve(name, values) if all(values) else None


def _colours(panels: Sequence[Panel]) -> dict[str, str]:
    """A method has one colour in all panels."""
    names = dict.fromkeys(["self-training", *(curve.name for panel in panels for curve in panel.curves)])
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def _has_curves(file: Path) -> bool:
    return file.exists() and bool(_curves(json.loads(file.read_text())))


if __name__ == "__main__":
    main()
