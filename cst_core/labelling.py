"""The label stream (Sec. 2.2): what the frozen g_t and h find, refined, for the next stage to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from cst_core.backend import Backend, Pair
from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.labels import PseudoLabels
from cst_core.loss import difficulty
from cst_core.sampling import stage_order


@torch.no_grad()
def make_labels(
    backend: Backend[Pair],
    teacher: nn.Module,
    pairs: Sequence[Pair],
    labels: PseudoLabels,
    config: TrainConfig,
    stage: int = 1,
    watch: Callable[[Event], None] = lambda _: None,
) -> PseudoLabels:
    """labels = refine(h(g(pairs))): one pass gives both the label and its difficulty.

    With ``config.max_labels_gb``, of as many pairs as have room, drawn anew for every stage; of one at least.
    """
    teacher.eval()
    limit = None if config.max_labels_gb is None else config.max_labels_gb * 1e9
    size = largest = done = 0
    for pair in range(len(pairs)) if limit is None else stage_order(len(pairs), config.seed, stage):
        if limit is not None and done and size + largest > limit:
            break
        made = pair not in labels
        if made:
            predicted, refined = backend.register(teacher, pairs[pair])
            labels.put(pair, refined if config.refine else predicted, difficulty(predicted, refined))
        size, largest, done = size + labels[pair].nbytes, max(largest, labels[pair].nbytes), done + 1
        if made:
            total = len(pairs) if limit is None else min(len(pairs), max(1, int(limit // largest)))
            watch(Event("label", stage, done, total, labels.difficulty(pair)))
    return labels
