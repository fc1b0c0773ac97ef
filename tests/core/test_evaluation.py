from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest
import torch
from rich.console import Console

from cst_core.evaluation import evaluate, has_truth, label_table, stage_table, summary, table
from cst_core.plugin import EvalCase, Landmarks, PairScore

SCORES = [
    PairScore("a", tre_mm=2.0, tre_mm_initial=10.0, sdlogj=0.1, seconds=1.0),
    PairScore("b", tre_mm=4.0, tre_mm_initial=13.0, sdlogj=0.3, seconds=2.0),
]


def text_of(rich_table) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(rich_table)
    return capture.get()


def test_summary_has_the_keys_of_the_contract():
    result = summary(SCORES)
    assert result["initial"] == {"tre_mm": 11.5, "dice": None, "dice_per_label": None}
    assert result["mean"]["dice_per_label"] is None
    assert label_table(SCORES) is None
    assert result["mean"]["tre_mm"] == 3.0
    assert result["mean"]["dice"] is None
    assert set(result["mean"]) >= {"tre_mm", "dice", "sdlogj_l2r", "sdlogj", "folding_percent", "seconds"}
    assert result["sd"]["tre_mm"] == pytest.approx(math.sqrt(2))
    keys = "id tre_mm tre_mm_initial dice dice_per_label hd95_mm sdlogj_l2r sdlogj folding_percent seconds"
    assert set(result["pairs"][1]) >= set(keys.split())
    assert result["pairs"][1]["tre_mm_initial"] == 13.0
    json.dumps(result)


def test_failed_pair_is_not_averaged_away():
    scores = [*SCORES, PairScore("c", tre_mm=math.nan)]
    assert math.isnan(summary(scores)["mean"]["tre_mm"])
    assert math.isnan(summary(scores)["sd"]["tre_mm"])
    assert summary(SCORES[:1])["sd"]["tre_mm"] is None


def test_table_shows_initial_beside_final():
    lines = text_of(table(SCORES, "2 pairs")).splitlines()
    assert "Dice" not in lines[2]
    assert lines[2].index("TRE mm initial") < lines[2].rindex("TRE mm")
    row = next(line for line in lines if " b " in line)
    assert row.index("13.00") < row.index("4.00")
    mean = next(line for line in lines if " mean " in line)
    assert "11.50" in mean
    assert "3.00" in mean


def test_labels_count_in_the_pairs_that_have_them():
    scores = [
        PairScore("a", dice_per_label={"liver": 0.9, "spleen": 0.5}, dice_per_label_initial={"liver": 0.3}),
        PairScore("b", dice_per_label={"liver": 0.7}, dice_per_label_initial={"liver": 0.1}),
        PairScore("c"),
    ]
    result = summary(scores)
    assert result["mean"]["dice_per_label"] == pytest.approx({"liver": 0.8, "spleen": 0.5})
    assert result["sd"]["dice_per_label"] == {"liver": pytest.approx(0.2 / math.sqrt(2)), "spleen": None}
    assert result["initial"]["dice_per_label"] == pytest.approx({"liver": 0.2})
    rows = [line.replace("│", " ").split() for line in text_of(label_table(scores)).splitlines() if "│" in line]
    assert rows == [["liver", "2", "0.200", "0.800", "0.141"], ["spleen", "1", "-", "0.500", "-"]]
    only_after = [PairScore("a", dice_per_label={"1": 0.5})]
    assert "initial" not in text_of(label_table(only_after))


def test_stage_table():
    random, trained = summary(SCORES), summary(SCORES[:1])
    lines = text_of(stage_table({0: random, 1: trained})).splitlines()
    assert [line.split()[1] for line in lines if "│" in line] == ["initial", "random", "1"]
    assert "11.5" not in lines[-2]
    assert "2.00" in lines[-2]
    named = text_of(stage_table({0: random | {"features": "MIND features"}, 1: trained}))
    assert "MIND features" in named
    assert "random" not in named


def test_has_truth():
    @dataclass(frozen=True)
    class Labelled(EvalCase):
        labels: int | None = None

    assert not has_truth(EvalCase("a", 1))
    assert has_truth(EvalCase("a", 1, Landmarks(torch.zeros(1, 3), torch.zeros(1, 3))))
    assert has_truth(Labelled("a", 1, labels=3))
    assert not has_truth(Labelled("a", 1))


def test_evaluate_is_in_evaluation_mode(toy):
    backend = toy.backend(toy.config_class(), "cpu")
    network = backend.new_network(0).train()
    before = network[1].running_mean.clone()
    cases = toy.read_data("phantom", None, toy.config_class(), "cpu").test
    scores = evaluate(toy, backend, network, cases)
    assert [score.id for score in scores] == [case.id for case in cases]
    assert not network.training
    assert torch.equal(network[1].running_mean, before)
