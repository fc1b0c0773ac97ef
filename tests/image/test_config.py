"""Settings: which are possible, what the paper's are, and that every one of them changes the result."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from cst_core.config import TrainConfig
from cst_core.field import Grid
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair
from cst_image.presets import PRESETS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window", (300, -200)),
        ("window", (100, 100)),
        ("percentiles", (99, 1)),
        ("percentiles", (-1, 99)),
        ("percentiles", (1, 101)),
        ("spacing", 0),
        ("shape", (64, 64)),
        ("shape", (64, 64, 0)),
        ("memory_gb", 0),
        ("max_train_pairs", 0),
        ("max_test_pairs", 0),
    ],
)
def test_impossible_data_settings(name, value):
    with pytest.raises(ValidationError, match=name):
        ImageConfig.model_validate({name: value})


def test_no_bound_on_training_pairs():
    assert ImageConfig(max_train_pairs=None).max_train_pairs is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": (8, 8)}, "channels and strides"),
        ({"channels": (8,), "strides": (1,)}, "channels and strides"),
        ({"strides": (3, 1, 2, 1, 2)}, "strides"),
        (
            {"strides": (2, 2, 2, 1, 2), "instance_blocks": (1,)},
            "instance_blocks needs .* the second of strides must be 1",
        ),
        ({"instance_blocks": ()}, "instance_blocks"),
        ({"instance_blocks": (3,)}, "instance_blocks"),
        ({"instance_blocks": (2, 2)}, "each block once"),
        ({"instance_blocks": (2, 1)}, "each block once, the first one first"),
        ({"norm": "layer"}, "norm"),
        ({"warps": 3}, "warps"),
        ({"reach": 0}, "reach"),
        ({"towers": 0}, "towers"),
        ({"sharpness": 0.0}, "sharpness"),
        ({"smoothness": -1.0}, "smoothness"),
        ({"sigma_first": -0.1}, "sigma_first"),
        ({"warp": 2}, "warp"),
    ],
)
def test_impossible_settings(values, message):
    with pytest.raises(ValidationError, match=message):
        ImageConfig.model_validate(values)


@pytest.mark.parametrize(
    ("strides", "stride", "label_stride"),
    [((2, 1, 2, 1, 2), 8, 2), ((1, 1, 2, 1), 2, 1), ((2, 2, 2), 8, 4), ((1, 2, 1), 2, 2), ((1, 1), 1, 1)],
)
def test_strides(strides, stride, label_stride):
    config = ImageConfig(channels=(4,) * len(strides), strides=strides)
    assert (config.stride, config.label_stride) == (stride, label_stride)


def test_presets_are_valid_and_the_papers_is_as_published():
    for preset in PRESETS.values():
        ImageConfig(**preset.backend)
        TrainConfig(**preset.train)
    paper, train = ImageConfig(**PRESETS["paper"].backend), TrainConfig(**PRESETS["paper"].train)
    assert (paper.channels, paper.strides, paper.features) == ((32, 64, 128, 128, 128), (2, 1, 2, 1, 2), 16)
    assert (paper.norm, paper.towers, paper.first_towers, paper.standardise) == ("batch", 1, 1, False)
    # 5 a channel, summed over 16, is 80 times the mean over channels
    assert (paper.reach, paper.cost_scale, paper.sharpness) == (2, 5.0 * paper.features, 20.0)
    assert paper.coupling == (0.003, 0.03, 0.3)
    assert (paper.consistency, paper.consistency_steps, paper.warps, paper.adam) == (True, 15, 2, True)
    assert (paper.adam_rounds, paper.instance_blocks) == (1, (2,))
    assert (paper.adam_steps, paper.adam_rate, paper.instance_channels, paper.instance_scale) == (50, 1.0, 32, 5.0)
    assert (paper.data_weight, paper.smoothness, paper.test_smoothness) == (12.0, 0.65, 6.5)
    assert (paper.divergence, paper.test_divergence) == (0.0, 0.0)
    assert (paper.field_smoothing, paper.final_smoothing) == (3, 3)
    assert (paper.sigma_first, paper.sigma_second, paper.window) == (0.075, 0.05, (-200.0, 300.0))
    assert (train.stages, train.iterations, train.batch_size, train.margin) == (8, 1000, 2, 8)
    assert (train.learning_rate, train.final_learning_rate, train.schedule) == (1e-3, 1e-5, "cosine")


SMALL = ImageConfig(
    channels=(4, 6, 8), strides=(2, 1, 2), features=4, first_towers=2, reach=1, instance_channels=4, adam_steps=3
)


def registered(**values: Any) -> Tensor:
    volumes = torch.randn(2, 1, 16, 12, 14, generator=torch.Generator().manual_seed(0))
    pair = ImagePair(volumes[0], volumes[1], Grid.of((16, 12, 14), (1.0, 1.5, 2.0)))
    backend = ImageBackend(SMALL.model_copy(update=values))
    return backend.displacement(backend.untrained(0).train(), pair).vectors


@pytest.fixture(scope="module")
def as_it_is() -> Tensor:
    return registered()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("channels", (4, 6, 12)),
        ("strides", (1, 2, 2)),
        ("features", 6),
        ("norm", "instance"),
        ("first_towers", 1),
        ("standardise", False),
        ("reach", 2),
        ("cost_scale", 1.0),
        ("sharpness", 5.0),
        ("coupling", (0.3,)),
        ("instance_blocks", (1,)),
        ("instance_blocks", (1, 2)),
        ("consistency", False),
        ("consistency_steps", 1),
        ("warps", 1),
        ("adam", False),
        ("adam_steps", 1),
        ("adam_rounds", 1),
        ("adam_rate", 0.1),
        ("instance_channels", 2),
        ("instance_scale", 0.1),
        ("data_weight", 0.01),
        ("smoothness", 50.0),
        ("divergence", 50.0),
        ("field_smoothing", 1),
        ("final_smoothing", 0),
    ],
)
def test_every_setting_of_g_h_and_refinement_is_heard(as_it_is, name, value):
    field = registered(**{name: value})
    assert field.shape == as_it_is.shape
    assert not torch.allclose(field, as_it_is, atol=1e-4)
