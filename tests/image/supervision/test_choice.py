"""Every supervision that the image backend offers trains, beside self-training too; impossible ones say why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from cst_core.choose_supervision import check_supervision, make_supervision, offered
from cst_core.config import TrainConfig
from cst_core.errors import ConfigError
from cst_core.field import Grid, positions
from cst_core.plugin import EvalCase
from cst_core.training import self_train
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN
from cst_image.supervision.choice import SUPERVISIONS, choose

SHAPE = (20, 18, 16)
SMALL = ImageConfig(
    channels=(8, 8, 8), strides=(1, 1, 2), features=8, first_towers=1, reach=2, ncc_window=5, cost_scale=2.0,
    adam_steps=2, warps=1,
)  # fmt: skip


@pytest.fixture
def cases(waves) -> list[EvalCase[ImagePair]]:
    """The same pattern, shifted by two voxels."""
    x, pattern = positions(SHAPE, (1.0, 1.0, 1.0)), waves(6, 9.0)
    fixed, moving = (0.15 * pattern(x - shift).sum(0, keepdim=True) for shift in (0.0, 2.0))
    return [EvalCase("a", ImagePair(fixed, moving, Grid.of(SHAPE, (1.0, 1.0, 1.0))))]


def trained(cases: list[EvalCase[ImagePair]], **settings: Any) -> list[float]:
    """The loss of every step."""
    backend = ImageBackend(SMALL)
    config = TrainConfig(stages=1, iterations=16, batch_size=1, learning_rate=5e-3, augment=False, **settings)
    check_supervision(PLUGIN, config)
    teaching = make_supervision(PLUGIN, backend, config, cases)
    losses = []
    result = self_train(
        backend,
        [case.pair for case in cases],
        config,
        supervision=teaching,
        watch=lambda event: losses.append(event.value) if event.kind == "step" else None,
        save_every=1,
    )
    assert all(torch.isfinite(p).all() for p in result.network.parameters())
    return losses


@pytest.mark.parametrize("name", ["mind", "ncc"])
def test_a_metric_falls(name, cases):
    losses = trained(cases, supervision=name)
    assert losses[-1] < losses[0] - 0.01
    assert all(later < losses[0] for later in losses[-4:])


def test_synthetic_fields_are_learned(cases):
    losses = trained(cases, supervision="synthetic-field")
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])


def test_a_metric_beside_self_training(cases):
    """The loss is the sum: with almost no weight it is self-training's, to the last step."""
    alone, beside = trained(cases), trained(cases, metric="ncc", metric_weight=1e-9)
    assert beside == pytest.approx(alone, rel=1e-3)
    assert trained(cases, metric="mind", metric_weight=5.0)[0] > alone[0]


def test_what_is_offered():
    assert list(offered(PLUGIN)) == ["self", "mind", "ncc", "synthetic-field"]
    for name in SUPERVISIONS:
        made = choose(name, ImageBackend(SMALL))
        assert not made.labelled
        assert made.fields == (name == "synthetic-field")
    with pytest.raises(ValueError, match="mind, ncc, synthetic-field"):
        choose("chamfer", ImageBackend(SMALL))


def test_a_supervision_that_compares_fields_is_no_metric(cases):
    with pytest.raises(ConfigError, match="synthetic-field"):
        trained(cases, metric="synthetic-field")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mind_radius", -1),
        ("mind_dilation", 0),
        ("mind_smoothness", -0.1),
        ("ncc_window", 4),
        ("ncc_window", 1),
        ("ncc_smoothness", -1.0),
        ("synthetic_amplitude", 0.0),
        ("synthetic_grain", 0.0),
        ("synthetic_contrast", -0.1),
        ("synthetic_noise", -0.1),
    ],
)
def test_impossible_settings(name, value):
    with pytest.raises(ValidationError, match=name):
        ImageConfig.model_validate({name: value})
