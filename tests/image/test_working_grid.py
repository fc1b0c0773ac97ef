import math

import pytest
import torch

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.config import ImageConfig
from cst_image.working_grid import Size, centred, check_overlap, working_grids, working_size

CENTRE, WORLD = ImageConfig(), ImageConfig(alignment="world")


def grid(shape, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)) -> Grid:
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return Grid.from_affine(shape, affine)


def middle(one: Grid) -> torch.Tensor:
    return one.points_to_world(one.centre[None])[0]


def test_the_size_is_the_largest_along_every_axis():
    scans = {"a": grid((31, 59, 24)), "b": grid((43, 40, 47))}
    assert working_size(scans, CENTRE) == Size((43, 59, 47), (1, 1, 1))
    assert working_size(scans, ImageConfig(shape=(48, 64, 48))).shape == (48, 64, 48)


def test_the_size_at_another_resolution_covers_all_scans():
    scans = {"a": grid((30, 10, 10), (1, 2, 3)), "b": grid((10, 10, 21), (2, 2, 2))}
    assert working_size(scans, ImageConfig(spacing=4)) == Size((8, 5, 11), (4, 4, 4))
    assert working_size(scans, ImageConfig(spacing=1)).shape == (30, 20, 42)


def test_spacings_that_differ_need_one():
    scans = {"a": grid((8, 8, 8)), "b": grid((8, 8, 8)), "c": grid((8, 8, 8), (1, 1, 2.5))}
    for config in (CENTRE, WORLD):
        with pytest.raises(DataError, match=r"^a and c: .*1 x 1 x 1 and 1 x 1 x 2\.5 mm.*--set spacing="):
            working_grids(scans, config)
    rounded = {"a": grid((8, 8, 8)), "b": grid((9, 8, 8), (1.00001, 1, 1))}
    assert {one.shape for one in working_grids(rounded, CENTRE).values()} == {(9, 8, 8)}


@pytest.mark.parametrize(("old", "new", "start"), [(6, 6, 0), (4, 8, -2), (8, 4, 2), (4, 7, -2), (7, 4, 1), (5, 8, -2)])
def test_centring_moves_by_whole_voxels(old, new, start):
    scan = grid((old, 5, 5), (2, 2, 2), (10, 20, 30))
    target = centred(scan, Size((new, 5, 5), (2.0, 2.0, 2.0)))
    assert target.affine[:3, 3].tolist() == [10 + 2 * start, 20, 30]
    assert torch.equal(target.affine[:3, :3], scan.affine[:3, :3])
    assert (middle(target) - middle(scan)).abs().max() <= 1


def test_centring_at_another_resolution_is_exact():
    turn = torch.tensor([[math.cos(0.4), -math.sin(0.4), 0], [math.sin(0.4), math.cos(0.4), 0], [0, 0, 1]])
    affine = grid((9, 10, 11), (1, 2, 3), (5, 6, 7)).affine
    affine[:3, :3] = turn.double() @ affine[:3, :3]
    scan = Grid.from_affine((9, 10, 11), affine)
    target = centred(scan, Size((4, 8, 16), (1.5, 1.5, 1.5)))
    assert target.spacing == pytest.approx((1.5, 1.5, 1.5))
    assert torch.allclose(middle(target), middle(scan))
    assert torch.allclose(target.directions, scan.directions)


def test_in_the_world_one_grid_covers_all_on_the_first_scan_s_voxels():
    scans = {"a": grid((10, 10, 10), (2, 2, 2), (1, 1, 1)), "b": grid((10, 12, 10), (2, 2, 2), (-5, 3, 1))}
    targets = working_grids(scans, WORLD)
    assert targets["a"] is targets["b"]
    assert targets["a"].shape == (13, 13, 10)
    assert targets["a"].affine[:3, 3].tolist() == [-5, 1, 1]
    larger = working_grids(scans, ImageConfig(alignment="world", shape=(15, 15, 10)))["a"]
    assert larger.affine[:3, 3].tolist() == [-7, -1, 1]
    coarse = working_grids(scans, ImageConfig(alignment="world", spacing=4))["a"]
    assert coarse.shape == (7, 7, 5)  # a begins at 0 and -6 lies half a voxel beyond the voxel's face
    assert coarse.affine[:3, 3].tolist() == [-6, 2, 2]


def test_a_scan_that_the_grid_does_not_meet():
    scans = {"a": grid((10, 10, 10)), "b": grid((10, 10, 10), origin=(40, 0, 0))}
    assert working_grids(scans, WORLD)["a"].shape == (50, 10, 10)
    far = {**scans, "c": grid((10, 10, 10), origin=(0, 20, 300))}
    with pytest.raises(DataError, match=r"all 3 scans.*\(50, 30, 310\).*alignment=centre"):
        working_grids(far, WORLD)
    with pytest.raises(DataError, match=r"^a: .*alignment=centre"):
        working_grids(scans, ImageConfig(alignment="world", shape=(20, 10, 10)))


def test_pairs_that_hardly_overlap():
    scans = {"a": grid((10, 10, 10)), "b": grid((10, 5, 5), origin=(7, 2, 2)), "c": grid((30, 30, 30), (0.5, 0.5, 0.5))}
    scans["d"] = grid((10, 10, 10), origin=(10, 0, 0))
    check_overlap([("a", "b"), ("a", "c"), ("c", "a")], scans)
    for pair, found in ((("a", "d"), "0%"), (("d", "a"), "0%")):
        with pytest.raises(DataError, match=f"^{pair[0]} and {pair[1]}: .*25%.*found {found}.*alignment=centre"):
            check_overlap([pair], scans)
    scans["b"] = grid((10, 5, 5), origin=(8, 2, 2))
    with pytest.raises(DataError, match="found 20%"):
        check_overlap([("a", "b")], scans)
