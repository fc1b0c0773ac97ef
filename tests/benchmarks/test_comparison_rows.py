"""A file of rows: each there once, whatever is run again."""

import json
from pathlib import Path

from benchmarks.comparison_rows import figures, line, put_row, row_of_model, rows_of
from cst_core.plugin import PairScore


def row(method: str, dice: float, setting: str = "default", seed: int | None = None) -> dict:
    scores = [PairScore("a", dice=dice, sdlogj_l2r=0.1, folding_percent=0.0), PairScore("b", dice=dice + 0.2)]
    return {"method": method, "setting": setting, "seed": seed, "peak_mb": None, **figures(scores)}


def test_rows_are_appended_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results" / "comparison.json"
    assert rows_of(path) == {}
    put_row(path, row("greedy", 0.5), {"data": "x", "target_sdlogj": None})
    put_row(path, row("greedy", 0.6, "matched"), {"data": "x", "target_sdlogj": 0.1})
    put_row(path, row("self", 0.7, seed=1), {"data": "x", "target_sdlogj": None})
    put_row(path, row("greedy", 0.4), {"data": "x", "target_sdlogj": None})
    assert list(rows_of(path)) == [("greedy", "default", None), ("greedy", "matched", None), ("self", "default", 1)]
    assert rows_of(path)["greedy", "default", None]["mean"]["dice"] == 0.5
    assert json.loads(path.read_text())["target_sdlogj"] == 0.1


def test_a_line_says_what_there_is() -> None:
    told = line(row("greedy", 0.5))
    assert "Dice 0.600" in told
    assert "folding % 0.000" in told
    assert "TRE" not in told
    assert "2 pairs" in told


def test_the_row_of_a_model_says_what_made_it(tmp_path: Path) -> None:
    about = {"commit": "abc", "cpu": {"threads": 2}}
    made = row_of_model("best", None, {"model": "copd-fold"}, [PairScore("a", tre_mm=1.5, sdlogj_l2r=0.1)], about)
    put_row(tmp_path / "comparison.json", made, {})
    (stored,) = rows_of(tmp_path / "comparison.json").values()
    assert stored == made
    assert (stored["mean"]["tre_mm"], stored["threads"], stored["commit"]) == (1.5, 2, "abc")
    assert "TRE 1.50" in line(made)
