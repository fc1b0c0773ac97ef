"""Which pairs a stage trains on, and how often (Sec. 2.3.1).

Every draw is a function of (seed, stage, step) alone: a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def difficulty_weights(difficulties: Sequence[float]) -> Tensor:
    """Sampling weights ``(n,)`` in (0, 1): the sigmoid of a line from +5 (easiest pair) to -5 (hardest) over the ranks.

    ``difficulties``: ``(n,)``, mm, one a pair. Ties keep their order, so that the weights are deterministic.
    """
    values = torch.as_tensor(difficulties, dtype=torch.float64)
    ranks = values.argsort(stable=True).argsort(stable=True)
    line = torch.linspace(5.0, -5.0, len(values), dtype=torch.float64)
    return torch.sigmoid(line)[ranks]


def seeded(*key: int) -> Generator:
    """A CPU generator whose stream depends on the whole key, e.g. (seed, stage, step)."""
    state = 0
    for part in key:  # splitmix64: neighbouring keys give unrelated streams
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return Generator().manual_seed(state & 0x7FFFFFFFFFFFFFFF)


def weighted_batch(weights: Tensor, batch_size: int, key: tuple[int, int, int]) -> list[int]:
    """``batch_size`` pair indices drawn with replacement; ``weights`` ``(n,)``, ``key`` (seed, stage, step)."""
    return torch.multinomial(weights, batch_size, replacement=True, generator=seeded(*key)).tolist()


def epoch_batch(n_pairs: int, batch_size: int, key: tuple[int, int, int]) -> list[int]:
    """Step ``key[2]`` of passes over all pairs in random order, each pair once a pass; batches run across passes."""
    seed, stage, step = key
    indices: list[int] = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, n_pairs)
        indices.append(int(torch.randperm(n_pairs, generator=seeded(seed, stage, epoch))[place]))
    return indices


def stage_order(n_pairs: int, seed: int, stage: int) -> list[int]:
    """All pairs in a random order of the stage's own: who comes first gets a label where there is no room for all."""
    return torch.randperm(n_pairs, generator=seeded(seed, stage, -1)).tolist()
