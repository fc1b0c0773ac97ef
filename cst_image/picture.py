"""One pair before and after registration, as a picture: three planes of both volumes, their difference, the field."""

from __future__ import annotations

import io
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor, nn

from cst_core.field import DisplacementField, Grid, positions, warp
from cst_core.files import write_atomically
from cst_core.metrics import jacobian_figures
from cst_core.plugin import EvalCase
from cst_image.backend import ImageBackend
from cst_image.overlap import mean, overlap
from cst_image.pair import ImagePair

ROWS = ("fixed", "moving", "moving, registered", "difference before", "difference after", "displacement")
ROW_INCHES, MOST_INCHES, DPI = 3.4, 11.0, 100
FIXED_COLOUR, MOVING_COLOUR = "#56B4E9", "#E69F00"
"""Sky blue and orange of Okabe and Ito's palette; solid and dashed tell them apart too."""
GREY = Normalize(-0.4, 0.6)
"""Where intensities lie."""
DIFFERENCE = Normalize(-0.5, 0.5)
LINES = 18
"""Of the deformed grid, along the longest side."""
_WORLD = (("L", "R"), ("P", "A"), ("I", "S"))


class Plane(NamedTuple):
    """A slice, by axes of the array."""

    name: str
    through: int
    across: int
    up: int
    at: int


def draw(backend: ImageBackend, network: nn.Module, case: EvalCase[ImagePair], path: Path) -> None:
    """Register one pair and write a PNG; it appears only when complete.

    Columns: the axial, coronal and sagittal plane through the middle of the fixed labels, or of the volume. Rows: see
    `ROWS`; the last shows the length of u and where it takes the lines of a regular grid. Labels, if there are any, as
    contours. As radiologists look: the patient's right, and in the sagittal plane the front, are at the left.

    Raises:
        CstError: the file cannot be written.
    """
    write_atomically(path, render(case, backend.displacement(network, case.pair)))


def planes(grid: Grid, labels: Integer[Tensor, "X Y Z"] | None) -> tuple[Plane, Plane, Plane]:
    """Axial, coronal and sagittal, each through the labels' centre of mass or the middle of the volume."""
    centre = [n // 2 for n in grid.shape]
    if labels is not None and bool((labels != 0).any()):
        centre = [round(value) for value in (labels != 0).nonzero().double().mean(0).tolist()]
    right, front, head = anatomical_axes(grid)
    views = (("axial", head, right, front), ("coronal", front, right, head), ("sagittal", right, front, head))
    one, two, three = (Plane(*view, centre[view[1]]) for view in views)
    return one, two, three


def anatomical_axes(grid: Grid) -> tuple[int, int, int]:
    """The array's axes that run, one way or the other, most nearly along right, anterior and superior."""
    right, front, head = max(
        permutations(range(3)),
        key=lambda order: sum(abs(float(grid.directions[w, axis])) for w, axis in enumerate(order)),
    )
    return right, front, head


def letters(grid: Grid, axis: int) -> tuple[str, str]:
    """Where an array axis begins and ends, as anatomists say."""
    world = anatomical_axes(grid).index(axis)
    low, high = _WORLD[world]
    return (low, high) if grid.directions[world, axis] > 0 else (high, low)


def render(case: EvalCase[ImagePair], field: DisplacementField) -> bytes:
    """The PNG, the same bytes for the same input."""
    pair, found = case.pair, overlap(case, field)
    warped = warp(pair.moving, field.vectors, field.grid.spacing)
    volumes = [v[0].cpu() for v in (pair.fixed, pair.moving, warped, pair.moving - pair.fixed, warped - pair.fixed)]
    maps = (found.fixed, found.moving, found.warped) if found else (None, None, None)
    fixed, before, after = (None if labels is None else labels.cpu() for labels in maps)
    contours = ((fixed, None), (None, before), (fixed, after), (fixed, before), (fixed, after))
    vectors = field.vectors.detach().cpu()
    length = torch.linalg.vector_norm(vectors, dim=0)
    views = planes(pair.grid, fixed)
    scale = Normalize(0, max(1e-3, *(float(_slice(length, plane).max()) for plane in views)))

    figure, panels = _panels(pair.grid, views)
    for column, plane in enumerate(views):
        for row, (volume, (solid, dashed)) in enumerate(zip(volumes, contours, strict=True)):
            panel, compared = panels[row, column], row > 2
            _image(panel, volume, plane, pair.grid, "PuOr" if compared else "gray", DIFFERENCE if compared else GREY)
            for labels, dash, colour in ((solid, False, FIXED_COLOUR), (dashed, True, MOVING_COLOUR)):
                if labels is not None:
                    _contours(panel, labels, plane, pair.grid, "black" if compared else colour, dash)
        _image(panels[-1, column], length, plane, pair.grid, "cividis", scale)
        _deformed(panels[-1, column], vectors, plane, pair.grid)
        panels[0, column].set_title(plane.name, fontsize=15)
    for panel, name in zip(panels[:, 0], ROWS, strict=True):
        panel.set_ylabel(name, fontsize=15)
    places = panels[0, 0].get_gridspec()
    for rows, norm, colours, said in (
        (slice(3, 5), DIFFERENCE, "PuOr", "moving minus fixed, mapped intensities"),
        (slice(5, 6), scale, "cividis", "length of displacement, mm"),
    ):
        bar = figure.colorbar(ScalarMappable(norm, colours), cax=figure.add_subplot(places[rows, -1]))
        bar.set_label(said, fontsize=12)
    figure.suptitle(_title(case, field), fontsize=15)
    if found:
        lines = [
            Line2D([], [], color=FIXED_COLOUR, linestyle="-", linewidth=2, label="fixed labels"),
            Line2D([], [], color=MOVING_COLOUR, linestyle="--", linewidth=2, label="moving labels"),
        ]
        figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=13, frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _title(case: EvalCase[ImagePair], field: DisplacementField) -> str:
    parts = [case.id]
    if found := overlap(case, field):
        before, after = mean(found.before), mean(found.after)
        if before is not None and after is not None:
            parts.append(f"Dice {100 * before:.1f} \N{RIGHTWARDS ARROW} {100 * after:.1f} %")
    if min(field.grid.shape) > 4:
        figures = jacobian_figures(field.vectors, field.grid.spacing)
        parts.append(f"SDlogJ {figures.sdlogj:.3f}, as Learn2Reg {figures.sdlogj_l2r:.3f}")
    return "\n".join([parts[0], "; ".join(parts[1:])]).strip()


def _panels(grid: Grid, views: tuple[Plane, ...]) -> tuple[Figure, np.ndarray]:
    """One scale for all: columns as wide as their planes, and a narrow one for the colours' bars."""
    size = [n * s for n, s in zip(grid.shape, grid.spacing, strict=True)]
    widths, tallest = [size[plane.across] for plane in views], max(size[plane.up] for plane in views)
    inches = min(ROW_INCHES / tallest, MOST_INCHES / sum(widths))
    figure = Figure(
        figsize=(max(sum(widths) * inches, 5.0) + 2.2, len(ROWS) * (max(tallest * inches, 1.5) + 0.1) + 1.3),
        dpi=DPI,
        layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.01, hspace=0.01),
    )
    places = figure.add_gridspec(len(ROWS), len(views) + 1, width_ratios=[*widths, 0.04 * sum(widths)])
    panels = [[figure.add_subplot(places[row, column]) for column in range(len(views))] for row in range(len(ROWS))]
    return figure, np.array(panels)


