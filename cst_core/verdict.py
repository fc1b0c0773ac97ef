"""Whether to trust a registration: one word and one line, from a measure of confidence in mm."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

GOOD_MM = 2.0
"""95th percentile of the measure up to which a registration is ``good``."""
POOR_MM = 6.0
"""95th percentile from which it is ``poor``; between the two: ``check``."""
FOLDING_PERCENT = 1.0
"""Share of folded voxels from which it is never ``good``."""
_MOST = 2_000_000  # values; of more, as many are taken at regular steps


def confidence_entry(
    measure: str,
    values: Float[Tensor, "*sites"],
    folding_percent: float | None,
    good_mm: float = GOOD_MM,
    poor_mm: float = POOR_MM,
) -> dict[str, Any]:
    """``confidence`` of register.json.

    Args:
        measure: what the values are, for people.
        values: mm, where there is something to see; larger is worse.
        folding_percent: of the field; None where that has no meaning.
        good_mm: 95th percentile up to which the verdict is ``good``.
        poor_mm: from which it is ``poor``.
    """
    flat = values.flatten()
    flat = flat[:: max(1, len(flat) // _MOST)].double()
    mean, p95 = float(flat.mean()), float(torch.quantile(flat.cpu(), 0.95))
    folds = folding_percent is not None and folding_percent >= FOLDING_PERCENT
    if not p95 < poor_mm:
        verdict, said = "poor", "do not rely on it without a look at the pictures"
    elif p95 > good_mm or folds:
        verdict, said = "check", "look at the pictures before relying on it"
    else:
        verdict, said = "good", "no sign of failure"
    folded = f", {folding_percent:.2f} % folded" if folds else ""
    text = f"{measure}: mean {mean:.2f} mm, 95 % below {p95:.2f} mm{folded}; {said}"
    return {"measure": measure, "mean_mm": mean, "p95_mm": p95, "verdict": verdict, "text": text}
