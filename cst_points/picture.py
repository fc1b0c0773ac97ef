"""One pair before and after registration, as a picture: two projections of both clouds, and the landmarks' errors."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor, nn

from cst_core.files import write_atomically
from cst_core.metrics import landmark_tre
from cst_core.plugin import EvalCase
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.dense import dense_spline, displacement_at

SIZE_INCHES, DPI = (16.0, 16.0), 100
FIXED_COLOUR, MOVING_COLOUR = "#0072B2", "#9A9A9A"
"""Blue of Okabe and Ito's palette, and grey; errors have the warm colours."""
ERROR_COLOURS = ListedColormap(colormaps["inferno_r"](np.linspace(0.2, 0.85, 256)))
"""From orange to almost black: brightness alone tells them apart too; without the yellow that white paper swallows."""
MOST_POINTS = 1000
"""Drawn of a cloud: more hide the lines."""
SCALE_QUANTILE = 0.95
"""Of the errors before: where the colours end, so that one outlier does not make all others look alike."""


class Plane(NamedTuple):
    """The axes, 0 to 2, on which a projection looks."""

    across: int
    up: int


class State(NamedTuple):
    """What is drawn of a pair, before or after registration; mm, on the host."""

    title: str
    fixed: Float[Tensor, "N 3"]
    marks: Float[Tensor, "L 3"]
    """Fixed landmarks; L may be 0."""


def draw(backend: PointsBackend, network: nn.Module, case: EvalCase[CloudPair], path: Path) -> None:
    """Register one pair and write a PNG of 1600 x 1600 pixels; it appears only when complete.

    Left the fixed cloud as it is, right displaced by the refined field, both over the moving cloud. The vertical axis
    is the one along which the field is largest (in lungs towards the head), with a row for each of the other two, the
    wider first: of lungs the coronal, then the sagittal projection. Landmarks, where there are any, are joined with
    where they should be.

    Raises:
        CstError: the file cannot be written.
    """
    field = backend.register(network, case.pair).refined
    states = before(case), after(backend, case, field)
    write_atomically(path, render(case, states, projections(case.pair, field)))


def projections(pair: CloudPair, field: Float[Tensor, "3 N"]) -> tuple[Plane, Plane]:
    """Planes of both rows: up is the axis of the largest mean displacement; the wider of the others comes first."""
    up = int(field.abs().mean(1).argmax())
    wide = (pair.moving.amax(0) - pair.moving.amin(0)).tolist()
    first, second = sorted((axis for axis in range(3) if axis != up), key=lambda axis: -wide[axis])
    return Plane(first, up), Plane(second, up)


def before(case: EvalCase[CloudPair]) -> State:
    """The pair as it is."""
    marks = case.pair.fixed[:0] if case.landmarks is None else case.landmarks.fixed
    return State("Before", case.pair.fixed.cpu(), marks.cpu())


def after(backend: PointsBackend, case: EvalCase[CloudPair], field: Float[Tensor, "3 N"]) -> State:
    """Displaced by the refined field; landmarks by the spline through it, as they are scored."""
    pair, marks = case.pair, case.pair.fixed[:0]
    if case.landmarks is not None:
        marks = case.landmarks.fixed.to(pair.fixed)
        marks = marks + displacement_at(pair, dense_spline(pair, field, backend.config), marks)
    return State("After", (pair.fixed + field.T).detach().cpu(), marks.detach().cpu())


def render(case: EvalCase[CloudPair], states: tuple[State, State], rows: tuple[Plane, Plane]) -> bytes:
    """The PNG, the same bytes for the same input."""
    truth = case.pair.moving[:0].cpu() if case.landmarks is None else case.landmarks.moving.cpu()
    errors = [landmark_tre(torch.zeros_like(state.marks), state.marks, truth) for state in states]
    top = float(errors[0].quantile(SCALE_QUANTILE)) if len(truth) else 1.0
    scale = Normalize(0, max(top, 1e-3))
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15))
    panels = figure.subplots(len(rows), len(states), squeeze=False)
    drawn = [case.pair.moving.cpu(), truth, *(part for state in states for part in (state.fixed, state.marks))]
    limits = _limits(torch.cat(drawn), rows)
    for column, (state, error) in enumerate(zip(states, errors, strict=True)):
        for panel, plane in zip(panels[:, column], rows, strict=True):
            _clouds(panel, state, case.pair.moving.cpu(), plane)
            _residuals(panel, state.marks, truth, error, plane, scale)
            _axes(panel, plane, limits)
        tre = f": TRE {float(error.mean()):.2f} mm" if len(truth) else ""
        panels[0, column].set_title(f"{state.title}{tre}", fontsize=24, pad=12)
    figure.suptitle(case.id, fontsize=24, fontweight="bold")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=18, markerscale=4, frameon=False)
    if len(truth):
        lines = panels[0, 0].collections[-1]
        bar = figure.colorbar(lines, ax=panels, extend="max", shrink=0.6, aspect=35, pad=0.02)
        bar.set_label("landmark error, mm", fontsize=18)
        bar.ax.tick_params(labelsize=15)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _clouds(panel: Axes, state: State, moving: Float[Tensor, "M 3"], plane: Plane) -> None:
    for label, cloud, colour in (
        ("moving", moving, MOVING_COLOUR),
        ("fixed (right: displaced)", state.fixed, FIXED_COLOUR),
    ):
        x, y = _some(cloud)[:, list(plane)].T.numpy()
        panel.scatter(x, y, s=10, c=colour, label=label, linewidths=0, alpha=0.55)


def _limits(points: Float[Tensor, "K 3"], rows: tuple[Plane, Plane]) -> Float[Tensor, "3 2"]:
    """Lowest and highest mm per axis; both horizontal axes get the same length, so that all panels have one scale."""
    low, high = points.amin(0), points.amax(0)
    centre, half = (low + high) / 2, ((high - low) / 2).clamp(min=0.5) * 1.04
    across = [plane.across for plane in rows]
    half[across] = half[across].max()
    return torch.stack([centre - half, centre + half], 1)


def _axes(panel: Axes, plane: Plane, limits: Float[Tensor, "3 2"]) -> None:
    panel.set_xlim(*limits[plane.across].tolist())
    panel.set_ylim(*limits[plane.up].tolist())
    panel.set_aspect("equal", adjustable="box")
    panel.set_xlabel(f"{'xyz'[plane.across]}, mm", fontsize=18)
    panel.set_ylabel(f"{'xyz'[plane.up]}, mm", fontsize=18)
    panel.tick_params(labelsize=15)


def _some(cloud: Float[Tensor, "N 3"]) -> Float[Tensor, "K 3"]:
    """At most `MOST_POINTS` of a cloud; before and after, the same ones."""
    return cloud[torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))[:MOST_POINTS]]


def _residuals(
    panel: Axes,
    marks: Float[Tensor, "L 3"],
    truth: Float[Tensor, "L 3"],
    error: Float[Tensor, " L"],
    plane: Plane,
    scale: Normalize,
) -> None:
    """A line from every landmark to where it should be; the largest errors on top."""
    order = error.argsort()
    ends = torch.stack([marks, truth], 1)[order][..., list(plane)]
    lines = LineCollection(list(ends.numpy()), cmap=ERROR_COLOURS, norm=scale, linewidths=2.2, capstyle="round")
    lines.set_array(error[order].numpy())
    panel.add_collection(lines, autolim=False)
