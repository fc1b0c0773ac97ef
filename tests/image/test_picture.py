"""The picture of a pair: where letters stand, which slices are shown, and a file that is whole or not there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image, pyplot
from matplotlib.figure import Figure
from torch import nn

from cst_core.errors import CstError
from cst_core.field import DisplacementField, Grid, positions
from cst_core.plugin import EvalCase
from cst_image.backend import ImageBackend
from cst_image.case import ImageCase
from cst_image.pair import ImagePair
from cst_image.picture import GREY, ROWS, Plane, _image, anatomical_axes, draw, letters, planes, render

SHAPE, SPACING = (24, 30, 20), (2.0, 1.5, 3.0)
GRID = Grid.of(SHAPE, SPACING)
NETWORK = nn.Identity()


class Shifting(ImageBackend):
    """Knows the answer: 4.5 mm along the second axis, and a wave."""

    def displacement(self, network: nn.Module, pair: ImagePair) -> DisplacementField:  # noqa: ARG002
        vectors = torch.zeros(3, *pair.grid.shape)
        vectors[1] = 4.5
        vectors[0] = torch.sin(positions(pair.grid.shape, pair.grid.spacing)[1] / 8)
        return DisplacementField(vectors, pair.grid)


def case(labelled: bool = True, grid: Grid = GRID) -> EvalCase[ImagePair]:
    x = positions(grid.shape, grid.spacing)
    fixed = 0.3 * torch.sin(x[0] / 5) * torch.cos(x[1] / 6)[None]
    pair = ImagePair(fixed, fixed.roll(3, 2), grid)
    if not labelled:
        return EvalCase("bare", pair)
    labels = torch.zeros(grid.shape, dtype=torch.uint8)
    labels[4:12, 6:14, 3:9], labels[12:16, 6:14, 3:9] = 1, 2
    return ImageCase("one", pair, None, labels, labels.roll(3, 1))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_png_that_is_not_blank(tmp_path, labelled):
    path = tmp_path / "pair.png"
    draw(Shifting(), NETWORK, case(labelled), path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = image.imread(path)[..., :3]
    assert max(pixels.shape) < 3000
    for row in np.array_split(pixels, len(ROWS)):
        for panel in np.array_split(row[:, : int(0.85 * row.shape[1])], 3, axis=1):
            assert (panel < 0.9).any(axis=-1).mean() > 0.04
    for colour in ("#56B4E9", "#E69F00"):  # contours, and their legend
        wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert ((np.abs(pixels - wanted).max(-1) < 0.02).sum() > 200) == labelled
    assert [entry.name for entry in tmp_path.iterdir()] == ["pair.png"]


def test_title_says_how_good_it_is(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(Figure, "suptitle", lambda _, text, **__: said.append(text))
    for labelled in (True, False):
        one = case(labelled)
        render(one, Shifting().displacement(NETWORK, one.pair))
    assert said[0].startswith("one\nDice 62.5 \N{RIGHTWARDS ARROW} ")
    assert "SDlogJ 0.0" in said[0]
    assert said[1].startswith("bare\nSDlogJ")


def test_the_same_pair_gives_the_same_file_whatever_the_extension(tmp_path):
    for name in ("a.png", "b.partial"):
        draw(Shifting(), NETWORK, case(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.partial").read_bytes()


def test_planes_go_through_the_labels_or_the_middle():
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[4:9, 6:13, 3:6] = 7
    assert planes(GRID, labels) == (
        Plane("axial", 2, 0, 1, 4),
        Plane("coronal", 1, 0, 2, 9),
        Plane("sagittal", 0, 1, 2, 6),
    )
    middle = planes(GRID, None)
    assert [plane.at for plane in middle] == [10, 15, 12]
    assert planes(GRID, 0 * labels) == middle


def turned(*columns: tuple[int, float]) -> Grid:
    """Array axis k runs along the world axis and with the sign of columns[k]."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = 0
    for axis, (world, step) in enumerate(columns):
        matrix[world, axis] = step
    return Grid.from_affine(SHAPE, matrix)


def test_letters_follow_the_header():
    assert [letters(GRID, axis) for axis in range(3)] == [("L", "R"), ("P", "A"), ("I", "S")]
    grid = turned((2, 2.0), (0, -1.5), (1, -3.0))
    assert anatomical_axes(grid) == (1, 2, 0)
    assert [letters(grid, axis) for axis in range(3)] == [("I", "S"), ("R", "L"), ("A", "P")]
    assert planes(grid, None)[0] == Plane("axial", 0, 1, 2, 12)


@pytest.mark.parametrize("grid", [GRID, turned((0, -2.0), (1, -1.5), (2, 3.0)), turned((2, -2.0), (0, -1.5), (1, 3.0))])
def test_radiological_orientation_with_true_proportions(grid):
    """A bright voxel at the patient's right, front and head is at the left and at the top of its panels."""
    volume = torch.full(grid.shape, -0.4)
    bright = [0 if grid.directions[:, axis].sum() < 0 else grid.shape[axis] - 1 for axis in range(3)]
    volume[tuple(bright)] = 0.6
    for plane in planes(grid, None):
        plane = plane._replace(at=bright[plane.through])
        figure = Figure(figsize=(5, 5))
        panel = figure.subplots()
        _image(panel, volume, plane, grid, "gray", GREY)
        figure.draw_without_rendering()
        (shown,) = panel.get_images()
        assert shown.get_array().max() == pytest.approx(0.6)
        at = [bright[axis] * grid.spacing[axis] for axis in (plane.across, plane.up)]
        x, y = panel.transAxes.inverted().transform(panel.transData.transform(at))
        assert 0 < x < 0.1
        assert 0.9 < y < 1
        box = panel.get_window_extent()
        sides = [grid.shape[axis] * grid.spacing[axis] for axis in (plane.across, plane.up)]
        assert box.width / box.height == pytest.approx(sides[0] / sides[1], rel=0.02)
        edge = {text.get_text(): text.get_position() for text in panel.texts}
        expected = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}[plane.name]
        places = [(0.05, 0.5), (0.95, 0.5), (0.5, 0.95), (0.5, 0.05)]
        assert edge == dict(zip(expected, places, strict=True))


@pytest.mark.parametrize("shape", [(3, 30, 20), (24, 1, 20), (64, 6, 6)])
def test_flat_volumes(tmp_path, shape):
    draw(Shifting(), NETWORK, case(False, Grid.of(shape, SPACING)), tmp_path / "pair.png")
    assert (tmp_path / "pair.png").stat().st_size > 10_000


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    path: Path = tmp_path / "pair.png"
    with pytest.raises(CstError, match=r"pair\.png: cannot be written"):
        draw(Shifting(), NETWORK, case(False), tmp_path / "none" / "pair.png")
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cst_core.files.os.replace", fail)
    with pytest.raises(CstError, match="disk full"):
        draw(Shifting(), NETWORK, case(False), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pair.png"]


def test_no_figure_is_left_open(tmp_path):
    draw(Shifting(), NETWORK, case(False), tmp_path / "pair.png")
    assert pyplot.get_fignums() == []
