"""Augmentation is exact: the label of the augmented pair is the truth about the augmented pair."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from torch import Generator, Tensor

from cst_core.affine import (
    Affine,
    augment_label_cloud,
    augment_label_image,
    draw_image_affines,
    draw_similarity,
    for_grid,
    in_mm,
    warp_image,
)
from cst_core.field import Grid, positions, resize, sample, warp

GRID = Grid.of((20, 24, 16), (2.0, 1.5, 3.0))
seeds = st.integers(0, 2**31)


def generator(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def some_affine(seed: int, size: float = 0.1) -> Affine:
    return Affine(torch.eye(3, dtype=torch.float64) + size * random(seed, 3, 3), random(seed + 1, 3))


def blobs(points: Tensor) -> Tensor:
    """A smooth image of everywhere, evaluated without interpolation: ``(3, *sites)`` mm -> ``(*sites,)``."""
    centres = torch.tensor([[14.0, 12.0, 20.0], [26.0, 22.0, 30.0], [20.0, 16.0, 12.0]], dtype=torch.float64)
    distances = [((points - c.reshape(3, *[1] * (points.ndim - 1))) ** 2).sum(dim=0) for c in centres]
    return sum((1.0 + k) * torch.exp(-d / 90.0) for k, d in enumerate(distances))


def homogeneous(affine: Affine) -> np.ndarray:
    return np.vstack([np.column_stack([affine.matrix.numpy(), affine.offset.numpy()]), [0.0, 0.0, 0.0, 1.0]])


def published_label(u: Tensor, fixed: Affine, moving: Affine) -> Tensor:
    """The wrong form: exp(log A1 - log A2) for the affine part, and u read there without being rotated."""
    mixed = np.real(linalg.expm(linalg.logm(homogeneous(fixed)) - linalg.logm(homogeneous(moving))))
    affine = Affine(torch.from_numpy(mixed[:3, :3].copy()), torch.from_numpy(mixed[:3, 3].copy()))
    x = positions(GRID.shape, GRID.spacing, torch.float64)
    y = affine.apply_to_sites(x)
    return y - x + sample(u, y, GRID.spacing)


def on_grid(points: Tensor) -> Tensor:
    last = 2.0 * GRID.centre[:, None, None, None]
    return ((points >= 0) & (points <= last)).all(dim=0)


# The algebra


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_map_and_its_inverse_cancel(seed):
    affine = some_affine(seed)
    for both in (affine.then(affine.inverse()), affine.inverse().then(affine)):
        assert torch.allclose(both.matrix, torch.eye(3, dtype=torch.float64), atol=1e-9)
        assert torch.allclose(both.offset, torch.zeros(3, dtype=torch.float64), atol=1e-9)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_then_applies_the_second_to_the_first(seed):
    first, second, points = some_affine(seed), some_affine(seed + 2), random(seed, 5, 3)
    assert torch.allclose(first.then(second).apply(points), second.apply(first.apply(points)))
    assert torch.allclose(first.then(Affine.identity()).apply(points), first.apply(points))


def test_points_keep_their_precision_and_sites_their_shape():
    points = random(0, 3, 4, 5).float()
    mapped = some_affine(1).apply_to_sites(points)
    assert mapped.dtype == torch.float32
    assert torch.allclose(mapped[:, 2, 3], some_affine(1).apply(points[:, 2, 3][None])[0])


def test_other_shapes_are_refused():
    with pytest.raises((ValueError, TypeError)):
        Affine(torch.eye(4), torch.zeros(3))


def test_a_singular_map_has_no_inverse():
    with pytest.raises(torch.linalg.LinAlgError):
        Affine(torch.zeros(3, 3), torch.zeros(3)).inverse()


# The draws


def test_image_draws_are_replayed_by_their_seed_and_differ_by_it():
    one, same, other = (draw_image_affines(generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.moving.matrix, same.moving.matrix)
    assert not torch.equal(one.moving.matrix, other.moving.matrix)


def test_image_draws_have_the_spread_of_the_paper():
    draws = [draw_image_affines(generator(seed)) for seed in range(1500)]
    first = torch.stack([torch.from_numpy(homogeneous(d.fixed)) for d in draws])
    second = torch.stack([torch.from_numpy(homogeneous(d.fixed.inverse().then(d.moving))) for d in draws])
    for maps, sigma in ((first, 0.075), (second, 0.05)):
        noise = (maps - torch.eye(4))[:, :3]
        assert torch.allclose(noise.std(dim=0), torch.tensor(sigma).double(), rtol=0.1)
        assert noise.mean(dim=0).abs().max() < 4 * sigma / math.sqrt(1500)


def test_the_second_map_of_a_pair_follows_the_first():
    """A2 = (I + 0.05 N') A1: first A1, then the further noise."""
    fixed, moving = draw_image_affines(generator(5))
    further = draw_image_affines(generator(5), sigma_first=0.0).moving
    assert np.allclose(homogeneous(moving), homogeneous(further) @ homogeneous(fixed))
    assert not np.allclose(homogeneous(moving), homogeneous(fixed) @ homogeneous(further), atol=1e-3)


def test_without_spread_the_draws_are_identities():
    fixed, moving = draw_image_affines(generator(0), 0.0, 0.0)
    still = draw_similarity(generator(0), 0.0, 0.0, 0.0)
    for affine in (fixed, moving, still):
        assert np.array_equal(homogeneous(affine), np.eye(4))


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_similarities_keep_shapes_and_their_bounds(seed):
    affine = draw_similarity(generator(seed))
    scale = torch.linalg.det(affine.matrix) ** (1 / 3)
    rotation = affine.matrix / scale
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert 0.9 <= scale <= 1.1
    assert affine.offset.abs().max() <= 0.1
    # Angles about x, y and z of R = Rz Ry Rx.
    angles = [
        math.atan2(rotation[2, 1], rotation[2, 2]),
        -math.asin(rotation[2, 0]),
        math.atan2(rotation[1, 0], rotation[0, 0]),
    ]
    assert max(abs(math.degrees(a)) for a in angles) <= 10.0 + 1e-9


def test_similarities_use_their_whole_range():
    draws = [draw_similarity(generator(seed)) for seed in range(400)]
    offsets = torch.stack([d.offset for d in draws])
    scales = torch.stack([torch.linalg.det(d.matrix) ** (1 / 3) for d in draws])
    for values, half in ((offsets[:, 0], 0.1), (scales - 1.0, 0.1)):
        assert values.max() > 0.95 * half
        assert values.min() < -0.95 * half


# Into millimetres


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_in_mm_is_the_same_map_of_the_same_points(seed):
    affine, points = some_affine(seed), 100.0 * random(seed, 6, 3)
    origin, half_extent = 50.0 * random(seed + 1, 3), torch.tensor([150.0, 90.0, 210.0]).double()
    through_normalised = origin + half_extent * affine.apply((points - origin) / half_extent)
    assert torch.allclose(in_mm(affine, origin, half_extent).apply(points), through_normalised)


def test_for_grid_maps_the_same_anatomy_at_every_resolution():
    affine, half = some_affine(3), GRID.resized((10, 12, 8))
    label = 0.3 * resize(random(5, 3, 3, 3, 3), GRID.shape)
    coarse = resize(label, half.shape)
    fixed, moving = some_affine(3), some_affine(5)
    fine_then_coarse = resize(
        augment_label_image(label, for_grid(fixed, GRID), for_grid(moving, GRID), GRID), half.shape
    )
    coarse_only = augment_label_image(coarse, for_grid(fixed, half), for_grid(moving, half), half)
    assert (fine_then_coarse - coarse_only).abs().max() < 0.2
    corner = GRID.centre + affine.matrix.new_tensor([5.0, -3.0, 2.0])
    mapped = for_grid(affine, GRID).apply(corner[None])
    in_half = half.points_from_world(GRID.points_to_world(corner[None]))
    assert torch.allclose(half.points_to_world(for_grid(affine, half).apply(in_half)), GRID.points_to_world(mapped))


# Images


def test_warp_image_reads_the_image_at_the_mapped_positions():
    affine = for_grid(draw_image_affines(generator(1)).fixed, GRID)
    x = positions(GRID.shape, GRID.spacing, torch.float64)
    y = affine.apply_to_sites(x)
    interior = on_grid(y)
    warped = warp_image(x, affine, GRID)
    assert torch.allclose(warped[:, interior], y[:, interior], atol=1e-10)
    assert torch.allclose(warped, warp(x, y - x, GRID.spacing))
    assert warp_image(x.float(), affine, GRID).dtype == torch.float32


def test_images_and_labels_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="volume must have the shape"):
        warp_image(torch.zeros(1, 4, 4, 4), Affine.identity(), GRID)
    with pytest.raises(ValueError, match="label must have the shape"):
        augment_label_image(torch.zeros(3, 4, 4, 4), Affine.identity(), Affine.identity(), GRID)


