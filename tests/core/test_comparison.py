from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from cst_core.comparison import compare, comparison_table, read_result
from cst_core.errors import DataError
from cst_core.evaluation import summary
from cst_core.eventlog import finite
from cst_core.plugin import PairScore

NAMES = "abcdefgh"
BASE = (0.5, 0.6, 0.4, 0.7, 0.55, 0.62, 0.48, 0.51)


def result(dice, tre=(), fingerprint: str = "f", **more) -> dict:
    scores = [
        PairScore(name, dice=value, tre_mm=tre[i] if tre else None, seconds=float(i))
        for i, (name, value) in enumerate(zip(NAMES, dice, strict=False))
    ]
    return {"backend": "toy", "model": "m", "fingerprint": fingerprint, **summary(scores), **more}


def text_of(comparison) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(comparison_table(comparison))
    return capture.get()


def test_all_pairs_better():
    gains = [0.01 * (i + 1) for i in range(8)]
    made = compare(result([a + g for a, g in zip(BASE, gains, strict=True)]), result(BASE))
    assert list(made.figures) == ["dice"]
    change = made.figures["dice"]
    assert (change.n, change.better, change.worse) == (8, 8, 0)
    assert change.mean_difference == pytest.approx(0.045)
    assert change.p == pytest.approx(2 / 2**8)  # every sign the same: one ranking of 2^n at each end
    assert made.notes == []


def test_signed_ranks_by_hand():
    # ranks 1..6 of +-1..6: the negative ones are 1 and 2, so W = 3; 5 of the 64 sign patterns sum to 3 or less
    differences = (-1.0, -2.0, 3.0, 4.0, 5.0, 6.0)
    tre = [10.0] * 6
    made = compare(result(BASE[:6], [t + d for t, d in zip(tre, differences, strict=True)]), result(BASE[:6], tre))
    assert made.figures["tre_mm"].p == pytest.approx(2 * 5 / 64)
    assert (made.figures["tre_mm"].better, made.figures["tre_mm"].worse) == (2, 4)  # less is better
    assert made.figures["tre_mm"].mean_difference == pytest.approx(2.5)


def test_nothing_differs():
    change = compare(result(BASE), result(BASE)).figures["dice"]
    assert (change.p, change.better, change.worse, change.mean_difference) == (1.0, 0, 0, 0.0)


def test_pairs_are_matched_by_id_and_notes_say_what_differs():
    other = result(BASE[:5], fingerprint="g")
    other["pairs"].reverse()
    made = compare(result([b + 0.1 for b in BASE]), other)
    assert made.n_pairs == 5
    assert made.figures["dice"].mean_difference == pytest.approx(0.1)
    said = text_of(made)
    for words in ("fingerprint", "5 of 8 pairs here and 5 there", "fewer than 6"):
        assert any(words in note for note in made.notes)
        assert words in said


def test_pairs_without_a_figure_are_left_out_and_counted():
    made = compare(result(BASE, (1.0, math.nan, *[1.0] * 6)), finite(result(BASE, (2.0,) * 8)))
    assert made.figures["tre_mm"].n == 7
    assert any("tre_mm" in note for note in made.notes)
    json.dumps(made.as_json())


def test_figures_that_were_measured_in_different_ways_are_not_comparable():
    usual = {"way": "a", "other": 1}
    told = ["Measured in different ways: way is a here, b there; figures are not comparable."]
    assert compare(result(BASE), result(BASE, set={"way": "b"}), usual).notes == told
    assert compare(result(BASE, set={"way": "a"}), result(BASE, set={"way": "b"}), usual).notes == told
    assert compare(result(BASE, set={"way": "a"}), result(BASE), usual).notes == []
    assert compare(result(BASE), result(BASE, set={"more": 2}), usual).notes == []


def test_no_common_pair():
    other = result(BASE)
    for pair in other["pairs"]:
        pair["id"] += "'"
    with pytest.raises(DataError, match=r"a, b, \.\.\.; there a', b', \.\.\..*--split"):
        compare(result(BASE), other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "no valid JSON"),
        ("[]", "no result of cst"),
        ('{"backend": "toy"}', "no result of cst"),
        ('{"backend": "toy", "model": "m", "fingerprint": "f", "pairs": [{"dice": 1}]}', "no result of cst"),
        ('{"backend": "toy", "model": "m", "fingerprint": "f", "set": [], "pairs": []}', "no result of cst"),
        (
            '{"backend": "toy", "model": "m", "fingerprint": "f", "pairs": [{"id": "a", "dice": "1"}]}',
            "no result of cst",
        ),
        ('{"backend": "points", "model": "m", "fingerprint": "f", "pairs": []}', "backend 'points', not 'toy'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, words: str):
    path = tmp_path / "other.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words) as error:
        read_result(path, "toy")
    assert str(path) in str(error.value)


def test_a_written_result_is_read(tmp_path: Path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(finite(result(BASE, (math.nan,) * 8))))
    assert read_result(path, "toy")["pairs"][0]["tre_mm"] is None
