from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks.comparison_rows import rows_of
from benchmarks.supervisions import __main__ as supervisions
from benchmarks.supervisions.runs import CommandError, run
from benchmarks.supervisions.scores import curve, pooled


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["supervisions", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        supervisions.main()
    return int(end.value.code or 0)


@pytest.mark.usefixtures("smooth")
def test_rows_are_what_the_runs_say(commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, runs = tmp_path / "rows.json", tmp_path / "runs"
    asked = (
        *("--backend", "toy", "--data", "phantom", "--set", "stages=2", "--set", "iterations=3"),
        *("--supervision", "self", "truth", "--also", "sharpness=1:dull", "--runs", runs, "--json", file),
    )
    assert call(monkeypatch, *asked) == 0
    assert [words[0] for words in commands] == ["train", "evaluate"] * 2
    rows = rows_of(file)
    methods = ["self", "self, dull", "random features", "random features, dull", "truth", "truth, dull"]
    assert list(rows) == [(name, "default", 0) for name in methods]
    log = [json.loads(line) for line in (runs / "truth-seed0" / "log.jsonl").read_text().splitlines()]
    stages = {event["stage"]: event for event in log if event["kind"] == "evaluation"}
    row = rows["truth", "default", 0]
    assert row["pairs"] == stages[2]["pairs"]
    assert row["mean"]["tre_mm"] == stages[2]["mean"]["tre_mm"]
    assert {stage: values["tre_mm"] for stage, values in row["stages"].items()} == {
        str(stage): event["mean"]["tre_mm"] for stage, event in stages.items()
    }
    assert rows["random features", "default", 0]["mean"]["tre_mm"] == stages[0]["mean"]["tre_mm"]
    # at test time alone, on the same random features
    assert rows["random features, dull", "default", 0]["mean"]["sdlogj_l2r"] == 1.0
    assert rows["random features, dull", "default", 0]["mean"]["tre_mm"] != stages[0]["mean"]["tre_mm"]
    assert rows["truth, dull", "default", 0]["settings"]["at_test"] == ["sharpness=1"]
    assert row["settings"]["config"]["train"]["supervision"] == "truth"
    # a second call has nothing to do
    commands.clear()
    assert call(monkeypatch, *asked) == 0
    assert commands == []
    # and the matched ones use the runs that there are
    assert call(monkeypatch, *asked, "--target-sdlogj", "0.04") == 0
    assert [words[0] for words in commands] == ["tune", "tune"]
    matched = rows_of(file)["truth", "matched", 0]
    assert matched["mean"]["sdlogj_l2r"] == pytest.approx(0.04, rel=0.02)
    assert matched["settings"]["at_test"][0].startswith("sharpness=")
    assert rows_of(file)["random features", "matched", 0]["mean"]["sdlogj_l2r"] == pytest.approx(0.04, rel=0.02)
    assert json.loads(file.read_text())["target_sdlogj"] == 0.04


@pytest.mark.usefixtures("toy")
def test_a_failure_does_not_stop_the_others(commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    file = tmp_path / "rows.json"
    asked = ("--backend", "toy", "--data", "phantom", "--set", "stages=1", "--set", "iterations=1")
    code = call(monkeypatch, *asked, "--supervision", "nonsense", "self", "--runs", tmp_path / "r", "--json", file)
    assert code == 1
    assert "nonsense, seed 0: error: --supervision nonsense: no such supervision" in capsys.readouterr().out
    assert ("self", "default", 0) in rows_of(file)
    assert len(commands) == 2


def test_folds_are_pooled_by_pair():
    folds = [
        {0: {"pairs": [{"id": "a", "tre_mm": 1.0}, {"id": "b", "tre_mm": 2.0}]}},
        {0: {"pairs": [{"id": "c", "tre_mm": 6.0}]}, 1: {"pairs": [{"id": "c", "tre_mm": 5.0}]}},
    ]
    assert [pair["id"] for pair in pooled([fold[0]["pairs"] for fold in folds])] == ["a", "b", "c"]
    assert curve(folds) == {"0": {"tre_mm": fmean([1.0, 2.0, 6.0])}}  # stages that every fold has


def test_a_process_of_its_own(tmp_path: Path):
    done = run(["--help"], 1, tmp_path / "deep" / "said.txt")
    assert done.peak_mb > 5.0
    assert "Usage" in (tmp_path / "deep" / "said.txt").read_text()
    with pytest.raises(CommandError, match="ended with 2"):
        run(["nonsense"], 1, tmp_path / "said.txt")
