"""Our own parts alone, on a pair whose displacement is known."""

import pytest
import torch

from benchmarks.peers.classical import NAMES, ClassicalMethod
from cst_core.field import Grid
from cst_image.config import ImageConfig
from cst_image.lattice import box_means
from cst_image.pair import ImagePair
from cst_image.presets import PRESETS

SHAPE = (32, 30, 28)
CONFIG = ImageConfig.model_validate(dict(PRESETS["small"].backend) | {"adam_steps": 30})


@pytest.fixture(scope="module")
def shifted() -> ImagePair:
    """The moving scan lies 2 mm further along the first axis."""
    texture = box_means(torch.rand(1, 40, *SHAPE[1:], generator=torch.Generator().manual_seed(0)), 2)
    texture = (texture - texture.min()) / (texture.max() - texture.min()) - 0.4
    grid = Grid.of(SHAPE, (1.0, 1.0, 1.0))
    return ImagePair(texture[:, 4:36].contiguous(), texture[:, 2:34].contiguous(), grid)


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_is_found(name: str, shifted: ImagePair) -> None:
    found = ClassicalMethod(name, CONFIG).register(shifted, None)
    inner = found.field.vectors[:, 6:-6, 6:-6, 6:-6]
    assert found.field.vectors.shape == (3, *SHAPE)
    assert float(inner[0].mean()) == pytest.approx(2.0, abs=0.3)
    assert float(inner[1:].abs().mean()) < 0.4
    assert found.seconds > 0


@pytest.mark.parametrize("name", ["adam-mind", "convex-mind"])
def test_the_larger_the_knob_the_smoother_the_field(name: str, shifted: ImagePair) -> None:
    method = ClassicalMethod(name, CONFIG)
    unrelated = ImagePair(shifted.fixed, shifted.moving.flip(1, 2), shifted.grid)
    rough, smooth = (
        float(method.register(unrelated, method.knob.default * factor).field.vectors.diff(dim=1).square().mean())
        for factor in (0.2, 20.0)
    )
    assert smooth < rough
