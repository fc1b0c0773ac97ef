"""Where the labels of a pair differ: the arithmetic of ``benchmarks/division.py`` on labels that are known."""

import numpy as np
import pytest
import torch

from benchmarks.division import axis_of, one_pair, places, share_of_scans
from cst_core.field import DisplacementField, Grid
from cst_image.case import ImageCase
from cst_image.pair import ImagePair

GRID = Grid((8, 60, 8), (1.0, 2.0, 1.0), torch.diag(torch.tensor([1.0, 2.0, 1.0, 1.0], dtype=torch.float64)))


def bar(lower: int, division: int, upper: int) -> torch.Tensor:
    """Label 2 from ``lower`` up to ``division`` along y, label 1 from there to ``upper``."""
    labels = torch.zeros(GRID.shape, dtype=torch.int16)
    labels[2:6, lower:division, 2:6], labels[2:6, division:upper, 2:6] = 2, 1
    return labels


def case(fixed: torch.Tensor, moving: torch.Tensor) -> ImageCase:
    volume = torch.zeros(1, *GRID.shape)
    return ImageCase("pair", ImagePair(volume, volume, GRID), fixed_labels=fixed, moving_labels=moving)


def test_axis_is_where_the_labels_lie_apart() -> None:
    assert axis_of([bar(5, 25, 50), bar(8, 30, 45)]) == 1
    assert axis_of([bar(5, 25, 50).transpose(0, 1)]) == 0


def test_places_follow_a_shift() -> None:
    assert places(bar(8, 28, 53), 1) - places(bar(5, 25, 50), 1) == pytest.approx(3.0)


def test_a_division_of_its_own_is_told_from_the_ends() -> None:
    shift = torch.zeros(3, *GRID.shape)
    shift[1] = 6.0  # mm, of voxels of 2 mm: brings both ends together
    row = one_pair(case(bar(5, 25, 50), bar(8, 32, 53)), DisplacementField(shift, GRID), axis=1)
    assert row["before_mm"] == pytest.approx([6.0, 14.0, 6.0], abs=0.1)
    assert row["after_mm"] == pytest.approx([0.0, 8.0, 0.0], abs=0.5)
    assert row["dice_as_one"] == 1.0
    assert row["dice"] == pytest.approx((2 * 20 / (20 + 24) + 2 * 21 / (25 + 21)) / 2)


def test_what_belongs_to_scans_is_told_from_what_does_not() -> None:
    draw = np.random.default_rng(0)
    offsets = draw.normal(size=20)
    pairs = [tuple(map(str, draw.choice(20, 2, replace=False))) for _ in range(300)]
    of_scans = np.array([offsets[int(moving)] - offsets[int(fixed)] for fixed, moving in pairs])
    noise = draw.normal(size=300)
    assert share_of_scans(pairs, of_scans) == pytest.approx(1.0)  # type: ignore[arg-type]
    assert share_of_scans(pairs, noise) == pytest.approx(0.0, abs=0.15)  # type: ignore[arg-type]
    half = share_of_scans(pairs, of_scans / of_scans.std() + noise / noise.std())  # type: ignore[arg-type]
    assert half == pytest.approx(0.5, abs=0.15)


def test_too_few_pairs_tell_nothing() -> None:
    assert share_of_scans([("a", "b")], np.array([1.0])) is None
