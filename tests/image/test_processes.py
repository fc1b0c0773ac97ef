"""Two processes train g for volumes as one does."""

from __future__ import annotations

from pathlib import Path

import torch
from team_processes import Training, check_first_step
from torch import nn

from cst_core.field import Grid
from cst_core.sampling import seeded
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair

SHAPE = (16, 20, 14)
SMALL = ImageConfig(
    channels=(4, 6, 8), strides=(2, 1, 2), features=4, first_towers=2, adam_steps=4, adam_rate=0.2, instance_channels=4,
    reach=1,
)  # fmt: skip


def volume_pair(seed: int) -> ImagePair:
    fixed, moving = (
        nn.functional.interpolate(torch.randn(1, 1, 6, 7, 5, generator=seeded(seed, i)), size=SHAPE, mode="trilinear")
        for i in range(2)
    )
    return ImagePair(fixed[0], moving[0], Grid.of(SHAPE, (2.0, 1.5, 2.5)))


def test_two_processes_train_as_one(tmp_path: Path):
    check_first_step(Training(ImageBackend(SMALL), [volume_pair(i) for i in range(4)], {}, tmp_path), tmp_path)
