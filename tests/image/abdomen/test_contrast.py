"""HU by tissue and phase."""

from __future__ import annotations

import numpy as np

from cst_image.abdomen.contrast import CONSTANT, ENHANCEMENT, Contrast, draw_contrast


def contrasts() -> list[Contrast]:
    generator = np.random.default_rng(0)
    return [draw_contrast(generator) for _ in range(200)]


def test_every_tissue_has_plausible_hu() -> None:
    for contrast in contrasts():
        assert set(contrast.hu) == set(ENHANCEMENT) | set(CONSTANT)
        assert all(-30 < contrast.hu[tissue] < 420 for tissue in ENHANCEMENT)
        assert all(-20 < filling < 280 for filling in contrast.meal[:3])


def test_phases_range_from_native_to_late() -> None:
    phases = np.array([contrast.phase for contrast in contrasts()])
    assert phases.min() >= 0
    assert phases.max() <= 3
    assert np.histogram(phases, 3, (0, 3))[0].min() > 20


def test_enhancement_follows_the_phase() -> None:
    drawn = contrasts()
    native = [c.hu for c in drawn if c.phase < 0.2]
    arterial = [c.hu for c in drawn if 0.8 < c.phase < 1.2]
    portal = [c.hu for c in drawn if 1.8 < c.phase < 2.2]
    for group in (native, arterial, portal):
        assert len(group) >= 4

    def mean(group: list[dict[str, float]], tissue: str) -> float:
        return float(np.mean([hu[tissue] for hu in group]))

    assert abs(mean(native, "aorta") - mean(native, "spleen")) < 50
    assert mean(arterial, "aorta") > mean(portal, "aorta") + 60
    assert mean(portal, "portal vein") > mean(arterial, "portal vein") + 30
    assert mean(portal, "liver") > mean(arterial, "liver") + 15
    assert mean(arterial, "renal cortex") > mean(arterial, "renal medulla") + 60
