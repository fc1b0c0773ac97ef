"""What a person should look at before trusting a registration, each with a mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MUCH_FOLDING, SOME_FOLDING = 2.0, 0.5  # per cent of the voxels
INVERSE_MM = 0.5  # 99.9th percentile: points map back to within half a millimetre


class Check(NamedTuple):
    """One line: ``ok``, ``look`` or ``bad``, and why."""

    mark: str
    text: str


def verdict_of(result: Mapping[str, Any]) -> tuple[str, str]:
    """``good``, ``check`` or ``poor`` and a line.

    ``check`` where no confidence was computed, and in place of ``good`` where one of the checks is bad.
    """
    confidence = result.get("confidence")
    if not isinstance(confidence, dict) or confidence.get("verdict") not in ("good", "check", "poor"):
        return "check", "No confidence was computed: judge by looking."
    kind, text = str(confidence["verdict"]), str(confidence.get("text") or "")
    if kind == "good" and any(check.mark == "bad" for check in checks_of(result)):
        return "check", f"{text} But one of the checks below fails.".strip()
    return kind, text


def checks_of(result: Mapping[str, Any]) -> list[Check]:
    """In the order of weight: truth first, then similarity, then the field."""
    initial, final = _part(result, "initial"), _part(result, "final")
    found = [
        _compared("Dice of the labels", initial.get("dice"), final.get("dice"), 3, "", True),
        _compared("Landmark error (mean)", initial.get("tre_mm"), final.get("tre_mm"), 2, " mm", False),
        _compared("Similarity (NCC)", initial.get("ncc"), final.get("ncc"), 3, "", True),
    ]
    folding = result.get("folding_percent")
    if folding is not None:
        mark = "ok" if folding <= SOME_FOLDING else "look" if folding <= MUCH_FOLDING else "bad"
        said = "none" if folding == 0 else f"{folding:.3f} % of the voxels" if folding >= 0.0005 else "under 0.001 %"
        found.append(Check(mark, f"Folding of the field: {said}."))
    worst = _part(result, "inverse_residual_mm").get("p999")
    if worst is not None:
        said = f"Inverse of the field: back to within {worst:.3f} mm (99.9th percentile)."
        found.append(Check("ok" if worst <= INVERSE_MM else "look", said))
    return [check for check in found if check is not None]


def _compared(name: str, before: Any, after: Any, digits: int, unit: str, more: bool) -> Check | None:
    if after is None:
        return None
    if before is None:
        return Check("look", f"{name}: {after:.{digits}f}{unit} (before registration unknown).")
    better = after > before if more else after < before
    said = f"{name}: {before:.{digits}f} → {after:.{digits}f}{unit}"
    return Check("ok", said + ".") if better else Check("bad", said + ": not better than before.")


def _part(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = result.get(name)
    return value if isinstance(value, dict) else {}
