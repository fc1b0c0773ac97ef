"""Tables in Markdown whose columns are aligned in the source too, and numbers as they stand in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "\N{EN DASH}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; the first ``left`` columns are set left, the others right. A bar within a cell is escaped."""
    cells = [[cell.replace("|", "\\|") or " " for cell in row] for row in (heads, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(heads))]
    rule = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [[_padded(cell, widths[c], c < left) for c, cell in enumerate(row)] for row in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]]) + "\n"


def fixed(value: float | None, digits: int) -> str:
    """So many decimals; below one without the leading zero, as Dice is written. A dash where there is no number."""
    if value is None or value != value:
        return NONE
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def significant(value: float | None, digits: int = 2) -> str:
    """So many significant digits, never an exponent: seconds, megabytes."""
    if value is None or value != value:
        return NONE
    rounded = float(f"{value:.{digits}g}")
    if rounded <= 0 or rounded >= 10 ** (digits - 1):
        return f"{rounded:,.0f}".replace(",", " ")
    return f"{rounded:.{digits - 1 - math.floor(math.log10(rounded))}f}"


def probability(value: float | None) -> str:
    """Of a test: three decimals, and below them only that it is."""
    if value is None:
        return NONE
    return "< .001" if value < 0.0005 else fixed(value, 3)


def _padded(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
