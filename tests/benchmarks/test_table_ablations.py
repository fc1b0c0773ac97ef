from __future__ import annotations

from benchmarks.tables.ablations import test_time_section as rendered_test_time
from benchmarks.tables.ablations import training_section

ABOUT = {"commit": "abc", "cpu": {"name": "A CPU", "cores": 2, "threads": 1}}


def test_training():
    rows = [{"seed": seed, "variant": "all"} for seed in (1, 0)] + [{"seed": 0, "variant": "self + 3 mind"}]
    one = {"dice": 0.7778, "sd": 0.0043, "sdlogj_l2r": 0.0977}
    over = {"all": {"whole": one, "h alone": one}, "self + 3 mind": {"whole": one | {"sd": None}}}
    config = {"train": {"iterations": 300}}
    text = training_section("f.json", ABOUT | {"rows": rows, "over_seeds": over, "config": config, "n_pairs": 20})
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert cells[2] == ["all three asymmetries", "0, 1", ".778 ± .004", ".098", ".778 ± .004", ".098"]
    assert cells[3] == ["self + 3 mind", "0", ".778", ".098", "\N{EN DASH}", "\N{EN DASH}"]
    assert "From `f.json`, commit abc; A CPU, 2 cores, 1 threads." in text
    assert "20 pairs, one stage of 300 steps" in text


def test_test_time():
    figures = {
        "dice": 0.5,
        "sd": 0.05,
        "hd95_mm": 2.5,
        "sdlogj_l2r": 0.0591,
        "folding_percent": 0.126,
        "seconds": 0.702,
    }
    text = rendered_test_time("f.json", ABOUT | {"rows": [{"model": "m", "steps": "1 warp", "n_pairs": 40, **figures}]})
    assert "40 pairs; mean ± standard deviation over pairs." in text
    assert "| `m`   | 1 warp" in text
    assert "| .500 ± .050 |    2.50 |   .059 |       .13 | 0.70 |" in text
