"""Sequences whose items are made when asked for: data sets that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

from cst_core.backend import Pair
from cst_core.plugin import EvalCase

Key = TypeVar("Key")
Item = TypeVar("Item")


class Lazy(Sequence[Item], Generic[Key, Item]):
    """``make(key)`` for every one of ``keys``, made anew whenever it is asked for; nothing is kept."""

    def __init__(self, keys: Sequence[Key], make: Callable[[Key], Item]) -> None:
        self.keys, self._make = keys, make

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return Lazy(self.keys[index], self._make)
        return self._make(self.keys[index])


class LazyCases(Lazy[Key, EvalCase[Pair]], Generic[Key, Pair]):
    """Cases, and apart from them their pairs, for which no truth is read."""

    def __init__(
        self, keys: Sequence[Key], make: Callable[[Key], EvalCase[Pair]], make_pair: Callable[[Key], Pair]
    ) -> None:
        super().__init__(keys, make)
        self.pairs: Sequence[Pair] = Lazy(keys, make_pair)


def pairs_of(cases: Sequence[EvalCase[Pair]]) -> Sequence[Pair]:
    """The pairs of ``cases``, each made when asked for, without its truth where that is possible."""
    if isinstance(cases, LazyCases):
        return cases.pairs
    return Lazy(range(len(cases)), lambda index: cases[index].pair)


def select(items: Sequence[Item], condition: Callable[[Item], bool]) -> Sequence[Item]:
    """Those ``items`` that meet a condition: each is made once now, and again when asked for."""
    return Lazy([index for index, item in enumerate(items) if condition(item)], items.__getitem__)
