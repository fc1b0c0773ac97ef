"""What counts as documented, and a few faults whose messages must not change for the worse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import GROUPS, keep
from benchmarks.faults.record import not_documented, recorded, shown
from benchmarks.faults.scene import Fault, NotTriedError, Outcome, Said, Scene, Workshop, damage_by_bit
from benchmarks.tables.faults import faults_section
from benchmarks.tables.pages import PAGES, RESULTS

FAULTS = {fault.name: fault for group in GROUPS.values() for fault in group}


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Workshop(tmp_path)


@pytest.mark.parametrize("name", ["unknown-key", "pickle-as-model"])
def test_faults_are_said_as_documented(name: str, workshop: Workshop):
    row = recorded(FAULTS[name], workshop)
    assert row["why_not"] == [], shown(row)
    assert str(workshop.folder) not in json.dumps(row)


def test_names_differ_and_every_group_has_its_section():
    assert len(FAULTS) == sum(map(len, GROUPS.values()))
    assert len(PAGES["faults.md"].parts) == len(GROUPS)


def test_the_record_is_of_these_faults_and_all_are_as_documented():
    rows = json.loads((RESULTS / "faults.json").read_text())["faults"]
    assert [row["name"] for row in rows] == list(FAULTS)
    assert [row["name"] for row in rows if not row.get("documented", "not_tried" in row)] == []


GOOD = Said("cst x", 1, (), ("error: RUN: must be; choose another --out",))


@pytest.mark.parametrize(
    ("said", "after", "left", "why"),
    [
        (GOOD, {"it ends": True}, (), None),
        (GOOD._replace(code=2), {}, (), "the exit code is 2, not 1"),
        (GOOD._replace(err=("error: RUN: must be",)), {}, (), "'--out' is not said"),
        (GOOD._replace(err=(*GOOD.err, "more")), {}, (), "it is not one line of error, but 2"),
        (GOOD._replace(err=("--out",)), {}, (), "it is not one line of error, but 1"),
        (GOOD._replace(err=(f"{GOOD.err[0]}; run again with --debug",)), {}, (), "an error that nobody foresaw"),
        (GOOD, {"it ends": False}, (), "not true: it ends"),
        (GOOD, {}, (".x.partial: is left",), "half-written: .x.partial: is left"),
    ],
)
def test_what_is_not_as_documented(said: Said, after: dict[str, bool], left: tuple[str, ...], why: str | None):
    fault = Fault("x", "X.", 1, ("--out",), lambda _: Outcome(said, after, left))
    assert not_documented(fault, Outcome(said, after, left)) == ([] if why is None else [why])
    if why:
        silent = fault._replace(code=0, words=())
        assert "not foreseen: odd" in not_documented(silent, Outcome(Said("cst x", 0, (), ("odd",)), {}))


def test_rows_of_the_page(tmp_path: Path, workshop: Workshop):
    def not_tried(_: Scene) -> Outcome:
        raise NotTriedError("no GPU")

    bad = Outcome(GOOD._replace(err=("error: `a|b`",)), {"it ends": False})
    faults = (
        Fault("one", "One.", 1, ("--out",), lambda _: Outcome(GOOD, {"it ends": True})),
        Fault("two", "Two.", 1, ("--out",), lambda _: bad),
        Fault("three", "Three.", 1, (), not_tried),
    )
    rows = [{"group": "machine", **recorded(fault, workshop)} for fault in faults]
    file = tmp_path / "faults.json"
    for row in reversed(rows):
        keep([row], ["one", "two", "three"], file)
    kept = json.loads(file.read_text())
    assert [row["name"] for row in kept["faults"]] == ["one", "two", "three"]
    text = faults_section("machine")(file.name, kept)
    assert "**One.** Exit code 1; it ends.\n\n> `error: RUN: must be; choose another --out`\n" in text
    assert "**Two.** Exit code 1; **not true:** it ends.\n\n> `` error: `a|b` ``\n" in text
    assert "**Three.** Not tried: no GPU.\n" in text
    assert "Not as documented: `two` ('--out' is not said; not true: it ends)." in text
    assert faults_section("stranger")(file.name, kept) == "None of these is in `faults.json`.\n"


def test_a_flipped_bit_is_one_bit(tmp_path: Path):
    file = tmp_path / "x"
    file.write_bytes(bytes(100))
    damage_by_bit(file)
    assert sum(byte.bit_count() for byte in file.read_bytes()) == 1
