"""Labels between voxels, against a plain float64 loop."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from cst_core.field import positions, warp
from cst_core.label_maps import sample_labels, warp_labels

SHAPE, SPACING = (7, 6, 5), (1.0, 2.0, 1.5)


def by_hand(labels: np.ndarray, index: np.ndarray) -> float:
    """Shares of the eight voxels around a place, float64; the smallest of the largest."""
    low = np.floor(index).astype(int)
    shares: dict[float, float] = {}
    for corner in product((0, 1), repeat=3):
        part = float(np.prod([f if c else 1 - f for c, f in zip(corner, index - low, strict=True)]))
        place = tuple(np.clip(low + corner, 0, np.array(labels.shape) - 1))
        shares[labels[place]] = shares.get(labels[place], 0.0) + part
    most = max(shares.values())
    return min(label for label, share in shares.items() if share > most - 1e-9)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32])
def test_the_largest_share_wins(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, SHAPE, generator=generator).to(dtype)
    index = torch.rand(3, 400, generator=generator, dtype=torch.float64) * torch.tensor(SHAPE)[:, None] - 0.5
    points = (index * torch.tensor(SPACING)[:, None]).float()
    found = sample_labels(labels, points, SPACING)
    assert found.dtype == dtype
    assert found.tolist() == [by_hand(labels.numpy(), one) for one in index.T.numpy()]


def test_of_equal_shares_the_smallest_label():
    labels = torch.tensor([7, 3]).expand(2, 2, 2).permute(2, 0, 1).contiguous()
    assert sample_labels(labels, torch.tensor([[0.5], [0.0], [0.0]]), (1.0, 1.0, 1.0)).item() == 3


def test_whole_voxels_are_moved_as_by_nearest_neighbour_and_halves_are_not():
    labels = torch.zeros(12, 12, 12, dtype=torch.uint8)
    labels[3:6, 3:6, 3:6] = 5
    vectors = torch.zeros(3, 12, 12, 12)
    vectors[1] = 2.0
    assert torch.equal(warp_labels(labels, vectors, SPACING), warp(labels, vectors, SPACING, mode="nearest"))
    # a corner half a voxel away on every axis: an eighth of the label, of which nearest neighbour may make a whole
    half = 0.4 * torch.tensor(SPACING).view(3, 1, 1, 1).expand(3, 12, 12, 12)
    assert int((warp_labels(labels, half, SPACING) == 5).sum()) < int(
        (warp(labels, half, SPACING, "nearest") == 5).sum()
    )


def test_no_label_is_invented():
    labels = torch.zeros(SHAPE, dtype=torch.int16)
    labels[3:] = 9
    points = positions(SHAPE, SPACING, torch.float32, "cpu") + 0.3
    assert sample_labels(labels, points, SPACING).unique().tolist() == [0, 9]
