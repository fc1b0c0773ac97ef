from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest
from scipy.stats import wilcoxon

from benchmarks.tables.comparison import comparison_section, numbers
from benchmarks.tables.markdown import NONE, fixed, probability, significant, table
from benchmarks.tables.pages import DOCS, PAGES, RESULTS, rendered
from benchmarks.tables.statistics import entries, p_value

NAMES = "abcdefgh"
SELF = ((0.70, 0.72, 0.66, 0.80, 0.75, 0.71, 0.69, 0.74), (0.72, 0.70, 0.70, 0.82, 0.71, 0.73, 0.67, 0.78))
MIND = ((0.65, 0.71, 0.67, 0.75, 0.70, 0.70, 0.60, 0.70),)
GREEDY = ((0.69, 0.74, 0.60, 0.79, 0.74, 0.69, 0.70, 0.69),)


def row(method: str, dice, seed: int | None = None, setting: str = "default", **more) -> dict:
    pairs = [
        {
            "id": name,
            "dice": value,
            "dice_initial": 0.5 + 0.01 * i,
            "dice_per_label": {"1": value},
            "hd95_mm": 3.0 - value,
            "tre_mm": None,
            "sdlogj_l2r": 0.1,
            "folding_percent": 0.25,
            "seconds": 1.25,
            **more.get("pair", {}),
        }
        for i, (name, value) in enumerate(zip(NAMES, dice, strict=True))
    ]
    kind = "tool" if method == "greedy" else "supervision"
    about = {"method": method, "kind": kind, "saw": "nothing", "setting": setting, "seed": seed, "settings": {}}
    return about | {"version": None, "threads": 2, "peak_mb": None, "commit": "abc", "pairs": pairs} | more


def rows() -> list[dict]:
    return [
        row("self", SELF[0], 0),
        row("self", SELF[1], 1),
        row("mind", MIND[0], 0),
        row("landmarks", [value + 0.1 for value in MIND[0]], 0, saw="landmarks"),
        row("greedy", GREEDY[0], peak_mb=812.4, version="1.4"),
        row("greedy", MIND[0], setting="matched", pair={"sdlogj_l2r": 0.101}),
        row("mind", MIND[0], 0, setting="matched", pair={"sdlogj_l2r": 0.2}),
    ]


def result(**more) -> dict:
    cpu = {"name": "A CPU", "cores": 2, "threads": 2}
    about = {"target_sdlogj": 0.1, "commit": "abc", "cpu": cpu, "versions": {"cst": "0.1.0", "torch": "2"}}
    return {"data": "x", "rows": rows(), **about, **more}


def lines_of(text: str) -> dict[str, list[str]]:
    """Cells of the first table by the first one."""
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    end = next(i for i, cells in enumerate(found) if cells[:2] == ["method", "setting"])
    return {cells[0]: cells for cells in found[:end]}


def test_mean_and_spreads_by_hand():
    figure = entries(rows())["self", "default"].figure("dice")
    assert figure is not None
    by_pair = [fmean(pair) for pair in zip(*SELF, strict=True)]
    assert figure.mean == pytest.approx(fmean(by_pair))
    assert figure.over_pairs == pytest.approx(stdev(by_pair))
    assert figure.over_seeds == pytest.approx(stdev([fmean(SELF[0]), fmean(SELF[1])]))
    single = entries(rows())["mind", "default"].figure("dice")
    assert single is not None
    assert single.over_seeds is None
    assert single.over_pairs == pytest.approx(stdev(MIND[0]))


def test_p_is_that_of_scipy_on_pair_means():
    every = entries(rows())
    by_pair = [fmean(pair) for pair in zip(*SELF, strict=True)]
    expected = wilcoxon(MIND[0], by_pair).pvalue
    assert p_value(every["mind", "default"], every["self", "default"], "dice") == pytest.approx(expected)
    assert p_value(every["self", "default"], every["self", "default"], "dice") is None
    assert p_value(every["mind", "default"], None, "dice") is None
    other = entries([row("far", MIND[0], pair={}) | {"pairs": [{"id": "z", "dice": 0.1}]}])["far", "default"]
    assert p_value(other, every["self", "default"], "dice") is None  # no pair in common


def test_a_pair_without_a_figure_leaves_no_figure():
    some = row("mind", MIND[0], 0)
    some["pairs"][3]["dice"] = None
    assert entries([some])["mind", "default"].figure("dice") is None
    assert entries([some])["mind", "default"].figure("hd95_mm") is not None


def test_the_order_is_the_papers():
    more = [row(name, MIND[0], 0) for name in ("best", "random features", "self + ncc")]
    methods = [line.entry.method if line.entry else "initial" for line in numbers(entries(more + rows()), "dice")]
    assert methods == ["initial", "greedy", "random features", "mind", "landmarks", "self", "self + ncc", "best"]


