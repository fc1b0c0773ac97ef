"""Table 3: every method on the same pairs, at its default and at the SDlogJ of self-training, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.tables.markdown import NONE, fixed, probability, significant, table
from benchmarks.tables.settings import settings_of
from benchmarks.tables.statistics import Entry, Figure, entries, initial, p_value

REFERENCE = "self"
NAMES = {REFERENCE: "self-training"}
"""What the tables call a method, where it is not its name."""
NEAR = 0.05
"""Relative: a matched SDlogJ further from its target is marked; a default one that is as near needs no matching."""


class Column(NamedTuple):
    """A figure of quality and how it is written."""

    name: str
    head: str
    digits: int
    higher: bool | None
    """Whether more is better; None: no entry is the best."""


QUALITY = {
    "dice": (Column("dice", "Dice", 3, True), Column("hd95_mm", "HD95 mm", 2, False)),
    "tre_mm": (Column("tre_mm", "TRE mm", 2, False),),
}
REGULARITY = (Column("sdlogj_l2r", "SDlogJ", 3, None), Column("folding_percent", "folding %", 2, None))


class Numbers(NamedTuple):
    """One line of the table before it is text; None is what is not there."""

    entry: Entry | None
    """None: before registration."""
    figures: Mapping[str, Figure | None]
    p: float | None
    matched: Entry | None
    matched_p: float | None
    far: bool
    """The matched SDlogJ is not near the target."""


def comparison_section(file: str, result: Mapping[str, Any]) -> str:
    """What a page says of one comparison; how each row was made stays closed until it is wanted (GitHub and mkdocs)."""
    tables = comparison_tables(file, result)
    if not result["rows"]:
        return tables
    return f"{tables}\n<details markdown>\n<summary>How each was made</summary>\n\n{origins(result)}\n</details>\n"


def comparison_tables(file: str, result: Mapping[str, Any]) -> str:
    """One table for each way of registering."""
    if not result["rows"]:
        return f"`{file}` has no rows.\n"
    every = entries(result["rows"])
    quality = "tre_mm" if any(entry.figure("tre_mm") for entry in every.values()) else "dice"
    parts = []
    for way in sorted(dict.fromkeys(_way(method) for method, _ in every), key=bool):  # today's presets come first
        these = {key: entry for key, entry in every.items() if _way(key[0]) == way}
        lines = numbers(these, quality, way, result.get("target_sdlogj"))
        title = f"**{_first_upper(way)}**\n\n" if way else ""
        parts.append(title + _rendered(lines, quality) + "\n" + "".join(_notes(lines)))
    return f"{_caption(file, result, every)}\n\n" + "\n".join(parts)


def numbers(
    every: Mapping[tuple[str, str], Entry], quality: str, way: str = "", target: float | None = None
) -> list[Numbers]:
    """The lines of one table in the paper's order: initial, rivals, self-training, what goes beyond it."""
    reference = every.get((_named(REFERENCE, way), "default"))
    matched_reference = every.get((_named(REFERENCE, way), "matched"), reference)
    columns = (*QUALITY[quality], *REGULARITY)
    before = {column.name: initial(every, column.name) for column in columns}
    lines = [Numbers(None, before, None, None, None, False)]
    for method in sorted(dict.fromkeys(method for method, _ in every), key=lambda name: _rank(name, every)):
        default = every.get((method, "default"))
        matched = every.get((method, "matched"), default if _is_near(default, target) else None)
        figures = {column.name: default.figure(column.name) if default else None for column in columns}
        far = bool(matched and target) and not _is_near(matched, target)
        p, matched_p = (
            None if one is None or method == _named(REFERENCE, way) else p_value(one, other, quality)
            for one, other in ((default, reference), (matched, matched_reference))
        )
        shown = default or matched
        lines.append(Numbers(shown, figures, p, matched, matched_p, far))
    return lines


def _is_near(entry: Entry | None, target: float | None) -> bool:
    reached = entry.figure("sdlogj_l2r") if entry else None
    return bool(reached and target and abs(reached.mean - target) <= NEAR * target)


def _rendered(lines: Sequence[Numbers], quality: str) -> str:
    columns = QUALITY[quality]
    some_matched = any(line.matched for line in lines)
    main = columns[0]
    heads = ["method", "saw", "seeds", main.head, "p", *(column.head for column in (*columns[1:], *REGULARITY))]
    heads += ["s", "MB", *([f"matched {main.head}", "p", "SDlogJ"] if some_matched else [])]
    best = {column.name: _best(lines, column) for column in columns}
    best_matched = _best_matched(lines, main)
    rows = []
    for line in lines:
        entry = line.entry
        saw, seeds = (entry.saw, str(len(entry.seeds) or NONE)) if entry else (NONE, NONE)
        cells = [
            _cell(line.figures[column.name], column.digits, _is_best(line, line.figures[column.name], best, column))
            for column in (*columns, *REGULARITY)
        ]
        default = entry if entry and entry.setting == "default" else None
        seconds, peak = (default.figure("seconds"), default.largest("peak_mb")) if default else (None, None)
        row = [_name(entry), saw if saw == "nothing" or not entry else f"saw {saw}", seeds, cells[0]]
        row += [probability(line.p), *cells[1:], significant(seconds.mean if seconds else None), significant(peak, 3)]
        if some_matched:
            found = line.matched.figure(main.name) if line.matched else None
            smooth = line.matched.figure("sdlogj_l2r") if line.matched else None
            bold = (
                found is not None
                and not line.far
                and _saw_nothing(line)
                and fixed(found.mean, main.digits) == best_matched
            )
            mark = r"\*" if line.far else ""
            row += [_cell(found, main.digits, bold) + mark, probability(line.matched_p)]
            row += [fixed(smooth.mean, 3) if smooth else NONE]
        rows.append(row)
    return table(heads, rows, left=2)


