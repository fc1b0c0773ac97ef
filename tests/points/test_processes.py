"""Two processes train g for points as one does."""

from __future__ import annotations

from pathlib import Path

import torch
from team_processes import Training, check_first_step

from cst_core.sampling import seeded
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig

SMALL = PointsConfig(
    neighbours_moving=10, features=8, first_towers=1, candidates=16, second_candidates=8, rounds=2, training_rounds=2,
    weight=1.0, training_weight=1.0, sharpness=2.0,
)  # fmt: skip


def cloud_pair(seed: int) -> CloudPair:
    extent = torch.tensor([130.0, 96.0, 168.0])
    fixed, moving = (torch.rand(n, 3, generator=seeded(seed, n)) * 200 - 100 for n in (60 + seed, 80))
    return CloudPair(fixed, moving, torch.zeros(3), extent)


def test_two_processes_train_as_one(tmp_path: Path):
    check_first_step(Training(PointsBackend(SMALL), [cloud_pair(i) for i in range(4)], {}, tmp_path), tmp_path)