def test_half_precision_labels_are_augmented_in_single_precision():
    label = resize(random(1, 3, 3, 3, 3), GRID.shape)
    fixed, moving = (for_grid(a, GRID) for a in draw_image_affines(generator(1)))
    augmented = augment_label_image(label.half(), fixed, moving, GRID)
    assert augmented.dtype == torch.float32
    assert torch.allclose(augmented.double(), augment_label_image(label, fixed, moving, GRID), atol=5e-3)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_same_map_on_both_rotates_the_label(seed):
    """A constant u under A on both scans is A^-1 u everywhere; no map at all leaves the label as it is."""
    affine = for_grid(some_affine(seed), GRID)
    u = torch.tensor([3.0, -2.0, 5.0]).double()
    label = u[:, None, None, None].expand(3, *GRID.shape)
    expected = torch.linalg.solve(affine.matrix, u)[:, None, None, None].expand_as(label)
    assert torch.allclose(augment_label_image(label, affine, affine, GRID), expected, atol=1e-9)
    assert torch.allclose(augment_label_image(label, Affine.identity(), Affine.identity(), GRID), label, atol=1e-9)


def test_the_augmented_label_aligns_the_augmented_images():
    """moving'(x + u'(x)) = fixed'(x) for images known without interpolation; the published form does not align them."""
    truth = for_grid(some_affine(21, size=0.05), GRID)  # fixed(x) = moving(truth(x))
    fixed, moving = (for_grid(a, GRID) for a in draw_image_affines(generator(4)))
    x = positions(GRID.shape, GRID.spacing, torch.float64)
    label = truth.apply_to_sites(x) - x
    interior = on_grid(fixed.apply_to_sites(x))
    assert interior.float().mean() > 0.5

    fixed_augmented = blobs(truth.apply_to_sites(fixed.apply_to_sites(x)))
    right = augment_label_image(label, fixed, moving, GRID)
    wrong = published_label(label, fixed, moving)
    error_right, error_wrong = (
        (blobs(moving.apply_to_sites(x + u)) - fixed_augmented)[interior].abs().max() for u in (right, wrong)
    )
    assert error_right < 1e-10
    assert error_wrong > 0.02
    assert torch.linalg.vector_norm(right - wrong, dim=0)[interior].max() > 0.5  # mm


