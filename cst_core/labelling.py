"""The label stream (Sec. 2.2): what the frozen g_t and h find, refined, for the next stage to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cst_core.backend import Backend, Pair
from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.labels import PseudoLabels
from cst_core.loss import difficulty
from cst_core.sampling import stage_order
from cst_core.team import Alone, Team


@torch.no_grad()
def make_labels(
    backend: Backend[Pair],
    teacher: nn.Module,
    pairs: Sequence[Pair],
    labels: PseudoLabels,
    config: TrainConfig,
    stage: int = 1,
    watch: Callable[[Event], None] = lambda _: None,
    team: Team | None = None,
) -> PseudoLabels:
    """labels = refine(h(g(pairs))): one pass gives both the label and its difficulty.

    With ``config.max_labels_gb``, of as many pairs as have room, drawn anew for every stage; of one at least. Each
    process of ``team`` makes its part; which pairs are labelled, and their labels, are those of one process.
    """
    teacher.eval()
    team = team or Alone()
    limit = float("inf") if config.max_labels_gb is None else config.max_labels_gb * 1e9
    order = range(len(pairs)) if config.max_labels_gb is None else stage_order(len(pairs), config.seed, stage)
    size = largest = done = 0
    for first in range(0, len(order), team.size):
        if done and size + largest > limit:
            break
        # 1. each process one pair
        mine = dict(enumerate(order[first : first + team.size])).get(team.rank)
        made = None if mine is None or mine in labels else _label(backend, teacher, pairs[mine], config)
        # 2. who has room is known once sizes are; without a limit nobody waits for the others
        sizes = [0] * team.size
        sizes[team.rank] = made.nbytes if made else 0 if mine is None else labels[mine].nbytes
        if limit < float("inf"):
            sizes = [sum(told) for told in zip(*team.gather(sizes), strict=True)]
        for pair, nbytes in zip(order[first : first + team.size], sizes, strict=False):
            if done and size + largest > limit:
                break
            size, largest, done = size + nbytes, max(largest, nbytes), done + 1
            if made and pair == mine:
                labels.put(pair, made.field, made.difficulty)
                total = len(pairs) if limit == float("inf") else min(len(pairs), max(1, int(limit // largest)))
                watch(Event("label", stage, done, total, made.difficulty))
    others = labels.share(team)
    for place, pair in enumerate(order[:done], start=1):
        if pair in others:
            watch(Event("label", stage, place, done, labels.difficulty(pair)))
    return labels


class _Made(NamedTuple):
    field: Tensor
    difficulty: float

    @property
    def nbytes(self) -> int:
        """In half precision."""
        return 2 * self.field.numel()


def _label(backend: Backend[Pair], teacher: nn.Module, pair: Pair, config: TrainConfig) -> _Made:
    predicted, refined = backend.register(teacher, pair)
    return _Made(refined if config.refine else predicted, difficulty(predicted, refined))
