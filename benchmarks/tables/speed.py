"""Each step of a registration beside its textbook version and its floor, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables.markdown import NONE, significant, table

_HEADS = ("step", "ours, ms", "textbook, ms", "ratio", "floor, ms", "floor of", "of the floor", "of the pair")
_WHOLE = "register, whole"
_PRODUCT = "GFLOP/s, matrix product"


def images_section(file: str, result: Mapping[str, Any]) -> str:
    """Of what ``benchmarks/speed/image.py`` wrote, a table a size."""
    parts = [
        f"**{size.replace('x', ' x ')} voxels**: {significant(found['pair']['s'])} s a pair{_half(found['pair'])}, "
        f"{significant(found['pair']['MB'], 3)} MB. {_machine(found['machine'])}\n\n{steps_table(found)}"
        for size, found in result.items()
        if isinstance(found, dict) and "steps" in found
    ]
    return "\n".join([_from(file, result) + "\n", *parts])


def points_section(file: str, result: Mapping[str, Any]) -> str:
    """Of what ``benchmarks/speed/points.py`` wrote."""
    loop = result["messages"]
    plain, ours = loop["plain torch, published loop, 5 rounds, s"], loop["ours, the same answer in 4 rounds, s"]
    said = (
        f"The published message loop in plain torch, 5 rounds with 256 candidates, takes "
        f"{significant(plain)} s; the same answer takes us {significant(1000 * ours)} ms: "
        f"{significant(plain / ours, 3)} times as fast.\n"
    )
    clouds = f"{result['fixed']} fixed and {result['moving']} moving keypoints"
    if "steps" not in result:
        return f"{_from(file, result)} {clouds}. {said}\nThe steps beside their floors are not measured yet.\n"
    whole = {"s": result["best"][_WHOLE], "MB": result["best"][f"MB, {_WHOLE}"]}
    pair = f"{significant(whole['s'])} s a pair, {significant(whole['MB'], 3)} MB."
    head = f"**{clouds}**, preset `best`, one network: {pair} {_machine(result['machine'])}"
    about = "Of neighbours the floor is that of the distances to those found alone; each search looks at more."
    return f"{_from(file, result)} {about}\n\n{head}\n\n{steps_table(result)}\n{said}"


def steps_table(found: Mapping[str, Any]) -> str:
    """A row a step; what of the pair no row accounts for, and how long it would take if every row were at its floor."""
    rows, known, least = [], 0.0, 0.0
    for name, row in found["steps"].items():
        seconds, kind = floor(row, found["machine"])
        share = row["share of pair"] or 0.0
        known, least = known + share, least + share * seconds / row["s"]
        rows.append(
            [
                name,
                _ms(row["s"]),
                _ms(row["textbook"]),
                significant(row["ratio"]),
                _ms(seconds),
                kind,
                percent(seconds / row["s"]),
                percent(row["share of pair"]),
            ]
        )
    rest = percent(max(0.0, 1.0 - known))
    return f"{table(_HEADS, rows)}\nThe rest of the pair: {rest}. All floors together: {percent(least)} of the pair.\n"


def floor(row: Mapping[str, Any], machine: Mapping[str, float]) -> tuple[float, str]:
    """Seconds that the machine needs at least, and for which of both."""
    operations, moved = row["GFLOP"] / machine["GFLOP/s"], row["MB"] / 1e3 / machine["GB/s"]
    return (operations, "operations") if operations >= moved else (moved, "bytes")


def percent(share: float | None) -> str:
    """With two digits."""
    return NONE if share is None else f"{significant(100 * share)} %"


def _machine(rates: Mapping[str, float]) -> str:
    most = f"{significant(rates['GFLOP/s'], 3)} GFLOP/s"
    if _PRODUCT in rates:
        how = f"{most} of multiply-adds (a library's matrix product: {significant(rates[_PRODUCT], 3)})"
    else:
        how = f"{most} of a library's matrix product, which is not the most: shares may be above 100 %"
    return f"The machine: {significant(rates['GB/s'], 3)} GB/s, {how}."


def _half(pair: Mapping[str, float]) -> str:
    seconds = pair.get("bfloat16, s")
    return "" if seconds is None else f" ({significant(seconds)} s with `precision=bfloat16`)"


def _from(file: str, result: Mapping[str, Any]) -> str:
    made = result["circumstances"]
    cpu, torch = made["cpu"], made["versions"]["torch"]
    return (
        f"From `{file}`, commit {made['commit']}; {cpu['name']}, {cpu['cores']} cores, {cpu['threads']} threads, "
        f"torch {torch}; the fastest of {result['repeats']} runs."
    )


def _ms(seconds: float | None) -> str:
    return significant(None if seconds is None else 1000 * seconds)
