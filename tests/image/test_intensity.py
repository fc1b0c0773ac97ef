import pytest
import torch

from cst_core.errors import DataError
from cst_image.config import ImageConfig
from cst_image.intensity import limits, lowest, map_intensities

CT, MR = ImageConfig(), ImageConfig(intensity="mr", percentiles=(0, 100))


def test_ct_is_hu_over_500_clamped():
    hu = torch.tensor([-1000.0, -200, -100, 0, 50, 300, 3000]).reshape(7, 1, 1)
    expected = torch.tensor([-0.4, -0.4, -0.2, 0, 0.1, 0.6, 0.6])
    assert torch.allclose(map_intensities(hu, CT).flatten(), expected)


def test_another_window():
    hu = torch.tensor([-500.0, 0, 1500]).reshape(3, 1, 1)
    config = ImageConfig(window=(-100.0, 900.0))
    assert torch.allclose(map_intensities(hu, config).flatten(), torch.tensor([-0.1, 0, 0.9]))
    assert lowest(config) == pytest.approx(-0.1)
    assert lowest(CT) == pytest.approx(-0.4)
    assert lowest(MR) == -0.4


def test_mr_percentiles_go_to_the_ends():
    volume = torch.arange(101.0).reshape(101, 1, 1)
    assert torch.allclose(map_intensities(volume, MR), torch.linspace(-0.4, 0.6, 101).reshape(101, 1, 1), atol=1e-6)
    config = ImageConfig(intensity="mr", percentiles=(10, 60))
    assert limits(volume, config) == pytest.approx((10, 60))
    mapped = map_intensities(volume, config).flatten()
    assert torch.allclose(mapped[[0, 10, 35, 60, 100]], torch.tensor([-0.4, -0.4, 0.1, 0.6, 0.6]), atol=1e-6)


def test_mr_percentiles_are_those_of_voxels_with_data():
    volume = torch.arange(101.0).reshape(101, 1, 1)
    padded = torch.cat([volume, torch.full((500, 1, 1), -9000.0)])
    mask = padded > -9000
    assert torch.allclose(map_intensities(padded, MR, mask)[:101], map_intensities(volume, MR))


def test_mr_does_not_depend_on_the_scanner_s_unit():
    volume = torch.rand(6, 7, 8, generator=torch.Generator().manual_seed(0))
    config = ImageConfig(intensity="mr")
    assert torch.allclose(map_intensities(volume, config), map_intensities(volume * 4000 + 17, config), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "config", "words"),
    [
        ([7.0, 7.0], CT, ("window of -200 to 300 HU", "7 to 7", "intensity=mr")),
        ([400.0, 900.0], CT, ("window", "400 to 900")),
        ([0.0, 1.0], CT, ("window", "0 to 1")),
        ([7.0, 7.0], MR, ("percentiles 0 and 100", "7 to 7")),
        ([0.0] * 999 + [5.0], ImageConfig(intensity="mr"), ("percentiles 1 and 99", "0 to 5", "widen")),
    ],
)
def test_nothing_to_see_is_an_error(values, config, words):
    with pytest.raises(DataError) as caught:
        map_intensities(torch.tensor(values).reshape(-1, 1, 1), config, name="scan_7.nii")
    assert str(caught.value).startswith("scan_7.nii: ")
    assert all(word in str(caught.value) for word in words)


def test_no_voxel_with_data_is_an_error():
    with pytest.raises(DataError):
        map_intensities(torch.rand(2, 2, 2), MR, torch.zeros(2, 2, 2, dtype=torch.bool))
