"""What teaches g. The paper's self-training is one choice; its rivals share network, solver, schedule and augmentation.

A `Supervision` says which example is made of a pair, and what is minimised on it. `SelfTraining` and `GivenFields` are
those that need no modality; a backend's plugin offers its own through `cst_core.plugin.Supervising`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Generator, Tensor

from cst_core.loss import field_error

Pair = TypeVar("Pair")

SELF = "self"
"""The name of self-training, which every backend has."""


@dataclass(frozen=True)
class Example(Generic[Pair]):
    """What g and h are shown, before augmentation, and the field that they should find."""

    pair: Pair
    target: Tensor | None
    """``(3, *sites)``, mm; None where the supervision knows no field."""


class Supervision(Protocol[Pair]):
    """One way of teaching g."""

    @property
    def labelled(self) -> bool:
        """Whether every stage begins with pseudo labels, made with the last stage's network."""
        ...

    @property
    def fields(self) -> bool:
        """Whether the loss compares fields, in mm; else it is a measure of its own and needs no target."""
        ...

    def example(self, index: int, pair: Pair, label: Tensor | None, generator: Generator) -> Example[Pair]:
        """The example of training pair number ``index``; ``label`` is its pseudo label where there are any."""
        ...

    def loss(self, pair: Pair, predicted: Tensor, target: Tensor | None) -> Tensor:
        """What is minimised, a scalar.

        ``predicted`` ``(3, *sites)`` mm, h's field of the augmented ``pair``; ``target`` is the example's, augmented
        with it.
        """
        ...


class SelfTraining(Generic[Pair]):
    """The paper's: the target is the pseudo label, the loss Eq. 2."""

    labelled = True
    fields = True

    def __init__(self, margin: int = 0) -> None:
        """``margin``: as in `TrainConfig.margin`."""
        self._margin = margin

    def example(self, index: int, pair: Pair, label: Tensor | None, generator: Generator) -> Example[Pair]:
        """The pair as it is, and its pseudo label."""
        del index, generator
        return Example(pair, label)

    def loss(self, pair: Pair, predicted: Tensor, target: Tensor | None) -> Tensor:
        """Mean |u_predicted - u_label| over sites (Eq. 2), mm."""
        del pair
        if target is None:
            raise ValueError("target: self-training needs a pseudo label for every pair, got None")
        return field_error(predicted, target, self._margin)


class GivenFields(SelfTraining[Pair]):
    """Supervised: Eq. 2 on fields that are known beforehand, one for every training pair; no pseudo labels."""

    labelled = False

    def __init__(self, fields: Sequence[Tensor], margin: int = 0) -> None:
        """``fields[index]`` ``(3, *sites)``, mm, for training pair ``index``."""
        super().__init__(margin)
        self._fields = fields

    def example(self, index: int, pair: Pair, label: Tensor | None, generator: Generator) -> Example[Pair]:
        """The pair as it is, and its known field."""
        del label, generator
        return Example(pair, self._fields[index])


class Metric(Generic[Pair]):
    """Unsupervised in the usual way: a measure of how badly fixed and warped moving agree, and of roughness."""

    labelled = False
    fields = False

    def __init__(self, measure: Callable[[Pair, Tensor], Tensor]) -> None:
        """``measure(pair, field)``: a scalar, differentiable in ``field`` ``(3, *sites)`` mm."""
        self._measure = measure

    def example(self, index: int, pair: Pair, label: Tensor | None, generator: Generator) -> Example[Pair]:
        """The pair as it is; no target."""
        del index, label, generator
        return Example(pair, None)

    def loss(self, pair: Pair, predicted: Tensor, target: Tensor | None) -> Tensor:
        """The measure of the augmented pair under the predicted field."""
        del target
        return self._measure(pair, predicted)


class Combined(Generic[Pair]):
    """One supervision's examples and loss, plus ``weight`` times the loss of another, which needs no target."""

    def __init__(self, main: Supervision[Pair], other: Supervision[Pair], weight: float) -> None:
        self._main, self._other, self._weight = main, other, weight

    @property
    def labelled(self) -> bool:
        """As the first one."""
        return self._main.labelled

    @property
    def fields(self) -> bool:
        """No longer in mm alone."""
        return False

    def example(self, index: int, pair: Pair, label: Tensor | None, generator: Generator) -> Example[Pair]:
        """The first one's."""
        return self._main.example(index, pair, label, generator)

    def loss(self, pair: Pair, predicted: Tensor, target: Tensor | None) -> Tensor:
        """Both, summed."""
        return self._main.loss(pair, predicted, target) + self._weight * self._other.loss(pair, predicted, None)
