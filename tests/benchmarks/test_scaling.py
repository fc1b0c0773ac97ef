from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from benchmarks.scaling.__main__ import exponent, fill_clouds, fill_scans, in_child
from benchmarks.scaling.batch import fill, simulated
from benchmarks.scaling.points import NARROW, SMALL
from benchmarks.tables.figure_scaling import drawn
from benchmarks.tables.pages import DOCS, RESULTS
from cst_image.data import read_dataset
from cst_points.data import read_dataset as read_clouds


def test_exponent_of_a_power_law_and_of_nothing():
    x = (5, 20, 80, 400)
    assert exponent(x, [0.3 * n**1.5 for n in x]) == pytest.approx(1.5)
    assert exponent(x, [7.0] * 4) == pytest.approx(0.0)
    assert math.isnan(exponent(x, [1.0, 0.0, 2.0, 3.0]))


def test_a_childs_memory_is_its_own_and_its_failure_is_told():
    def peak(megabytes: int) -> float:
        code = "import json; from benchmarks.scaling.points import resident_mb; print('noise'); "
        return in_child([sys.executable, "-c", f"{code} x = b'1' * ({megabytes} * 10**6); print(resident_mb())"])  # type: ignore[return-value]

    held = b"1" * 300 * 10**6  # which a child does not inherit
    assert peak(200) - peak(1) == pytest.approx(199, abs=20)
    del held
    with pytest.raises(SystemExit, match="failed with exit code 3"):
        in_child([sys.executable, "-c", "raise SystemExit(3)"])


def test_made_up_data_are_read(tmp_path: Path):
    for name, made in (("scans", fill_scans), ("clouds", fill_clouds)):
        (tmp_path / name).mkdir()
        made(tmp_path / name, 4)
    assert len(read_dataset(tmp_path / "scans", None, SMALL, "cpu").train) == 6
    assert len(read_clouds(tmp_path / "clouds", None, NARROW.extra_pairs).train) == 4


def test_a_small_batch_in_shares(tmp_path: Path):
    found = simulated(tmp_path, 16)
    assert found["shares"] == 8
    assert found["kept_written_bytes"] < found["done_written_bytes"]
    with pytest.raises(SystemExit, match="make 19900 pairs"):
        fill(tmp_path, 20_000)


def test_the_figure_is_that_of_the_result():
    """Not by its bytes: another matplotlib draws others."""
    result = json.loads((RESULTS / "scaling.json").read_text())
    picture = drawn(result)
    assert picture == drawn(result)
    assert "fill: #ffffff" not in picture
    assert (DOCS / "scaling.svg").exists()
