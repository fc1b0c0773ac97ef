import numpy as np
import pytest
import torch

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.preparation.thumbnail import thumbnail


def cylinder(couch: bool = False) -> torch.Tensor:
    """A body of 60 mm radius with a gas-filled hole, at 4 mm; empty below index 5 and above 24."""
    x, y = np.meshgrid(*[4.0 * (np.arange(50) - 24.5)] * 2, indexing="ij")
    values = np.full((50, 50, 30), -1000.0, dtype=np.float32)
    values[x**2 + y**2 < 60**2, 5:25] = 50
    values[x**2 + y**2 < 20**2, 5:25] = -900
    if couch:
        values[5:45, 6, :] = 300
    return torch.from_numpy(values)


@pytest.mark.parametrize("couch", [False, True])
def test_body_is_filled_and_stands_alone(couch):
    small = thumbnail(cylinder(couch), Grid.of((50, 50, 30), (4.0, 4.0, 4.0)), "case")
    assert small.volume.shape == (40, 40, 24)
    assert small.grid.spacing == (5.0, 5.0, 5.0)
    area = float(small.body[:, :, 12].sum()) * 0.25  # cm^2
    assert area == pytest.approx(np.pi * 36, rel=0.1)
    known = small.known.any(0).any(0).nonzero()[:, 0].tolist()
    assert known == list(range(4, 20))  # 20 to 100 mm
    assert float(small.volume.min()) == 0
    assert float(small.volume[8, 20, 12]) == pytest.approx(170 / 370, abs=1e-3)  # 50 HU


def test_the_middle_stays_where_it_is():
    grid = Grid.of((50, 50, 30), (4.0, 4.0, 4.0))
    small = thumbnail(cylinder(), grid, "case")
    torch.testing.assert_close(
        small.grid.points_to_world(small.grid.centre[None]), grid.points_to_world(grid.centre[None])
    )


def test_no_body_is_refused():
    grid = Grid.of((20, 20, 20), (4.0, 4.0, 4.0))
    with pytest.raises(DataError, match="air: must show a body"):
        thumbnail(torch.full((20, 20, 20), -1000.0), grid, "air")
