from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tables.figure_stages import drawn, files_in, panels_of


def comparison(*rows: tuple[str, int, dict]) -> dict:
    return {"rows": [{"method": m, "seed": seed, "setting": "default", "stages": stages} for m, seed, stages in rows]}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    made = comparison(
        ("mind", 0, {"0": {"tre_mm": 3.0}, "1": {"tre_mm": 2.5}}),
        ("self", 0, {"0": {"tre_mm": 3.0}, "1": {"tre_mm": 2.0}, "2": {"tre_mm": 1.0}}),
        ("self", 1, {"0": {"tre_mm": 4.0}, "1": {"tre_mm": 3.0}}),
    )
    (tmp_path / "comparison_lungs.json").write_text(json.dumps(made))
    (tmp_path / "comparison_abdomen.json").write_text(json.dumps({"rows": [{"method": "greedy"}]}))
    (tmp_path / "abdomen_run.json").write_text(json.dumps({"stages": {"0": {"dice": 0.3}, "1": {"dice": 0.4}}}))
    return tmp_path


def test_what_is_drawn(results: Path):
    files = files_in(results)
    assert [file.name for file in files] == ["comparison_lungs.json", "abdomen_run.json"]
    lungs, abdomen = panels_of(files)
    assert (lungs.figure, abdomen.figure) == ("tre_mm", "dice")
    means = {curve.name: curve.mean() for curve in lungs.curves}
    assert means == {"mind": {0: 3.0, 1: 2.5}, "self-training": {0: 3.5, 1: 2.5}}  # stages that all seeds have
    assert abdomen.curves[0].mean() == {0: 0.3, 1: 0.4}


def test_the_same_bytes_and_no_background(results: Path):
    panels = panels_of(files_in(results))
    picture = drawn(panels)
    assert picture == drawn(panels)
    assert "</svg>" in picture
    assert "fill: #ffffff" not in picture
