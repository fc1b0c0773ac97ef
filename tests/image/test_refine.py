"""Refinement: every switch adds its own step and nothing else; warps compose in the right order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cst_core.field import Grid, compose, positions, warp
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.consistency import make_consistent
from cst_image.instance import InstanceSettings, instance_optimisation
from cst_image.lattice import lattice_grid, lattice_shape
from cst_image.pair import ImagePair
from cst_image.refine import EPSILON, projected, refine

SHAPE, SPACING = (16, 20, 14), (2.0, 1.5, 2.5)
BARE = ImageConfig(
    channels=(4, 6, 8), strides=(2, 1, 2), features=4, first_towers=1, reach=1, instance_channels=4, adam_steps=4,
    adam_rounds=1, adam_rate=0.2, consistency=False, warps=1, adam=False,
)  # fmt: skip
LATTICE = lattice_grid(Grid.of(SHAPE, SPACING), 2)


@pytest.fixture(scope="module")
def pair() -> ImagePair:
    volumes = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, *SHAPE, dtype=torch.bool)
    mask[..., -3:] = False
    other = torch.ones_like(mask)
    other[:, :4] = False
    return ImagePair(volumes[0], volumes[1], Grid.of(SHAPE, SPACING), mask, other)


class Run:
    """One registration under BARE with some switches on."""

    def __init__(self, pair: ImagePair, backend: type[ImageBackend] = ImageBackend, **switches: object) -> None:
        self.backend = backend(ImageConfig(**BARE.model_dump() | switches))
        self.network = self.backend.new_network(0).eval()
        with torch.no_grad():
            (self.features,) = self.backend.features(self.network, [pair])
            self.solved = self.backend.solve(pair, self.features.fixed, self.features.moving)
            self.predicted = self.backend.to_label_lattice(pair, self.solved)
            self.refined = refine(self.backend, self.network, pair, self.features, self.solved)


def test_all_switches_off_change_nothing(pair):
    run = Run(pair)
    assert torch.equal(run.refined, run.predicted)


def test_consistency_solves_backwards_as_well(pair):
    run = Run(pair, consistency=True)
    with torch.no_grad():
        backward = run.backend.solve(pair.swapped(), run.features.moving, run.features.fixed)
    spacing = lattice_grid(pair.grid, 4).spacing
    expected = make_consistent(run.solved, backward, spacing, 15)[0]
    assert torch.equal(run.refined, run.backend.to_label_lattice(pair, expected))
    assert (run.refined - run.predicted).abs().max() > 0.1
    once = Run(pair, consistency=True, consistency_steps=1)
    assert not torch.allclose(once.refined, run.refined, atol=0.01)


def linear(matrix: list[list[float]], offset: list[float], stride: int) -> Tensor:
    """A displacement that is linear over space; mm, on a lattice."""
    lattice = lattice_grid(Grid.of(SHAPE, SPACING), stride)
    x = positions(lattice.shape, lattice.spacing)
    return torch.einsum("ab,b...->a...", torch.tensor(matrix), x) + torch.tensor(offset)[:, None, None, None]


FIRST = ([[0.0, 0.06, 0.0], [-0.08, 0.0, 0.0], [0.0, 0.0, 0.05]], [2.0, -1.0, 0.5])
SECOND = ([[0.05, 0.0, 0.07], [0.0, -0.06, 0.0], [0.08, 0.0, 0.0]], [-1.5, 2.0, 1.0])


class Known(ImageBackend):
    """Solves with FIRST, then with SECOND; keeps what it was shown."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__(config)
        self.seen: list[ImagePair] = []

    def solve(self, pair: ImagePair, fixed: Tensor, moving: Tensor) -> Tensor:  # noqa: ARG002
        self.seen.append(pair)
        return linear(*(FIRST if len(self.seen) == 1 else SECOND), stride=4)

    def to_label_lattice(self, pair: ImagePair, field: Tensor) -> Tensor:
        """Without smoothing, linear fields stay linear."""
        first = torch.equal(field, linear(*FIRST, stride=4))
        assert pair.grid.shape == SHAPE
        return linear(*(FIRST if first else SECOND), stride=2)


