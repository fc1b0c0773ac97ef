"""Which labels count, and as what."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cst_core.field import DisplacementField, Grid
from cst_core.label_maps import warp_labels
from cst_core.plugin import EvalCase
from cst_image.case import ImageCase
from cst_image.overlap import mean, name_of, overlap
from cst_image.pair import ImagePair

SHAPE = (12, 10, 8)
GRID = Grid.of(SHAPE, (1.0, 2.0, 1.5))


def block(label: int, low: int, high: int) -> Tensor:
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[low:high, 3:7, 2:6] = label
    return labels


def case(fixed: Tensor | None, moving: Tensor | None) -> ImageCase:
    volume = torch.zeros(1, *SHAPE)
    return ImageCase("one", ImagePair(volume, volume, GRID), None, fixed, moving, {1: "liver"})


def shift(millimetres: float) -> DisplacementField:
    vectors = torch.zeros(3, *SHAPE)
    vectors[0] = millimetres
    return DisplacementField(vectors, GRID)


def test_a_field_that_brings_labels_onto_one_another():
    found = overlap(case(block(1, 2, 6), block(1, 4, 8)), shift(2.0))
    assert found is not None
    assert found.before == {1: pytest.approx(0.5)}
    assert found.after == {1: 1.0}
    assert torch.equal(found.warped, found.fixed)
    assert found.warped.dtype == torch.uint8


def test_labels_are_warped_by_nearest_neighbour_unless_the_case_says_otherwise():
    labels = torch.zeros(SHAPE, dtype=torch.uint8)
    labels[4:8, 3:7, 2:6] = 1
    nearest = case(labels, labels)
    smooth = replace(nearest, label_interpolation="label")
    field = DisplacementField(0.4 * torch.tensor(GRID.spacing).view(3, 1, 1, 1).expand(3, *SHAPE), GRID)
    found, smoother = overlap(nearest, field), overlap(smooth, field)
    assert found is not None
    assert smoother is not None
    assert found.after == {1: 1.0}
    assert torch.equal(smoother.warped, warp_labels(labels, field.vectors, GRID.spacing))
    assert smoother.after[1] < 1.0
    assert smoother.before == found.before


def test_a_label_that_one_scan_lacks_is_skipped():
    fixed, moving = block(1, 2, 5), block(1, 2, 5)
    fixed[6:8, 3:7, 2:6] = 2
    moving[9:11, 3:7, 2:6] = 3
    found = overlap(case(fixed, moving), shift(0.0))
    assert found is not None
    assert found.before == found.after == {1: 1.0}


def test_a_label_that_was_warped_away_scores_zero():
    fixed = block(1, 2, 5)
    fixed[6:8, 3:7, 2:6] = 2
    moving = block(1, 7, 10)
    moving[0, 3:7, 2:6] = 2
    found = overlap(case(fixed, moving), shift(5.0))
    assert found is not None
    assert found.after == {1: 1.0, 2: 0.0}
    assert mean(found.after) == 0.5


def test_without_label_maps():
    labels = block(1, 2, 5)
    for one in (case(None, labels), case(labels, None), EvalCase("bare", case(None, None).pair)):
        assert overlap(one, shift(0.0)) is None
    nothing = overlap(case(labels, 0 * labels), shift(0.0))
    assert nothing is not None
    assert mean(nothing.after) is None


def test_names():
    assert name_of(case(None, None), 1) == "liver"
    assert name_of(case(None, None), 7) == "7"
    assert name_of(EvalCase("bare", case(None, None).pair), 1) == "1"
