"""What `cst` says when something goes wrong, as Markdown: of what ``python -m benchmarks.faults`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


def faults_section(group: str) -> Callable[[str, Mapping[str, Any]], str]:
    """The section of one group of faults."""
    return partial(_section, group)


def _section(group: str, file: str, result: Mapping[str, Any]) -> str:
    rows = [row for row in result["faults"] if row["group"] == group]
    if not rows:
        return f"None of these is in `{file}`.\n"
    shown = "\n".join(map(_fault, rows))
    wrong = [f"`{row['name']}` ({'; '.join(row['why_not'])})" for row in rows if not row.get("documented", True)]
    return shown + (f"\nNot as documented: {', '.join(wrong)}.\n" if wrong else "")


def _fault(row: Mapping[str, Any]) -> str:
    if "not_tried" in row:
        return f"**{row['what']}** Not tried: {row['not_tried']}.\n"
    after = [sentence if true else f"**not true:** {sentence}" for sentence, true in row["after"].items()]
    after += [f"**half-written:** {text}" for text in row["left"]]
    # a failure that has nothing to be remedied has at least left nothing
    told = f"Exit code {row['code']}; {'; '.join(after) or 'nothing is left of it'}."
    lines = [*row["stderr"], *row["stdout"]]
    if not lines:
        return f"**{row['what']}** Nothing is said. {told}\n"
    return f"**{row['what']}** {told}\n\n" + "\n>\n".join(f"> {_code(line)}" for line in lines) + "\n"


def _code(line: str) -> str:
    """In code that wraps, whatever it holds."""
    return f"`` {line} ``" if "`" in line else f"`{line}`"