def _image(
    panel: Axes, volume: Float[Tensor, "X Y Z"], plane: Plane, grid: Grid, colours: str, norm: Normalize
) -> None:
    """A slice with the letters of its sides; mm along both axes, from the first voxel."""
    sides = [(-0.5 * grid.spacing[axis], (grid.shape[axis] - 0.5) * grid.spacing[axis]) for axis in plane[2:4]]
    panel.imshow(
        _slice(volume, plane).T.numpy(), origin="lower", extent=(*sides[0], *sides[1]), cmap=colours, norm=norm
    )
    (left, right), (bottom, top) = (letters(grid, axis) for axis in plane[2:4])
    # right and anterior at the left, anterior and superior at the top
    if right in "RA":
        panel.set_xlim(*sides[0][::-1])
        left, right = right, left
    if top in "PI":
        panel.set_ylim(*sides[1][::-1])
        bottom, top = top, bottom
    panel.set_xticks([])
    panel.set_yticks([])
    outline = [withStroke(linewidth=2.5, foreground="black")]
    for letter, x, y in ((left, 0.05, 0.5), (right, 0.95, 0.5), (bottom, 0.5, 0.05), (top, 0.5, 0.95)):
        panel.text(
            x, y, letter, transform=panel.transAxes, ha="center", va="center", fontsize=12, color="white",
            path_effects=outline,
        )  # fmt: skip


def _contours(
    panel: Axes, labels: Integer[Tensor, "X Y Z"], plane: Plane, grid: Grid, colour: str, dashed: bool
) -> None:
    shown = _slice(labels, plane).T
    x, y = (np.arange(grid.shape[axis]) * grid.spacing[axis] for axis in plane[2:4])
    for label in shown.unique().tolist():
        inside = shown == label
        if label and not bool(inside.all()) and min(inside.shape) > 1:
            style = "dashed" if dashed else "solid"
            panel.contour(x, y, inside.float().numpy(), [0.5], colors=[colour], linestyles=[style], linewidths=1.4)


def _deformed(panel: Axes, vectors: Float[Tensor, "3 X Y Z"], plane: Plane, grid: Grid) -> None:
    """The lines of a regular grid at x + u(x), seen along the plane's normal."""
    moved = positions(grid.shape, grid.spacing) + vectors
    x, y = (_slice(moved[axis], plane).numpy() for axis in plane[2:4])
    step = max(1, round(max(n * s for n, s in zip(grid.shape, grid.spacing, strict=True)) / LINES))
    every_x, every_y = (max(1, round(step / grid.spacing[axis])) for axis in plane[2:4])
    points = np.stack([x, y], -1)
    lines = [*points[::every_x], *points[:, ::every_y].swapaxes(0, 1)]
    panel.add_collection(LineCollection(lines, colors="white", linewidths=0.9), autolim=False)


def _slice(volume: Tensor, plane: Plane) -> Tensor:
    """``(across, up)``."""
    cut = volume.select(plane.through, plane.at)
    return cut if plane.across < plane.up else cut.T
