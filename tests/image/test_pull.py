import numpy as np
import SimpleITK
import torch

from cst_core.field import Grid
from cst_core.transform import WorldField
from cst_image.registration.pull import onto, pull

FIXED = Grid.of((6, 7, 8), (2.0, 2.0, 2.0))
MOVING = Grid.of((9, 9, 9), (1.5, 1.5, 2.5))


def volume() -> torch.Tensor:
    return torch.randn(MOVING.shape, generator=torch.Generator().manual_seed(0))


def image(values: torch.Tensor, grid: Grid):
    made = SimpleITK.GetImageFromArray(values.permute(2, 1, 0).numpy())
    made.SetSpacing(grid.spacing)
    made.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return made


def test_a_volume_is_pulled_as_itk_pulls_it():
    vectors = 2.0 * torch.randn(3, *FIXED.shape, generator=torch.Generator().manual_seed(1))
    ours, known = pull(volume(), MOVING, WorldField(vectors, FIXED), fill=-7.0)
    lps = vectors.double() * torch.tensor([-1.0, -1.0, 1.0])[:, None, None, None]
    field = SimpleITK.GetImageFromArray(lps.permute(3, 2, 1, 0).numpy(), isVector=True)
    field.CopyInformation(image(torch.zeros(FIXED.shape), FIXED))
    transform = SimpleITK.DisplacementFieldTransform(field)
    theirs = SimpleITK.Resample(
        image(volume(), MOVING), image(torch.zeros(FIXED.shape), FIXED), transform, SimpleITK.sitkLinear, -7.0
    )
    expected = SimpleITK.GetArrayFromImage(theirs).transpose(2, 1, 0)
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_array_equal(known, expected != -7.0)
    assert 0 < int(known.sum()) < known.numel()


def test_labels_keep_their_type_and_values():
    labels = (volume() > 0).to(torch.uint8) * 7
    found, known = onto(labels, MOVING, MOVING, "nearest")
    assert found.dtype == torch.uint8
    assert torch.equal(found, labels)
    assert bool(known.all())
    found, known = onto(labels, MOVING, FIXED, "nearest")
    assert set(found.unique().tolist()) == {0, 7}
    index = [round(3 * 2.0 / s) for s in MOVING.spacing]
    assert found[3, 3, 3] == labels[tuple(index)]
    assert bool((found[~known] == 0).all())