def test_the_table():
    text = comparison_section("comparison_x.json", result())
    cells = lines_of(text)
    heads = ["method", "saw", "seeds", "Dice", "p", "HD95 mm", "SDlogJ", "folding %", "s", "MB"]
    assert cells["method"] == [*heads, "matched Dice", "p", "SDlogJ"]
    by_pair = [fmean(pair) for pair in zip(*SELF, strict=True)]
    seeds = stdev([fmean(SELF[0]), fmean(SELF[1])])
    bold = f"**{fixed(fmean(by_pair), 3)}** ± {fixed(stdev(by_pair), 3)} ({fixed(seeds, 3)})"
    assert cells["self-training"][2:5] == ["2", bold, NONE]
    assert cells["initial"][:5] == ["initial", NONE, NONE, ".535 ± .024", NONE]
    assert cells["initial"][6:] == [NONE] * 7
    assert cells["landmarks"][1] == "saw landmarks"
    assert "**" not in cells["landmarks"][3]  # the best, but it saw more
    assert cells["mind"][4] == probability(wilcoxon(MIND[0], by_pair).pvalue)
    assert cells["greedy"][8:10] == ["1.2", "812"]
    assert cells["greedy"][10].startswith(".")
    assert cells["mind"][10].endswith(r"\*")
    assert "The target was not reached: mind." in text
    assert cells["self-training"][10:] == [bold, NONE, ".100"]  # its default has the target's smoothness
    assert "A CPU, 2 cores, 2 threads" in text
    assert "`: 8 pairs, seeds 0, 1." in text


def test_no_matched_rows_no_columns():
    text = comparison_section("f.json", result(rows=rows()[:5], target_sdlogj=None))
    assert "atched" not in text


def test_landmarks_and_failures():
    lungs = [row("self", SELF[0], 0, pair={"dice": None, "dice_initial": None, "tre_mm": 1.5, "tre_mm_initial": 9.0})]
    lungs += [row("cpd", SELF[0], pair={"tre_mm": 6.78}, failures=[{"id": "a", "why": "no"}])]
    cells = lines_of(comparison_section("f.json", result(rows=lungs)))
    assert cells["method"][3:6] == ["TRE mm", "p", "SDlogJ"]
    assert cells["initial"][3] == "9.00 ± .00"
    assert cells["self-training"][3] == "**1.50** ± .00"
    assert "cpd, default: 1 failed registrations" in comparison_section("f.json", result(rows=lungs))


def test_other_ways_have_a_table_and_a_reference_of_their_own():
    more = [row("self, h alone", MIND[0], 0), row("mind, h alone", GREEDY[0], 0)]
    text = comparison_section("f.json", result(rows=rows() + more))
    assert "**h alone**" in text
    assert "| self-training, h alone | default" in text
    cells = lines_of(text[text.index("**h alone**") :])
    assert list(cells)[2:] == ["initial", "mind", "self-training"]
    assert cells["mind"][4] == probability(wilcoxon(GREEDY[0], MIND[0]).pvalue)


def test_twice_the_same_bytes_and_what_is_missing_is_said(tmp_path: Path):
    (tmp_path / "comparison_hippocampus.json").write_text(json.dumps(result()))
    page = PAGES["comparison.md"]
    assert rendered(page, tmp_path) == rendered(page, tmp_path)
    assert "there is no `benchmarks/results/comparison_lungs.json`. `make bench-full" in rendered(page, tmp_path)


@pytest.mark.parametrize("name", PAGES)
def test_the_documentation_has_the_tables_of_the_results(name: str):
    assert (DOCS / name).read_text() == rendered(PAGES[name], RESULTS), "run python -m benchmarks.tables"


@pytest.mark.parametrize("file", sorted(RESULTS.glob("comparison_*.json")), ids=lambda file: file.stem)
def test_a_curve_ends_at_its_rows_mean(file: Path):
    for row in json.loads(file.read_text())["rows"]:
        stages = row.get("stages", {})
        for name, value in (stages[max(stages, key=int)] if stages else {}).items():
            assert value is None or value == pytest.approx(row["mean"][name], rel=1e-6), (row["method"], row["seed"])


def test_numbers_in_cells():
    assert [fixed(value, 3) for value in (0.7844, -0.0123, 1.5, 0.0, None, float("nan"))] == [
        *(".784", "-.012", "1.500", ".000", NONE, NONE)
    ]
    assert [significant(value) for value in (0.0123, 0.96, 1.58, 3.02, 0.0, 12.3, 1234.5, None)] == [
        *("0.012", "0.96", "1.6", "3.0", "0", "12", "1 200", NONE)
    ]
    assert [probability(value) for value in (0.0004, 0.0005, 0.04, 1.0)] == ["< .001", ".001", ".040", "1.000"]
    said = table(["a", "b|c"], [["x", "1"], ["long", "22"]])
    assert said.splitlines() == [r"| a    | b\|c |", "| ---- | ---: |", "| x    |    1 |", "| long |   22 |"]
    assert len({len(re.sub(r"\\", "", line)) for line in said.splitlines()}) <= 2
