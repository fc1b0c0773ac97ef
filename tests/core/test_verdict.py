import pytest
import torch

from cst_core.verdict import FOLDING_PERCENT, GOOD_MM, POOR_MM, confidence_entry


@pytest.mark.parametrize(
    ("value", "folding", "verdict"),
    [
        (GOOD_MM, 0.0, "good"),
        (GOOD_MM, None, "good"),
        (GOOD_MM, FOLDING_PERCENT, "check"),
        (GOOD_MM + 0.1, 0.0, "check"),
        (POOR_MM, 0.0, "poor"),
        (float("nan"), 0.0, "poor"),
    ],
)
def test_the_verdict_follows_from_the_95th_percentile_and_folding(value, folding, verdict):
    values = torch.full((4, 25), value, dtype=torch.float64)
    values[0, :4] = 100.0  # four of a hundred are no matter
    assert confidence_entry("error", values, folding)["verdict"] == verdict


def test_figures():
    found = confidence_entry("error", torch.arange(101.0), 0.0, good_mm=200.0)
    assert found["mean_mm"] == 50.0
    assert found["p95_mm"] == 95.0
    assert found["text"].startswith("error: mean 50.00 mm, 95 % below 95.00 mm; ")
