"""A fault's record, and whether it is as documented."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.faults.scene import Fault, NotTriedError, Outcome, Workshop

_PID = re.compile(r"\(pid \d+\)")


def recorded(fault: Fault, workshop: Workshop) -> dict[str, Any]:
    """Provoke a fault in a folder of its own; what happened, fit for JSON."""
    about = {"name": fault.name, "what": fault.what}
    try:
        outcome = fault.provoke(workshop.scene(fault.name))
    except NotTriedError as reason:
        return about | {"not_tried": str(reason)}
    said, why = outcome.said, not_documented(fault, outcome)
    told = [line.strip() for line in said.out if not said.err and any(word in line for word in fault.words)]
    return about | {
        "command": said.command,
        "code": said.code,
        "stderr": [_PID.sub("(pid N)", line) for line in said.err],
        "stdout": told,
        "after": dict(outcome.after),
        "left": list(outcome.left),
        "documented": not why,
        "why_not": why,
    }


def not_documented(fault: Fault, outcome: Outcome) -> list[str]:
    """What is not as promised; a failure is one line on stderr that begins with ``error: ``."""
    said = outcome.said
    spoken = " ".join([*said.out, *said.err])
    why = [] if said.code == fault.code else [f"the exit code is {said.code}, not {fault.code}"]
    why += [f"{word!r} is not said" for word in fault.words if word not in spoken]
    if fault.code and (len(said.err) != 1 or not said.err[0].startswith("error: ")):
        why.append(f"it is not one line of error, but {len(said.err)}")
    if not fault.code:
        why += [f"not foreseen: {line}" for line in said.err if not any(word in line for word in fault.words)]
    if "Traceback" in spoken or "--debug" in spoken:
        why.append("an error that nobody foresaw")
    why += [f"not true: {sentence}" for sentence, true in outcome.after.items() if not true]
    return [*why, *(f"half-written: {text}" for text in outcome.left)]


def shown(row: Mapping[str, Any]) -> str:
    """For people."""
    if "not_tried" in row:
        return f"{row['name']}: not tried: {row['not_tried']}"
    lines = [f"{row['name']}: {row['what']}", f"  $ {row['command']}    ({row['code']})"]
    lines += [f"  {line}" for line in (*row["stderr"], *row["stdout"])]
    lines += [f"  {'yes' if true else 'NO'}: {sentence}" for sentence, true in row["after"].items()]
    return "\n".join([*lines, *(f"  NOT AS DOCUMENTED: {why}" for why in row["why_not"])])
