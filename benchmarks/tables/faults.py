"""What `cst` says when something goes wrong, as Markdown: of what ``python -m benchmarks.faults`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.tables.markdown import NONE, table

_SILENCE = "nothing"


def faults_section(group: str) -> Callable[[str, Mapping[str, Any]], str]:
    """The section of one group of faults."""
    return partial(_section, group)


def _section(group: str, file: str, result: Mapping[str, Any]) -> str:
    rows = [row for row in result["faults"] if row["group"] == group]
    if not rows:
        return f"None of these is in `{file}`.\n"
    heads = ("what happens", "what `cst` says", "exit code", "afterwards")
    shown = table(heads, [_cells(row) for row in rows], left=len(heads))
    wrong = [f"`{row['name']}` ({'; '.join(row['why_not'])})" for row in rows if not row.get("documented", True)]
    return shown + (f"\nNot as documented: {', '.join(wrong)}.\n" if wrong else "")


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    if "not_tried" in row:
        return (row["what"], NONE, NONE, f"not tried: {row['not_tried']}")
    said = "<br>".join(map(_code, [*row["stderr"], *row["stdout"]])) or _SILENCE
    after = [sentence if true else f"**not true:** {sentence}" for sentence, true in row["after"].items()]
    after += [f"**half-written:** {text}" for text in row["left"]]
    # a failure that has nothing to be remedied has at least left nothing
    return (row["what"], said, str(row["code"]), "; ".join(after) or "nothing is left of it")


def _code(line: str) -> str:
    """In code, whatever it holds."""
    fence = "``" if "`" in line else "`"
    room = " " if "`" in line else ""
    return f"{fence}{room}{line}{room}{fence}"