def _cell(figure: Figure | None, digits: int, bold: bool) -> str:
    if figure is None:
        return NONE
    mean = f"**{fixed(figure.mean, digits)}**" if bold else fixed(figure.mean, digits)
    pairs = "" if figure.over_pairs is None else f" ± {fixed(figure.over_pairs, digits)}"
    return mean + pairs + ("" if figure.over_seeds is None else f" ({fixed(figure.over_seeds, digits)})")


def _saw_nothing(line: Numbers) -> bool:
    return line.entry is not None and line.entry.saw == "nothing"


def _best(lines: Sequence[Numbers], column: Column) -> str | None:
    """As it is written, so that what reads the same is set the same."""
    values = [found.mean for line in lines if _saw_nothing(line) and (found := line.figures[column.name])]
    return fixed((max if column.higher else min)(values), column.digits) if values else None


def _best_matched(lines: Sequence[Numbers], column: Column) -> str | None:
    fair = [line.matched for line in lines if line.matched and _saw_nothing(line) and not line.far]
    values = [found.mean for entry in fair if (found := entry.figure(column.name))]
    return fixed((max if column.higher else min)(values), column.digits) if values else None


def _is_best(line: Numbers, figure: Figure | None, best: Mapping[str, str | None], column: Column) -> bool:
    known = figure is not None and _saw_nothing(line)
    return known and fixed(figure.mean, column.digits) == best.get(column.name)  # type: ignore[union-attr]


def _notes(lines: Sequence[Numbers]) -> list[str]:
    notes = []
    if far := [_name(line.entry) for line in lines if line.far]:
        notes.append(f"\n\\* The target was not reached: {', '.join(far)}.\n")
    for line in lines:
        for entry in filter(None, (line.entry, line.matched)):
            if failed := sum(len(row.get("failures") or ()) for row in entry.rows):
                notes.append(f"\n{_name(entry)}, {entry.setting}: {failed} failed registrations count as no motion.\n")
    return list(dict.fromkeys(notes))


def _caption(file: str, result: Mapping[str, Any], every: Mapping[tuple[str, str], Entry]) -> str:
    counts = sorted({len(entry.pairs) for entry in every.values()})
    cpu, versions = result.get("cpu", {}), result.get("versions", {})
    target = result.get("target_sdlogj")
    seeds = sorted({seed for entry in every.values() for seed in entry.seeds})
    said = [
        f"From `{file}`: {' or '.join(map(str, counts))} pairs"
        + (f", {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}." if seeds else "."),
        "Mean ± standard deviation over pairs (over seeds, where there are several), each pair the mean of its seeds; "
        "p: Wilcoxon's signed-rank test against self-training, pair by pair, two-sided; bold: the best that saw "
        "nothing but scans. SDlogJ by Learn2Reg's definition.",
        target and f"Matched: such regularisation that the mean SDlogJ is {fixed(target, 3)}, or the default as near.",
        f"Processor: {cpu.get('name', 'unknown')}, {cpu.get('cores', '?')} cores, {cpu.get('threads', '?')} threads; "
        f"cst {versions.get('cst', '?')}, torch {versions.get('torch', '?')}.",
    ]
    return " ".join(part for part in said if part)


def origins(result: Mapping[str, Any]) -> str:
    """How each row was made: version, threads, commit and settings, a table."""
    rows = []
    for entry in entries(result["rows"]).values():
        row = entry.rows[0]
        commits = ", ".join(sorted({str(one.get("commit")) for one in entry.rows}))
        threads = str(row.get("threads") or NONE)
        rows.append(
            [
                _named(_name(entry), _way(entry.method)),
                entry.setting,
                row.get("version") or NONE,
                threads,
                commits,
                settings_of(entry),
            ]
        )
    heads = ["method", "setting", "version", "threads", "commit", "settings"]
    return table(heads, rows, left=6)


def _name(entry: Entry | None) -> str:
    if entry is None:
        return "initial"
    method = entry.method.partition(", ")[0]
    return NAMES.get(method, method)


def _way(method: str) -> str:
    """What stands after the comma of ``mind, h alone``."""
    return method.partition(", ")[2]


def _named(method: str, way: str) -> str:
    return f"{method}, {way}" if way else method


def _rank(method: str, every: Mapping[tuple[str, str], Entry]) -> tuple[int, int]:
    name = method.partition(", ")[0]
    order = [key[0] for key in every]
    kind = next(entry.kind for key, entry in every.items() if key[0] == method)
    if name.partition(" (")[0] == "best":
        place = 6
    elif name.startswith(f"{REFERENCE} "):
        place = 5
    elif name == REFERENCE:
        place = 4
    elif name == "random features":
        place = 2
    else:
        place = {"tool": 0, "classical": 1}.get(kind, 3)
    return place, order.index(method)


def _first_upper(text: str) -> str:
    return text if text.startswith("h ") else text[:1].upper() + text[1:]
