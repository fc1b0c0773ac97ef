"""The canonical organs are complete and in place, and patients' versions of them vary about them."""

from __future__ import annotations

import numpy as np
import pytest

from cst_image.abdomen.anatomy import CANONICAL, ORGANS, Organ, draw_organ
from cst_image.abdomen.organ_painting import CONFINED, HOLLOW, INNER, ORDER, TISSUE
from cst_image.abdomen.shapes import Tube
from cst_image.abdomen.torso import cavity_depth, wall_depth


def middle(organ: Organ) -> np.ndarray:
    """Where an organ about lies, mm."""
    return np.mean([s.knots.mean(0) if isinstance(s, Tube) else s.centre for s in organ.parts], axis=0)


def test_every_organ_is_defined_and_painted_once() -> None:
    assert set(CANONICAL) == set(ORGANS) == set(range(1, 14))
    assert sorted(ORDER) == sorted(ORGANS)
    assert not set(TISSUE) & set(HOLLOW)
    assert set(INNER) == {label for label, organ in CANONICAL.items() if organ.inner}
    assert set(CONFINED) <= set(ORGANS)


@pytest.mark.parametrize("label", CANONICAL)
def test_an_organ_lies_in_the_cavity(label: int) -> None:
    at = middle(CANONICAL[label])[:, None].astype(np.float32)
    assert cavity_depth(at, wall_depth(at))[0] > 5


@pytest.mark.parametrize("label", CANONICAL)
def test_patients_organs_vary_about_the_canonical_one(label: int) -> None:
    organ = CANONICAL[label]
    generator = np.random.default_rng(label)
    drawn = np.array([middle(draw_organ(organ, generator)) for _ in range(120)])
    # means of 120 stray by an eleventh of a deviation; knots' wobble adds a little to the shift's own
    assert np.all(np.abs(drawn.mean(0) - middle(organ)) < 0.35 * np.array(organ.variation.shift) + 0.5)
    assert np.all(drawn.std(0) > 0.8 * np.array(organ.variation.shift))
    assert np.all(drawn.std(0) < 1.3 * np.array(organ.variation.shift) + 0.5)


def test_the_branches_of_an_organ_stay_together() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        trunk, branch = draw_organ(CANONICAL[10], generator).parts
        assert isinstance(trunk, Tube)
        assert isinstance(branch, Tube)
        gap = np.linalg.norm(trunk.knots - branch.knots[0], axis=1) - trunk.radii - branch.radii[0]
        assert gap.min() < 0