def test_second_warp_composes_in_the_right_order(pair):
    """moving∘(id + u1) registered by u2: u(x) = u2(x) + u1(x + u2(x)); published: u1(x) + u2(x + u1(x))."""
    run = Run(pair, Known, warps=2)
    first, second = linear(*FIRST, stride=2), linear(*SECOND, stride=2)
    x = positions(LATTICE.shape, LATTICE.spacing)
    through = x + second
    matrix, offset = torch.tensor(FIRST[0]), torch.tensor(FIRST[1])
    exact = second + torch.einsum("ab,b...->a...", matrix, through) + offset[:, None, None, None]
    core = (slice(None), *[slice(2, -2)] * 3)
    assert torch.allclose(run.refined[core], exact[core], atol=1e-4)
    assert torch.equal(run.refined, compose(second, first, LATTICE.spacing))
    published = compose(first, second, LATTICE.spacing)
    assert (published - exact)[core].abs().max() > 0.15


def test_second_warp_sees_the_moving_volume_linearly_warped(pair):
    run = Run(pair, Known, warps=2)
    shown = run.backend.seen[-1]
    dense = linear(*FIRST, stride=1)
    last = [2 * (n - 1) + 1 for n in LATTICE.shape]  # beyond the last site the field is continued
    inside = (slice(None), *(slice(0, n) for n in last))
    expected = warp(pair.moving, dense, SPACING)
    assert torch.allclose(shown.moving[inside], expected[inside], atol=1e-4)
    nearest = warp(pair.moving, dense, SPACING, mode="nearest")
    assert (nearest - expected)[inside].abs().max() > 0.5
    assert shown.fixed is pair.fixed
    assert torch.equal(shown.fixed_mask, pair.fixed_mask)
    mask = warp(pair.moving_mask.float(), dense, SPACING) > 0.5
    assert torch.equal(shown.moving_mask[inside], mask[inside])
    assert not torch.equal(shown.moving_mask, pair.moving_mask)


def test_second_warp_goes_further_than_h_can_reach(waves):
    """Twice the reach of the candidates: the first solution covers half of it."""
    grid, x = Grid.of((44, 40, 40), (1.0, 1.0, 1.0)), positions((44, 40, 40), (1.0, 1.0, 1.0))
    shift = torch.tensor([7.0, 0.0, 0.0])[:, None, None, None]
    image = waves(12, 26.0)
    fixed, moving = (image(where).mean(0, keepdim=True) * 2 for where in (x, x - shift))
    found = [ImageBackend(ImageConfig(**BARE.model_dump() | {"warps": warps, "consistency": True})) for warps in (1, 2)]
    pair = ImagePair(fixed, moving, grid)
    inner = (slice(None), *[slice(7, -7)] * 3)
    errors = [float((backend.register(_Sites(), pair).refined - shift)[inner].norm(dim=0).mean()) for backend in found]
    assert errors[0] > 2.9  # 4 voxels at most
    assert errors[1] < 0.75 * errors[0]


class _Sites(torch.nn.Module):
    def forward(self, volumes: Tensor):
        from cst_image.network import Features

        return Features(volumes[..., ::4, ::4, ::4], volumes[..., ::2, ::2, ::2])


def test_adam_is_instance_optimisation_of_the_whole_field(pair):
    run = Run(pair, adam=True, data_weight=3.0, instance_scale=2.0, smoothness=0.4, field_smoothing=2)
    features = [
        projected(run.backend.standardised(second, mask, 2), 4)
        for second, mask in (
            (run.features.fixed_instance, pair.fixed_mask),
            (run.features.moving_instance, pair.moving_mask),
        )
    ]
    voxel = torch.tensor(LATTICE.spacing)[:, None, None, None]
    weight = pair.fixed_mask[0, ::2, ::2, ::2].float()
    shown = warp(pair.moving_mask[0, ::2, ::2, ::2].float(), run.predicted, LATTICE.spacing, padding="zeros") > 0.5
    assert not shown[weight > 0].all()
    weight = weight * shown
    settings = InstanceSettings(4, 0.2, 3.0 * 2.0**2, 0.4, 2)
    expected = voxel * instance_optimisation(*features, run.predicted / voxel, weight, settings)
    assert torch.allclose(run.refined, expected, atol=1e-6)
    assert (run.refined - run.predicted).abs().max() > 0.1


