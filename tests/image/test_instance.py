"""Instance optimisation is torch's Adam on the loss as it is written."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cst_core.field import positions, warp
from cst_image.instance import InstanceSettings, instance_optimisation
from cst_image.roughness import roughness

SHAPE = (9, 8, 7)


def random(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def means(field: Tensor, times: int) -> Tensor:
    for _ in range(times):
        field = functional.avg_pool3d(field[None], 3, 1, 1, count_include_pad=False)[0]
    return field


def loss_of(field: Tensor, fixed: Tensor, moving: Tensor, weight: Tensor, settings: InstanceSettings) -> Tensor:
    squares = (warp(moving, field, (1.0, 1.0, 1.0)) - fixed).square().mean(0)
    data = (squares * weight).sum() / weight.sum()
    forward = (field[:, 1:] - field[:, :-1], field[:, :, 1:] - field[:, :, :-1], field[..., 1:] - field[..., :-1])
    rough = sum(part.square().mean() for part in forward)
    inner = slice(1, -1)
    change = (
        field[0, 2:, inner, inner] - field[0, :-2, inner, inner]
        + field[1, inner, 2:, inner] - field[1, inner, :-2, inner]
        + field[2, inner, inner, 2:] - field[2, inner, inner, :-2]
    ) / 2  # fmt: skip
    return settings.data_weight * data + settings.smoothness * rough + settings.divergence * change.square().mean()


def plain(fixed: Tensor, moving: Tensor, start: Tensor, weight: Tensor, settings: InstanceSettings) -> Tensor:
    parameter = start.clone().requires_grad_()
    adam = torch.optim.Adam([parameter], lr=settings.rate)
    for _ in range(settings.steps):
        adam.zero_grad()
        loss_of(means(parameter, settings.smoothing), fixed, moving, weight, settings).backward()
        adam.step()
    return means(parameter.detach(), settings.smoothing)


SETTINGS = [
    InstanceSettings(steps=10),
    InstanceSettings(steps=10, rate=0.1, data_weight=3.0, smoothness=5.0, smoothing=1),
    InstanceSettings(steps=10, rate=0.3, smoothness=0.0, smoothing=0),
    InstanceSettings(steps=10, rate=0.1, data_weight=3.0, smoothness=0.5, smoothing=1, divergence=4.0),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_torchs_adam_on_the_written_loss(settings):
    fixed, moving, weight = random(0, 5, *SHAPE), random(1, 5, *SHAPE), random(2, *SHAPE).abs()
    weight[2:4] = 0
    start = random(3, 3, *SHAPE)  # not at whole voxels, where the derivative jumps
    found = instance_optimisation(fixed, moving, start, weight, settings)
    expected = plain(fixed, moving, start, weight, settings)
    assert (expected - means(start, settings.smoothing)).abs().max() > 0.1
    assert torch.allclose(found, expected, rtol=0, atol=1e-9)


def test_in_single_precision():
    arrays = [random(0, 5, *SHAPE), random(1, 5, *SHAPE), random(3, 3, *SHAPE), torch.ones(SHAPE).double()]
    settings = InstanceSettings(steps=5, rate=0.1, smoothing=1)
    found = instance_optimisation(*(part.float() for part in arrays), settings)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), plain(*arrays, settings), rtol=0, atol=1e-3)


def test_the_start_is_not_written_to():
    start = random(3, 3, *SHAPE, dtype=torch.float32)
    before = start.clone()
    fixed, moving = (random(seed, 2, *SHAPE, dtype=torch.float32) for seed in (0, 1))
    instance_optimisation(fixed, moving, start, torch.ones(SHAPE), InstanceSettings(steps=2))
    assert torch.equal(start, before)


@pytest.fixture
def planted(waves) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth features and the motion that leads from fixed to moving, in voxels."""
    shape = (16, 18, 14)
    x = positions(shape, (1.0, 1.0, 1.0))
    features = waves(8, 9.0)
    u = torch.stack([torch.sin(x[1] / 6), 0.8 * torch.cos(x[2] / 5), -0.9 * torch.sin(x[0] / 6)])
    return features(x + u), features(x), u  # moving(x + u) = fixed


def test_finds_the_motion_and_lowers_the_loss(planted):
    fixed, moving, truth = planted
    start, weight = torch.zeros_like(truth), torch.ones_like(truth[0])
    settings = InstanceSettings(rate=0.3, smoothness=0.05, smoothing=1)
    found = instance_optimisation(fixed, moving, start, weight, settings)
    losses = [float(loss_of(field, fixed, moving, weight, settings)) for field in (start, found)]
    assert losses[1] < 0.1 * losses[0]
    inner = (slice(None), *[slice(2, -2)] * 3)
    assert (found - truth)[inner].norm(dim=0).mean() < 0.15 * truth[inner].norm(dim=0).mean()


def test_rougher_with_less_smoothness_and_fewer_means(planted):
    fixed, moving, truth = planted
    noisy = moving + 0.5 * random(4, *moving.shape, dtype=torch.float32)

    def run(**options: float) -> float:
        settings = InstanceSettings(rate=0.3)._replace(**options)
        field = instance_optimisation(fixed, noisy, torch.zeros_like(truth), torch.ones_like(truth[0]), settings)
        return float(roughness(field))

    by_weight = [run(smoothness=weight) for weight in (0.0, 1.0, 10.0, 100.0)]
    assert by_weight == sorted(by_weight, reverse=True)
    assert by_weight[0] > 2 * by_weight[-1]
    assert run(smoothing=0) > 2 * run(smoothing=3)


def test_a_volume_of_one_slice():
    fixed, moving = (random(seed, 2, 6, 1, 5, dtype=torch.float32) for seed in (0, 1))
    found = instance_optimisation(fixed, moving, torch.zeros(3, 6, 1, 5), torch.ones(6, 1, 5))
    assert found.isfinite().all()