def test_both_faults_of_the_published_label_matter():
    """The affine part where A1 and A2 do not commute; and, where they do (A1 = A2), the missing rotation of u."""
    origin = torch.zeros(3, dtype=torch.float64)
    quarter = Affine(torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double(), origin)
    stretch = Affine(torch.diag(torch.tensor([1.2, 1.0, 1.0]).double()), origin)
    x = positions(GRID.shape, GRID.spacing, torch.float64)
    zero = torch.zeros_like(x)

    known = stretch.inverse().apply_to_sites(quarter.apply_to_sites(x)) - x
    assert torch.allclose(augment_label_image(zero, quarter, stretch, GRID), known, atol=1e-10)
    assert (published_label(zero, quarter, stretch) - known).abs().max() > 1.0

    along_x = zero.clone()
    along_x[0] = 4.0
    rotated = torch.tensor([0.0, -4.0, 0.0]).double()[:, None, None, None].expand_as(x)  # a quarter turn back
    assert torch.allclose(augment_label_image(along_x, quarter, quarter, GRID), rotated, atol=1e-10)
    assert torch.allclose(published_label(along_x, quarter, quarter), along_x, atol=1e-6)


def test_landmarks_follow_the_augmented_label():
    """A landmark p seen in fixed' at A1^-1 p, whose counterpart is seen in moving' at A2^-1 (p + u(p))."""
    truth = for_grid(some_affine(31, size=0.05), GRID)
    fixed, moving = (for_grid(a, GRID) for a in draw_image_affines(generator(8)))
    x = positions(GRID.shape, GRID.spacing, torch.float64)
    label = augment_label_image(truth.apply_to_sites(x) - x, fixed, moving, GRID)
    p = GRID.centre + 4.0 * random(2, 10, 3)
    seen_fixed, seen_moving = fixed.inverse().apply(p), moving.inverse().apply(truth.apply(p))
    found = seen_fixed + sample(label, seen_fixed.T, GRID.spacing).T
    assert torch.allclose(found, seen_moving, atol=1e-9)


# Clouds


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_augmented_cloud_label_joins_the_augmented_clouds(seed):
    origin, half_extent = 50.0 * random(seed, 3), torch.tensor([170.0, 120.0, 208.0]).double()
    drawn = draw_similarity(generator(seed))
    both = in_mm(drawn, origin, half_extent)
    fixed, label = 100.0 * random(seed + 1, 12, 3), 15.0 * random(seed + 2, 3, 12)
    moving = fixed + label.T
    augmented = augment_label_cloud(label, both)
    assert torch.allclose(both.apply(fixed) + augmented.T, both.apply(moving), atol=1e-9)


def test_the_drawn_matrix_itself_is_wrong_in_mm_where_the_extents_differ():
    drawn, label = draw_similarity(generator(3)), 15.0 * random(2, 3, 12)
    fixed = 100.0 * random(1, 12, 3)
    both = in_mm(drawn, torch.zeros(3), torch.tensor([170.0, 85.0, 208.0]))
    wrong = augment_label_cloud(label, drawn)
    assert (both.apply(fixed) + wrong.T - both.apply(fixed + label.T)).abs().max() > 0.5
