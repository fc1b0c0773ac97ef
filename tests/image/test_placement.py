import math

import pytest
import torch

from cst_core.field import Grid, positions
from cst_image.config import ImageConfig
from cst_image.placement import describe, place, whole_offset
from cst_image.working_grid import working_grids


def grid(shape, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)) -> Grid:
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return Grid.from_affine(shape, affine)


def noise(shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def world(one: Grid) -> torch.Tensor:
    """Where every voxel lies, RAS mm, (3, X, Y, Z)."""
    points = positions(one.shape, one.spacing, torch.float64).reshape(3, -1).T
    return one.points_to_world(points).T.reshape(3, *one.shape)


def test_the_same_grid_is_a_copy():
    scan, volume = grid((4, 5, 6), (1, 2, 3), (7, 8, 9)), noise((4, 5, 6))
    placed = place(volume, scan, grid((4, 5, 6), (1, 2, 3), (7, 8, 9)))
    assert torch.equal(placed.volume, volume)
    assert placed.mask is None
    assert describe([(scan, scan)]) == ""


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_whole_voxels_are_padded_and_cropped_without_interpolation(mode):
    volume = noise((4, 5, 6))
    scan, target = grid((4, 5, 6), (2, 2, 2)), grid((7, 3, 6), (2, 2, 2), (-4, 2, 0))
    assert whole_offset(scan, target) == (-2, 1, 0)
    placed = place(volume, scan, target, mode, fill=-9.0)
    assert torch.equal(placed.volume[2:6], volume[:, 1:4])
    assert (placed.volume[:2] == -9).all()
    assert (placed.volume[6:] == -9).all()
    assert placed.mask is not None
    assert torch.equal(placed.mask, placed.volume != -9)
    assert describe([(scan, target)]) == "1 padded, 1 cropped"


def test_a_scan_that_is_elsewhere_leaves_no_voxel():
    placed = place(noise((4, 4, 4)), grid((4, 4, 4)), grid((4, 4, 4), origin=(50, 0, 0)), fill=3.0)
    assert (placed.volume == 3).all()
    assert placed.mask is not None
    assert not placed.mask.any()


@pytest.mark.parametrize("alignment", ["centre", "world"])
def test_a_planted_voxel_ends_where_it_should_in_the_world(alignment):
    a, b = grid((9, 10, 11), (2, 2, 2), (1, 2, 3)), grid((12, 9, 10), (2, 2, 2), (-3, 4, 3))
    targets = working_grids({"a": a, "b": b}, ImageConfig(alignment=alignment))
    for scan, target in ((a, targets["a"]), (b, targets["b"])):
        volume = torch.zeros(scan.shape)
        volume[3, 4, 5] = 1
        placed = place(volume, scan, target)
        (where,) = placed.volume.nonzero()
        assert placed.volume.sum() == 1
        assert torch.equal(world(target)[:, *where], world(scan)[:, 3, 4, 5])


def test_a_ramp_in_the_world_stays_one_at_any_resolution_and_obliquity():
    turn = torch.tensor([[math.cos(0.3), -math.sin(0.3), 0], [math.sin(0.3), math.cos(0.3), 0], [0, 0, 1]])
    affine = grid((20, 18, 16), (1.5, 2, 2.5), (-10, -12, 5)).affine
    affine[:3, :3] = turn.double() @ affine[:3, :3]
    scan, target = Grid.from_affine((20, 18, 16), affine), grid((14, 12, 18), (2, 2, 2), (-8, -4, 8))
    slope = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    ramp = torch.einsum("a,axyz->xyz", slope, world(scan)).float()
    placed = place(ramp, scan, target, fill=-999.0)
    expected = torch.einsum("a,axyz->xyz", slope, world(target)).float()
    index = scan.points_from_world(world(target).reshape(3, -1).T) / torch.tensor(scan.spacing).double()
    size = torch.tensor(scan.shape).double()
    between_centres = ((index >= 0) & (index <= size - 1)).all(1).reshape(target.shape)
    assert between_centres.float().mean() > 0.3
    assert torch.allclose(placed.volume[between_centres], expected[between_centres], atol=1e-3)
    inside = ((index >= -0.5) & (index <= size - 0.5)).all(1).reshape(target.shape)
    assert placed.mask is not None
    assert torch.equal(placed.mask, inside)
    assert (placed.volume[~inside] == -999).all()


def test_the_field_of_view_ends_at_the_faces_not_at_the_centres():
    scan, target = grid((4, 4, 4), (2, 2, 2), (1, 1, 1)), grid((12, 8, 8), origin=(-1.5, 0.5, 0.5))
    placed = place(torch.full((4, 4, 4), 5.0), scan, target, fill=-1.0)
    assert placed.mask is not None
    assert torch.equal(placed.volume, torch.where(placed.mask, 5.0, -1.0))
    assert placed.mask.all(2).all(1).tolist() == [False] * 2 + [True] * 8 + [False] * 2


def test_labels_are_never_mixed():
    labels = torch.randint(0, 200, (6, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scan = grid((6, 6, 6), (2, 2, 2))
    twice = place(labels, scan, scan.resized((12, 12, 12)), "nearest").volume
    assert twice.dtype == torch.uint8
    assert torch.equal(twice, labels.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2))
    shifted = place(labels, scan, grid((6, 6, 6), (2, 2, 2), (0.6, 0, 0)), "nearest")
    assert torch.equal(shifted.volume, labels)
    assert place(labels, scan, grid((6, 6, 6), (2, 2, 2), (3.4, 0, 0)), "nearest").volume[5].eq(0).all()


@pytest.mark.parametrize("target", [grid((8, 4, 4), origin=(-2, 0, 0)), grid((8, 4, 4), origin=(-1.8, 0, 0))])
def test_a_mask_goes_with_its_volume(target):
    scan, mask = grid((4, 4, 4)), torch.ones(4, 4, 4, dtype=torch.bool)
    mask[0] = False
    placed = place(noise((4, 4, 4)), scan, target, mask=mask, fill=-1.0)
    assert placed.mask is not None
    assert placed.mask[:, 0, 0].tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert (placed.volume[~placed.mask] == -1).all()


def test_a_coarser_grid_is_smoothed_first():
    scan = grid((40, 40, 40))
    flat = place(torch.full(scan.shape, 2.5), scan, scan.resized((10, 10, 10))).volume
    assert torch.allclose(flat, torch.full((10, 10, 10), 2.5))
    stripes = (torch.arange(40) % 2).float()[:, None, None].expand(40, 40, 40).contiguous()
    coarse = place(stripes, scan, grid((10, 10, 10), (4, 4, 4))).volume
    assert (coarse[1:-1] - 0.5).abs().max() < 0.02
    slightly = place(stripes, scan, grid((28, 28, 28), (1.4, 1.4, 1.4))).volume
    assert slightly[0, 0, 0] == 0
    assert slightly[5, 0, 0] == 1
    labels = stripes.to(torch.uint8)
    assert place(labels, scan, grid((10, 10, 10), (4, 4, 4)), "nearest").volume.max() == 0


def test_half_a_voxel_is_resampled_and_told():
    scan, target = grid((4, 4, 4)), grid((4, 4, 4), origin=(0.5, 0, 0))
    assert whole_offset(scan, target) is None
    volume = noise((4, 4, 4))
    placed = place(volume, scan, target)
    assert torch.allclose(placed.volume[:3], (volume[:3] + volume[1:]) / 2, atol=1e-6)
    assert torch.allclose(placed.volume[3], volume[3])
    assert placed.mask is None
    assert describe([(scan, scan), (scan, target), (scan, target)]) == "2 resampled"
