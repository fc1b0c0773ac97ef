from dataclasses import dataclass

import pytest
import torch

from cst_core.evaluation import has_truth
from cst_core.lazy import Lazy, LazyCases, pairs_of, select
from cst_core.plugin import EvalCase, Landmarks


def test_items_are_made_when_asked_for_and_not_kept():
    made = []
    squares = Lazy(range(1, 6), lambda key: made.append(key) or key**2)
    assert len(squares) == 5
    assert squares
    assert not Lazy([], str)
    assert made == []
    assert squares[1] == 4
    assert squares[-1] == 25
    assert squares[1] == 4
    assert made == [2, 5, 2]
    part = squares[1:4]
    assert made == [2, 5, 2]
    assert list(part) == [4, 9, 16]
    assert list(reversed(squares)) == [25, 16, 9, 4, 1]
    with pytest.raises(IndexError):
        squares[5]


@dataclass(frozen=True)
class Labelled(EvalCase[int]):
    labels: int | None = None


def test_pairs_are_made_without_their_truth_where_that_is_possible():
    made = []
    cases = LazyCases("abc", lambda key: made.append(key) or Labelled(key, ord(key), labels=1), ord)
    pairs = pairs_of(cases)
    made.clear()  # the run-time check of types looks at items of what it is passed
    assert list(pairs) == [97, 98, 99]
    assert made == []
    assert [case.id for case in cases] == ["a", "b", "c"]
    assert made == ["a", "b", "c"]


def test_pairs_of_a_list_of_cases():
    cases = [Labelled("a", 1), Labelled("b", 2)]
    pairs = pairs_of(cases)
    assert list(pairs) == [1, 2]
    assert len(pairs) == 2


def test_selection():
    marked = Landmarks(torch.zeros(1, 3), torch.zeros(1, 3))
    cases = LazyCases(range(6), lambda i: EvalCase(str(i), i, marked if i % 2 else None), int)
    chosen = select(cases, has_truth)
    assert isinstance(chosen, Lazy)
    assert [case.id for case in chosen] == ["1", "3", "5"]
