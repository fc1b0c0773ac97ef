from __future__ import annotations

import pytest

from benchmarks.tables.markdown import NONE
from benchmarks.tables.speed import floor, images_section, percent, points_section
from benchmarks.tables.speed_tools import quality, timing_images_section, timing_points_section
from benchmarks.tables.speed_training import training_cost_section

CPU = {"name": "A CPU", "cores": 2, "threads": 2}
ABOUT = {"commit": "abc", "cpu": CPU, "versions": {"cst": "0.1.0", "torch": "2"}}
MACHINE = {"GFLOP/s": 400.0, "GB/s": 40.0, "GFLOP/s, matrix product": 200.0}


def step(seconds: float, gflop: float, mb: float, share: float | None, textbook: float | None = None) -> dict:
    ratio = None if textbook is None else textbook / seconds
    return {"s": seconds, "GFLOP": gflop, "MB": mb, "share of pair": share, "textbook": textbook, "ratio": ratio}


STEPS = {
    "a product": step(0.01, 2.0, 4.0, 0.5, 0.05),
    "a copy": step(0.002, 0.004, 40.0, 0.25),
    "a part": step(1, 4, 4, None),
}


def cells(text: str) -> dict[str, list[str]]:
    """By the first cell."""
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {line[0]: line for line in found}


def timed(method: str, seconds: float, threads: int | None = None, **more) -> dict:
    about = {"method": method, "n_pairs": 3, "seconds": seconds, "cpu_seconds": 2 * seconds, "peak_mb": 512.4}
    return about | {"settings": {}, "version": None} | ({"threads": threads} if threads else {}) | more


def scored(method: str, dice: float, setting: str = "default", **settings) -> dict:
    return {"method": method, "setting": setting, "settings": settings, "mean": {"dice": dice, "tre_mm": None}}


def test_a_floor_is_the_longer_of_two_times():
    assert floor({"GFLOP": 2.0, "MB": 4.0}, MACHINE) == (pytest.approx(0.005), "operations")
    assert floor({"GFLOP": 0.004, "MB": 40.0}, MACHINE) == (pytest.approx(0.001), "bytes")


def test_steps_of_volumes():
    result = {
        "repeats": 5,
        "circumstances": ABOUT,
        "8x8x8": {"machine": MACHINE, "steps": STEPS, "pair": {"s": 0.02, "MB": 1}},
    }
    text = images_section("f.json", result | {"4x4x4": {"training pass of one pair": {"s": 1.0}}})
    found = cells(text)
    assert found["a product"][1:] == ["10", "50", "5.0", "5.0", "operations", "50 %", "50 %"]
    assert found["a copy"][1:] == ["2.0", NONE, NONE, "1.0", "bytes", "50 %", "25 %"]
    assert found["a part"][-1] == NONE
    assert "The rest of the pair: 25 %. All floors together: 38 % of the pair." in text
    assert "40.0 GB/s, 400 GFLOP/s of multiply-adds (a library's matrix product: 200)" in text
    assert "From `f.json`, commit abc; A CPU, 2 cores, 2 threads, torch 2; the fastest of 5 runs." in text
    assert "4 x 4 x 4" not in text  # of which no steps were timed


def test_an_old_machine_says_what_its_rate_is_of():
    machine = {"GFLOP/s": 200.0, "GB/s": 40.0}
    result = {
        "repeats": 5,
        "circumstances": ABOUT,
        "8x8x8": {"machine": machine, "steps": STEPS, "pair": {"s": 1, "MB": 1}},
    }
    assert "shares may be above 100 %" in images_section("f.json", result)


def test_steps_of_clouds_with_and_without_floors():
    loop = {"plain torch, published loop, 5 rounds, s": 26.0, "ours, the same answer in 4 rounds, s": 0.11}
    best = {"register, whole": 0.59, "MB, register, whole": 284.0}
    old = {"fixed": 1750, "moving": 3569, "repeats": 5, "best": best, "messages": loop, "circumstances": ABOUT}
    assert "236 times as fast" in points_section("f.json", old)
    assert "not measured yet" in points_section("f.json", old)
    text = points_section("f.json", old | {"machine": MACHINE, "steps": STEPS})
    assert "not measured yet" not in text
    assert "0.59 s a pair, 284 MB" in text
    assert cells(text)["a copy"][5] == "bytes"


