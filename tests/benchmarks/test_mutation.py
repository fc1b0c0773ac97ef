"""Counting mutants."""

from __future__ import annotations

import pytest

from benchmarks.mutation import counted


def test_failures_and_time_outs_are_noticed_and_zero_survives():
    codes = {"a": 1, "b": 3, "c": -24, "d": 0}
    assert counted(codes) == {"mutants": 4, "noticed": 3, "out_of_time": 1, "score": 0.75}


@pytest.mark.parametrize("code", [None, -11, 5, 33])
def test_mutants_that_were_not_judged_are_no_success(code):
    with pytest.raises(ValueError, match="neither noticed nor survived"):
        counted({"a": code})
