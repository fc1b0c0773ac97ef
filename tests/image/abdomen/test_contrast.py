"""HU by tissue and phase."""

from __future__ import annotations

import numpy as np

from cst_image.abdomen.contrast import CONSTANT, ENHANCEMENT, Contrast, draw_contrast


def contrasts() -> list[Contrast]:
    generator = np.random.default_rng(0)
    return [draw_contrast(generator) for _ in range(1000)]


def test_every_tissue_has_plausible_hu() -> None:
    for contrast in contrasts():
        assert set(contrast.hu) == set(ENHANCEMENT) | set(CONSTANT)
        assert all(-30 < contrast.hu[tissue] < 800 for tissue in ENHANCEMENT)
        assert all(-20 < filling < 280 for filling in contrast.meal[:3])


def test_most_scans_are_portal_venous_and_a_few_native() -> None:
    phases = np.array([contrast.phase for contrast in contrasts()])
    assert phases.min() == 0
    assert phases.max() <= 3
    assert 0.03 < (phases == 0).mean() < 0.09
    assert (abs(phases - 2) < 0.5).mean() > 0.5
    assert (phases > 2.7).sum() > 50


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


def test_organs_differ_between_patients_as_on_real_scans() -> None:
    """Means and standard deviations, HU, over the 20 scans of Learn2Reg's AbdomenCTCT."""
    drawn = contrasts()
    measured = {
        "spleen": (111, 33),
        "liver": (96, 30),
        "vena cava": (116, 36),
        "portal vein": (148, 49),
        "pancreas": (79, 34),
    }
    for tissue, (mean, deviation) in measured.items():
        hu = [contrast.hu[tissue] for contrast in drawn]
        assert abs(np.mean(hu) - mean) < 10
        assert 0.7 < np.std(hu) / deviation < 1.3


def test_organs_of_one_patient_enhance_together() -> None:
    drawn = contrasts()
    hu = np.array([[contrast.hu[tissue] for contrast in drawn] for tissue in ("spleen", "liver", "pancreas")])
    assert np.corrcoef(hu).min() > 0.6  # measured: .87