def test_tools_by_threads_and_with_their_dice():
    rows = [timed("self", 2.0), timed("greedy", 1.0), timed("self", 3.0, 1), timed("elastix", 30.0, 1, times_ours=12.0)]
    rows[0]["settings"] = {"model": "hippocampus"}
    known = [scored("self", 0.70), scored("self", 0.72), scored("self (more)", 0.78, model="hippocampus")]
    known += [scored("greedy", 0.76), scored("greedy", 0.1, "matched")]
    text = timing_images_section("f.json", ABOUT | {"rows": rows}, {"rows": known})
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert [line[:2] for line in lines[2:]] == [
        ["greedy", "2"],
        ["self-training", "2"],
        ["self-training", "1"],
        ["elastix", "1"],
    ]
    assert lines[2][2:] == ["3", "1.0", "2.0", "512", "0.50", "0.50", ".760"]
    assert [lines[3][-1], lines[4][-1], lines[5][-1]] == [".780", ".710", NONE]
    assert lines[5][6:8] == ["12", "10"]  # of its own call, where the row says so
    assert cells(timing_images_section("f.json", ABOUT | {"rows": rows[1:2]}, {}))["greedy"][-1] == NONE


def test_quality_is_a_mean_over_seeds_at_the_default():
    known = [scored("a", 0.5), scored("a", 0.7), scored("a", 0.1, "matched")]
    assert quality(timed("a", 1.0), known, "dice") == pytest.approx(0.6)
    assert quality(timed("a", 1.0), known, "tre_mm") is None
    assert quality(timed("b", 1.0), known, "dice") is None


def test_clouds_before_and_after_they_are_timed():
    mean = {"tre_mm": 6.2}
    run = {"setting": "default", "settings": {}, "threads": 1, "peak_mb": None, "mean": mean}
    rows = [run | {"method": "cpd", "cpu_seconds": 12.0}, run | {"method": "lbp-nothing", "cpu_seconds": 0.8}]
    before = timing_points_section("f.json", {"rows": [*rows, run | {"method": "self"}]}, {}, {})
    assert cells(before)["cpd"][1:] == ["1", "12", NONE, "15", "6.20"]
    assert "self" not in cells(before)
    assert "benchmarks.peers.time_points" in before
    timing = ABOUT | {"rows": [timed("cpd", 20.0, 2), timed("self", 0.5, 2, settings={"model": "copd-fold1"})]}
    copd = {"model": "copd-fold", "mean": {"tre_mm": 1.73}}
    after = cells(timing_points_section("f.json", {"rows": rows}, timing, copd))
    assert after["cpd"][6:] == ["40", "40", "6.20"]
    assert after["self-training"][-1] == "1.73"


def test_what_a_training_costs():
    scaling = {
        "scans": {"points": [{"label_s": 9, "step_s": 9}, {"label_s": 0.04, "step_s": 0.05}], "circumstances": ABOUT}
    }
    image = {
        "circumstances": ABOUT,
        "8x8x8": {"steps": {}, "pair": {"s": 2.0}, "training pass of one pair": {"s": 1.5}},
    }
    config = {
        "backend": "image",
        "preset": "small",
        "train": {"stages": 2, "iterations": 300},
        "image": {"max_train_pairs": 60},
    }
    trained = {"method": "self", "setting": "default", "threads": 1, "settings": {"config": config}}
    rows = [trained | {"training_seconds": [700.0, None]}, trained | {"training_seconds": [800.0]}]
    text = training_cost_section("f.json", scaling, image, {}, {"data": "D", "rows": rows}, {})
    found = cells(text)
    assert found["volumes of 8 x 8 x 8 voxels, the paper's network"][2:5] == ["2", "2.0", "3.0"]
    assert found["volumes of 32^3 voxels"][3:5] == ["0.040", "0.050"]
    assert found["D, preset `small`, 2 trainings"][5:] == ["60 labels, 300 steps, 2 stages", "750"]


def test_percent():
    assert [percent(share) for share in (0.005, 0.256, 1.84, None)] == ["0.50 %", "26 %", "180 %", NONE]