def test_second_round_of_adam_adds_to_the_first_what_the_warped_scan_still_lacks(pair):
    first, both = Run(pair, adam=True), Run(pair, adam=True, adam_rounds=2)
    config, field = both.backend.config, first.refined
    dense = both.backend.on_grid(pair, field)
    moving = warp(pair.moving, dense, SPACING)
    mask = (warp(pair.moving_mask.float(), dense, SPACING) > 0.5)[0, ::2, ::2, ::2]
    with torch.no_grad():
        second = both.network(moving[None]).instance[0]
    features = [projected(both.features.fixed_instance, 4, pair.fixed_mask[0, ::2, ::2, ::2], True)]
    features.append(projected(second, 4, mask, True))
    weight = (pair.fixed_mask[0, ::2, ::2, ::2] & mask).float()
    settings = InstanceSettings(4, 0.2, config.data_weight, config.smoothness, config.field_smoothing)
    voxel = torch.tensor(LATTICE.spacing)[:, None, None, None]
    added = voxel * instance_optimisation(*features, torch.zeros_like(field), weight, settings)
    assert torch.allclose(both.refined, compose(added, field, LATTICE.spacing), atol=1e-5)
    assert (both.refined - field).abs().max() > 0.1


def test_adam_does_not_fit_the_padding_of_the_moving_scan(waves):
    """The same scan twice, of which the moving one lacks the top: what stands there instead draws nothing."""
    grid = Grid.of((24, 20, 20), (1.0, 1.0, 1.0))
    fixed = waves(6, 16.0)(positions(grid.shape, grid.spacing)).mean(0, keepdim=True) + 1.0
    moving, seen = fixed.clone(), torch.ones(1, *grid.shape, dtype=torch.bool)
    seen[..., 14:] = False
    moving[~seen] = -3.0
    config = ImageConfig(**BARE.model_dump() | {"adam": True, "adam_steps": 30, "standardise": False})
    lengths = []
    for mask in (seen, None):
        field = ImageBackend(config).register(_Sites(), ImagePair(fixed, moving, grid, None, mask)).refined
        lengths.append(float(field[..., :6].norm(dim=0).amax()))
    assert lengths[0] < 0.3 * lengths[1]


def test_consistency_then_second_warp_then_adam(pair):
    """With all switches on, Adam starts from what the two others give."""
    without = Run(pair, consistency=True, warps=2)
    everything = Run(pair, consistency=True, warps=2, adam=True, adam_rate=1e-9, field_smoothing=0)
    assert torch.allclose(everything.refined, without.refined, atol=1e-5)
    assert (without.refined - Run(pair, consistency=True).refined).abs().max() > 0.1
    assert (without.refined - Run(pair, warps=2).refined).abs().max() > 0.01


@pytest.mark.parametrize(
    "switches",
    [
        {"adam_steps": 8},
        {"adam_rounds": 2},
        {"adam_rate": 0.5},
        {"data_weight": 0.01},
        {"instance_scale": 0.1},
        {"smoothness": 100.0},
        {"divergence": 100.0},
        {"field_smoothing": 0},
        {"instance_channels": 3},
        {"standardise": False},
    ],
)
def test_every_setting_of_adam_is_heard(pair, switches):
    assert not torch.allclose(Run(pair, adam=True, **switches).refined, Run(pair, adam=True).refined, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_projection_standardises_on_the_way(masked):
    """However they lie in memory; a constant channel gives nothing but the rounding of its mean."""
    generator = torch.Generator().manual_seed(2)
    spread = torch.tensor([1e-2, 1, 1, 5, 1, 0])[:, None, None, None]
    features = 3.0 + spread * torch.randn(6, 11, 9, 7, generator=generator)
    seen = torch.rand(11, 9, 7, generator=generator) > 0.4 if masked else None
    inside = features.flatten(1) if seen is None else features[:, seen]
    mean, deviation = inside.double().mean(1), inside.double().std(1, correction=0)
    standard = (features - mean[:, None, None, None]) / (deviation[:, None, None, None].square() + EPSILON**2).sqrt()
    channels_last = features.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    for given in (features, channels_last):
        found = projected(given, 4, seen, standardise=True)
        assert torch.allclose(found, projected(standard.float(), 4), atol=1e-4)


def test_few_channels_are_not_mixed():
    features = torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    assert torch.equal(projected(features, 5), features)
    assert torch.equal(projected(features, 32), features)
    rows = 3.0 * features.flatten(1) + 2.0
    standard = (rows - rows.mean(1, keepdim=True)) / rows.std(1, correction=0, keepdim=True)
    found = projected(3.0 * features + 2.0, 32, standardise=True)
    assert torch.allclose(found.flatten(1), standard, atol=1e-5)


def test_projection_keeps_squared_differences_in_the_mean():
    features = torch.randn(24, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    wide = projected(features, 3000)
    assert torch.allclose(wide.square().mean(0), features.square().mean(0), rtol=0.15)
    assert torch.equal(projected(features, 5), projected(features, 5))
    assert projected(features, 5).shape == (5, 4, 4, 4)
    assert lattice_shape(SHAPE, 2) == LATTICE.shape
