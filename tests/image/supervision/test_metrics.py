"""MIND and local correlation as a loss: known values, other code as judge, gradients, masks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from cst_core.errors import ConfigError
from cst_core.field import Grid, positions, warp
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.lattice import lattice_shape
from cst_image.mind import mind_ssc
from cst_image.pair import ImagePair
from cst_image.supervision.compared import compared, diffusion
from cst_image.supervision.mind_metric import MindMetric
from cst_image.supervision.ncc_metric import NccMetric

SHAPE, SPACING = (14, 15, 13), (2.0, 1.5, 2.5)
METRICS = [MindMetric, NccMetric]


def backend(**settings: float) -> ImageBackend:
    """Labels on every second voxel."""
    smooth = {"mind_smoothness": 0.0, "ncc_smoothness": 0.0, "ncc_window": 5}
    return ImageBackend(ImageConfig.model_validate({"channels": (4, 4), "strides": (1, 2)} | smooth | settings))


def field_of(scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(3, *lattice_shape(SHAPE, 2), generator=generator, dtype=dtype)


def scan(waves, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 0.3 * waves(4, 15.0, seed)(positions(SHAPE, SPACING)).mean(0, keepdim=True).to(dtype)


@pytest.fixture
def pair(waves) -> ImagePair:
    """Two unlike scans, of which each lacks a part."""
    fixed_mask, moving_mask = (torch.ones(1, *SHAPE, dtype=torch.bool) for _ in range(2))
    fixed_mask[:, :3] = False
    moving_mask[..., -4:] = False
    return ImagePair(scan(waves, 0), scan(waves, 1), Grid.of(SHAPE, SPACING), fixed_mask, moving_mask)


def test_two_scans_that_agree_are_best(pair):
    same, still = ImagePair(pair.fixed, pair.fixed, pair.grid), 0 * field_of()
    assert MindMetric(backend())(same, still).item() == pytest.approx(0, abs=1e-6)
    # every window correlates perfectly
    assert NccMetric(backend())(same, still).item() == pytest.approx(-1, abs=0.01)
    for metric in METRICS:
        assert metric(backend())(pair, still) > metric(backend())(same, still) + 0.02


def test_a_shift_by_whole_voxels_is_undone(waves):
    """moving(x) = fixed(x - t), so u = t: what comes from outside the scan is not counted."""
    fixed = scan(waves, 0)
    shift = torch.tensor([2.0, 0.0, -2.5])[:, None, None, None]
    moving = torch.roll(fixed, (1, -1), (1, 3))
    pair, right = ImagePair(fixed, moving, Grid.of(SHAPE, SPACING)), shift.expand_as(field_of())
    both = compared(backend(), pair, right)
    assert both.seen.sum() == 13 * 15 * 12
    torch.testing.assert_close(both.fixed, both.warped, rtol=0, atol=1e-5)
    for metric in METRICS:
        assert metric(backend())(pair, right) < metric(backend())(pair, -right) - 0.02


def test_mind_is_the_mean_over_what_both_show(pair):
    """Written out with the warp of the field's module."""
    field = field_of()
    vectors = backend().on_grid(pair, field)
    shown = warp(pair.moving_mask.float(), vectors, SPACING, padding="zeros") > 0.5
    seen = (shown & pair.fixed_mask)[0]
    fixed, warped = pair.fixed * seen, warp(pair.moving, vectors, SPACING) * seen
    expected = (mind_ssc(fixed, 1, 2) - mind_ssc(warped, 1, 2)).square()[:, seen].mean()
    torch.testing.assert_close(MindMetric(backend())(pair, field), expected)


def test_local_correlation_against_a_loop(pair):
    """Windows reach beyond the volume, where there are zeros."""
    fixed, warped, seen = both = compared(backend(), pair, field_of())
    a, b = (np.pad(scan[0].double().numpy(), 2) for scan in (fixed, warped))
    total = 0.0
    for x, y, z in np.argwhere(seen[0].numpy()):
        window = (slice(x, x + 5), slice(y, y + 5), slice(z, z + 5))
        total += np.corrcoef(a[window].ravel(), b[window].ravel())[0, 1] ** 2
    assert NccMetric(backend())(pair, field_of()).item() == pytest.approx(-total / int(both.seen.sum()), abs=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_what_lies_outside_the_masks_does_not_matter(metric, pair):
    """Fixed: at all. Moving: wherever the field reads only from outside, so here without a field."""
    still = 0 * field_of()
    other = ImagePair(
        torch.where(pair.fixed_mask, pair.fixed, 0.5),
        torch.where(pair.moving_mask, pair.moving, -0.3),
        pair.grid,
        pair.fixed_mask,
        pair.moving_mask,
    )
    assert metric(backend())(other, still) == metric(backend())(pair, still)
    unmasked = ImagePair(other.fixed, other.moving, pair.grid)
    assert metric(backend())(unmasked, still) != metric(backend())(pair, still)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_seen_is_no_loss(metric, pair):
    nothing = torch.zeros(1, *SHAPE, dtype=torch.bool)
    field = field_of().requires_grad_()
    loss = metric(backend())(ImagePair(pair.fixed, pair.moving, pair.grid, nothing, nothing), field)
    loss.backward()
    assert loss == 0
    assert torch.equal(field.grad, 0 * field)


@pytest.mark.parametrize("metric", METRICS)
def test_a_scan_without_contrast_gives_a_finite_gradient(metric, pair):
    field = field_of().requires_grad_()
    metric(backend())(ImagePair(pair.fixed, 0 * pair.moving - 0.4, pair.grid), field).backward()
    assert field.grad.isfinite().all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("smoothness", [0.0, 2.0])
def test_gradient_against_differences(metric, smoothness, pair, waves):
    fixed, moving = (scan(waves, seed, torch.float64) for seed in (0, 1))
    precise = ImagePair(fixed, moving, pair.grid, pair.fixed_mask, pair.moving_mask)
    measure = metric(backend(mind_smoothness=smoothness, ncc_smoothness=smoothness))
    field = field_of(0.3, torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(measure(precise, field), field)
    step = 1e-6
    for place in [(0, 3, 4, 3), (1, 4, 2, 2), (2, 3, 6, 1)]:
        ahead, behind = field.detach().clone(), field.detach().clone()
        ahead[place] += step
        behind[place] -= step
        slope = (measure(precise, ahead) - measure(precise, behind)).item() / (2 * step)
        assert slope != 0
        assert gradient[place].item() == pytest.approx(slope, rel=2e-3, abs=1e-8)


def test_the_regulariser_of_a_linear_field(pair):
    """u = (a x, 0, 0): its only difference is a, whatever the voxels' size; and its weight in both metrics."""
    x = positions(lattice_shape(SHAPE, 2), [2 * s for s in SPACING])
    field = torch.zeros_like(x)
    field[0] = 0.05 * x[0]
    assert diffusion(backend(), pair, field).item() == pytest.approx(0.05**2 / 3)
    for metric, name in ((MindMetric, "mind_smoothness"), (NccMetric, "ncc_smoothness")):
        added = metric(backend(**{name: 3.0}))(pair, field) - metric(backend())(pair, field)
        assert added.item() == pytest.approx(3.0 * 0.05**2 / 3, abs=1e-6)


def test_without_monai_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.losses.image_dissimilarity", None)
    with pytest.raises(ConfigError, match=r"pip install 'cst\[monai\]'"):
        NccMetric(backend())
