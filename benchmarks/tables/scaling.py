"""What grows with scans, volumes, labels and pairs, as Markdown: of what ``benchmarks/scaling.py`` wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.tables.markdown import NONE, significant, table

Column = tuple[str, str, Callable[[Any], str]]
"""Heading, key of a point, how it is written."""


def _whole(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _seconds(value: float) -> str:
    return significant(value, 2)


def _milliseconds(value: float) -> str:
    return significant(1000 * value, 2)


_SHARED: tuple[Column, ...] = (
    ("open, s", "open_s", _seconds),
    ("one label, s", "label_s", _seconds),
    ("one step, s", "step_s", _seconds),
    ("memory, MB", "growth_mb", _whole),
)


def scans_section(file: str, result: Mapping[str, Any]) -> str:
    """All pairs of a folder of scans."""
    most = max(result["scans"]["points"], key=lambda point: point["n"])
    listed = significant(most["bytes_a_pair"] * most["pairs"] / 1e6)
    about = (
        f"Volumes of 32^3 voxels, of which `memory_gb` keeps a dozen; {most['labels']} labels and 20 steps at every "
        "number. What still grows: opening reads every file once for the fingerprint, and the list of pairs takes "
        f"{_whole(most['bytes_a_pair'])} bytes a pair, {listed} MB for {_whole(most['pairs'])}. Pairs themselves are "
        "made when they are asked for, and `--max-labels-gb` bounds the labels."
    )
    return _section(file, result, "scans", about, ("scans", "n", _whole), ("pairs", "pairs", _whole), *_SHARED)


def clouds_section(file: str, result: Mapping[str, Any]) -> str:
    """Pairs of clouds."""
    about = "Pairs of clouds of 512 points, all read at the beginning: 24 bytes for a point of both clouds."
    return _section(file, result, "clouds", about, ("pairs", "n", _whole), *_SHARED)


def side_section(file: str, result: Mapping[str, Any]) -> str:
    """One registration by the side of the volume."""
    about = "The paper's network, untrained; two warps and Adam. Exponents are in the number of voxels."
    columns: tuple[Column, ...] = (
        ("side, voxels", "n", _whole),
        ("one pair, s", "pair_s", _seconds),
        ("memory, MB", "growth_mb", _whole),
    )
    return _section(file, result, "side", about, *columns)


def store_section(file: str, result: Mapping[str, Any]) -> str:
    """Labels on disk."""
    about = "Labels of a few bytes, so that what is left is what the store itself costs. No file stays open."
    columns: tuple[Column, ...] = (
        ("labels", "n", _whole),
        ("put one, ms", "put_s", _milliseconds),
        ("find all again, s", "open_s", _seconds),
        ("written a label, bytes", "written_bytes", _whole),
        ("memory, MB", "growth_mb", _whole),
    )
    return _section(file, result, "store", about, *columns)


def batch_section(file: str, result: Mapping[str, Any]) -> str:
    """A batch in shares."""
    few, *_, many = result["batch"]["points"]
    held = 1e6 * (many["growth_mb"] - few["growth_mb"]) / (many["n"] - few["n"])
    about = (
        "`cst register --pairs --shard` with a copy of 16 KiB in the place of the registration, "
        f"{many['shares']} shares in turn in one process; files in memory, so no disk is waited for. Read: both files "
        "of 16 KiB for their checksums, the weights (1 MiB) and the list once a share; the rest to write the result "
        f"and its report. Held: the list and what became of each, {_whole(held)} bytes a pair. *Kept* is the whole "
        "batch called again with nothing to do; the summary is of all pairs."
    )
    columns: tuple[Column, ...] = (
        ("pairs", "n", _whole),
        ("a pair, ms", "done_s", _milliseconds),
        ("read a pair, bytes", "done_read_bytes", _whole),
        ("written a pair, bytes", "done_written_bytes", _whole),
        ("kept, ms a pair", "kept_s", _milliseconds),
        ("summary, s", "summary_s", _seconds),
        ("memory, MB", "growth_mb", _whole),
    )
    return _section(file, result, "batch", about, *columns)


def _section(file: str, result: Mapping[str, Any], part: str, about: str, *columns: Column) -> str:
    found = result[part]
    rows: list[Sequence[str]] = [[write(point[key]) for _, key, write in columns] for point in found["points"]]
    powers = found.get("exponents", {})
    if powers:
        said = [_power(powers.get(key)) for _, key, _ in columns]
        rows.append(["exponent", *said[1:]])
    made, cpu = found["circumstances"], found["circumstances"]["cpu"]
    source = f"From `{file}`, commit {made['commit']}; {cpu['name']}, one thread."
    return f"{about}\n\n{table([heading for heading, _, _ in columns], rows)}\n{source}\n"


def _power(value: float | None) -> str:
    return NONE if value is None or value != value else f"{value:.2f}".replace("-0.00", "0.00")
