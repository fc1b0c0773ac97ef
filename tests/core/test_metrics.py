"""Every figure against fields and shapes whose figure is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from cst_core.field import positions
from cst_core.metrics import dice, hd95, jacobian_determinant, jacobian_figures, landmark_tre

SHAPE, SPACING = (10, 12, 14), (1.5, 2.0, 0.75)
seeds = st.integers(0, 2**31)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def affine_field(matrix: Tensor) -> Tensor:
    x = positions(SHAPE, SPACING, torch.float64)
    return torch.einsum("ij,jxyz->ixyz", matrix.double(), x) - x


def box(*bounds: tuple[int, int], shape: tuple[int, int, int] = (20, 20, 20), label: int = 1) -> Tensor:
    volume = torch.zeros(shape, dtype=torch.int64)
    volume[tuple(slice(a, b) for a, b in bounds)] = label
    return volume


# Landmarks


def test_landmark_error_is_what_is_left_of_the_way():
    fixed, moving = torch.zeros(2, 3), torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]])
    assert landmark_tre(torch.zeros(2, 3), fixed, moving).tolist() == [5.0, 2.0]
    assert landmark_tre(moving - fixed, fixed, moving).tolist() == [0.0, 0.0]
    assert landmark_tre(fixed - moving, fixed, moving).tolist() == [10.0, 4.0]  # a sign error doubles it


def test_landmarks_that_do_not_match_are_refused():
    with pytest.raises((ValueError, TypeError)):
        landmark_tre(torch.zeros(2, 3), torch.zeros(3, 3), torch.zeros(3, 3))


# Dice


def test_dice_of_overlapping_boxes():
    a = box((0, 10), (0, 10), (0, 10)) + box((12, 14), (0, 4), (0, 4), label=7)
    b = box((5, 15), (0, 10), (0, 10)).where(a != 7, 7)
    assert dice(a, b) == {1: pytest.approx(2 * 500 / (1000 + 1000 - 32)), 7: 1.0}


def test_background_and_labels_absent_in_one_are_skipped():
    a, b = box((0, 4), (0, 4), (0, 4), label=2), box((0, 4), (0, 4), (0, 4), label=3)
    assert dice(a, b) == {}
    assert dice(a, a + b * 0) == {2: 1.0}
    assert hd95(a, b, SPACING) == {}


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_dice_agrees_with_its_definition_and_is_symmetric(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(0, 4, (5, 6, 7), generator=generator) for _ in range(2))
    scores = dice(a, b)
    assert scores == dice(b, a)
    for k, score in scores.items():
        in_a, in_b = a == k, b == k
        assert score == pytest.approx(float(2 * (in_a & in_b).sum() / (in_a.sum() + in_b.sum())))


@pytest.mark.parametrize("metric", [dice, lambda a, b: hd95(a, b, SPACING)])
def test_label_maps_must_be_integers_of_one_shape(metric):
    with pytest.raises(ValueError, match="labels_b must be integers"):
        metric(box((0, 1), (0, 1), (0, 1)), torch.zeros(20, 20, 20))
    with pytest.raises((ValueError, TypeError)):
        metric(box((0, 1), (0, 1), (0, 1)), torch.zeros(20, 20, 19, dtype=torch.int64))


# Surfaces


def test_equal_labels_are_at_distance_zero():
    a = box((3, 9), (4, 8), (0, 20), label=5)
    assert hd95(a, a, SPACING) == {5: 0.0}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distances_are_millimetres_of_the_right_axis(axis):
    bounds = [(8, 9)] * 3
    moved = list(bounds)
    moved[axis] = (11, 12)
    assert hd95(box(*bounds), box(*moved), SPACING)[1] == pytest.approx(3 * SPACING[axis])


def test_a_shifted_sheet_is_its_shift_away():
    sheet, shifted = box((5, 6), (0, 20), (0, 20)), box((9, 10), (0, 20), (0, 20))
    assert hd95(sheet, shifted, (1.5, 1.0, 1.0)) == {1: pytest.approx(6.0)}


def test_outliers_beyond_the_percentile_do_not_count_and_both_directions_do():
    sheet = box((5, 6), (0, 20), (0, 20))
    few, many = sheet.clone(), sheet.clone()
    few[15, 0, :10] = 1  # 10 of 410
    many[15, :2, :] = 1  # 40 of 440
    assert hd95(sheet, few, (1.0, 1.0, 1.0))[1] == 0.0
    assert hd95(sheet, many, (1.0, 1.0, 1.0))[1] == hd95(many, sheet, (1.0, 1.0, 1.0))[1] == 10.0


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_crop_to_the_labels_changes_nothing(seed):
    """Against brute force over all pairs of surface voxels."""
    a, b = (ndimage.gaussian_filter(random(seed + k, 9, 9, 9).numpy(), 1.5) > 0.05 for k in range(2))
    ours = hd95(torch.from_numpy(a).int(), torch.from_numpy(b).int(), SPACING)
    surfaces = [torch.from_numpy(m & ~ndimage.binary_erosion(m)).nonzero() * torch.tensor(SPACING) for m in (a, b)]
    if min(len(s) for s in surfaces) == 0:
        assert ours == {}
        return
    distances = torch.cdist(surfaces[0].double(), surfaces[1].double(), compute_mode="donot_use_mm_for_euclid_dist")
    brute = max(float(distances.min(dim=k).values.quantile(0.95)) for k in (0, 1))
    assert ours[1] == pytest.approx(brute)


# Jacobian


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_affine_fields_have_the_determinant_of_their_matrix(seed):
    matrix = torch.eye(3).double() + 0.3 * random(seed, 3, 3)
    expected = torch.linalg.det(matrix).expand(SHAPE)
    assert torch.allclose(jacobian_determinant(affine_field(matrix), SPACING), expected, atol=1e-10)


def test_axes_of_the_jacobian_belong_to_their_channels():
    """u = (a y z, 0, b z) mm has J = 1 + b; x shears with y and z cost nothing. Mixed orders err."""
    x, y, z = positions(SHAPE, SPACING, torch.float64)
    u = torch.stack([0.02 * y * z, torch.zeros_like(x), 0.3 * z])
    assert torch.allclose(jacobian_determinant(u, SPACING), torch.tensor(1.3).double(), atol=1e-10)
    gradients = torch.stack(torch.gradient(u, spacing=list(SPACING), dim=(1, 2, 3)), dim=1)  # du_i/dx_j
    mixed = gradients.flip(1) + torch.eye(3)[:, :, None, None, None]  # channel i with axis 2 - i: one way to mix them
    wrong = torch.linalg.det(mixed.permute(2, 3, 4, 0, 1))
    assert (wrong - 1.3).abs().max() > 0.3
    right = (gradients + torch.eye(3)[:, :, None, None, None]).permute(2, 3, 4, 0, 1)
    assert torch.allclose(torch.linalg.det(right), jacobian_determinant(u, SPACING), atol=1e-10)


def test_the_jacobian_of_a_curved_field_is_its_central_difference():
    x, y, z = positions(SHAPE, SPACING, torch.float64)
    u = torch.stack([0.5 * torch.sin(0.4 * x), 0.4 * torch.cos(0.3 * y), 0.3 * torch.sin(0.5 * z)])
    sinc = [math.sin(k * h) / (k * h) for k, h in zip((0.4, 0.3, 0.5), SPACING, strict=True)]
    expected = (
        (1 + 0.2 * sinc[0] * torch.cos(0.4 * x))
        * (1 - 0.12 * sinc[1] * torch.sin(0.3 * y))
        * (1 + 0.15 * sinc[2] * torch.cos(0.5 * z))
    )
    inner = (slice(1, -1),) * 3
    assert torch.allclose(jacobian_determinant(u, SPACING)[inner], expected[inner], atol=1e-10)


def stretched(slopes: Tensor) -> Tensor:
    """A field along x whose J is 1 + slope, per x: the displacement whose central difference is ``slopes``."""
    u = torch.zeros(3, *SHAPE).double()
    for i in range(2, SHAPE[0]):
        u[0, i] = u[0, i - 2] + 2 * SPACING[0] * slopes[i - 1]
    return u


def test_the_three_figures_follow_their_definitions():
    slopes = torch.tensor([9.0, 9.0, 0.1, -0.2, 0.3, -1.5, -5.0, 0.0, 9.0, 9.0]).double()
    inner = 1.0 + slopes[2:-2]  # two voxels cropped; J = -0.5 and -4 fold
    figures = jacobian_figures(stretched(slopes), SPACING)
    assert figures.folding_percent == pytest.approx(100.0 * 2 / 6)
    assert figures.sdlogj == pytest.approx(float(inner[inner > 0].log().std(correction=0)))
    assert figures.sdlogj_l2r == pytest.approx(float((inner + 3).clip(1e-9, 1e9).log().std(correction=0)))


def test_the_published_deviation_is_not_the_plain_one():
    """On a mild field the two differ by a factor of about four, and neither is the other."""
    u = 0.02 * affine_field(torch.eye(3))
    u = u + 0.05 * torch.sin(positions(SHAPE, SPACING, torch.float64))
    figures = jacobian_figures(u, SPACING)
    assert 3.7 < figures.sdlogj / figures.sdlogj_l2r < 4.3
    assert figures.folding_percent == 0.0


def test_the_identity_is_perfectly_regular():
    assert jacobian_figures(torch.zeros(3, *SHAPE), SPACING) == (0.0, 0.0, 0.0)


def test_a_mirrored_field_folds_everywhere():
    figures = jacobian_figures(affine_field(torch.diag(torch.tensor([-1.0, 1.0, 1.0]))), SPACING)
    assert figures.folding_percent == 100.0
    assert math.isnan(figures.sdlogj)


def test_a_mask_selects_voxels_of_the_whole_grid():
    slopes = torch.tensor([0.0, 0.0, 0.1, -0.2, 0.3, -1.5, -5.0, 0.0, 0.0, 0.0]).double()
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[3:5] = True
    figures = jacobian_figures(stretched(slopes), SPACING, mask)
    assert figures.folding_percent == 0.0
    assert figures.sdlogj == pytest.approx(float(torch.tensor([0.8, 1.3]).double().log().std(correction=0)))


@pytest.mark.parametrize("shape", [SHAPE, (4, 12, 12)])
def test_nothing_to_measure_is_an_error(shape):
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[0] = True
    with pytest.raises(ValueError, match="two or more away"):
        jacobian_figures(torch.zeros(3, *shape), SPACING, mask)
