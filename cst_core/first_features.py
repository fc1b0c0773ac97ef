"""What stage 0 is called: the features that make the first labels, which nobody trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RANDOM_FEATURES = "random features"
KEY = "features"
"""Of stage 0's evaluation in a run's log."""


def features_name(network: Any) -> str:
    """Of g_0: its attribute ``features_name``, for a network of random weights none."""
    return str(getattr(network, "features_name", RANDOM_FEATURES))


def logged_name(evaluations: Mapping[int, Mapping[str, Any]]) -> str:
    """As a run's log has it; logs that do not say were of random features."""
    name = evaluations.get(0, {}).get(KEY)
    return name if isinstance(name, str) and name else RANDOM_FEATURES
