import blobs
import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from cst_image.registration.native_files import MM_STEP, native_grid, rounded_, write_field, write_volume
from cst_image.scan import inspect, read_volume

SHAPE, AFFINE = (5, 6, 7), blobs.centred_affine((5, 6, 7), (2.0, 3.0, 4.0))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "SLA"])
def test_a_volume_goes_back_to_the_axes_of_its_file(tmp_path, axes):
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    path = blobs.write(tmp_path / "a.nii.gz", values, AFFINE, axes)
    header = inspect(path)
    native = native_grid(header)
    write_volume(tmp_path / "b.nii.gz", read_volume(path), native)
    one, other = nibabel.load(path), nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(one.dataobj, other.dataobj)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
    np.testing.assert_allclose(native.grid.affine, one.affine, atol=1e-6)


@pytest.mark.parametrize("axes", ["RAS", "PSR"])
def test_vectors_keep_their_world_whatever_the_axes(tmp_path, axes):
    path = blobs.write(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.float32), AFFINE, axes)
    field = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    write_field(tmp_path / "u.nii.gz", field, native_grid(inspect(path)))
    transform = SimpleITK.DisplacementFieldTransform(
        SimpleITK.ReadImage(str(tmp_path / "u.nii.gz"), SimpleITK.sitkVectorFloat64)
    )
    flip = np.array([-1.0, -1.0, 1.0])
    for index in ((0, 0, 0), (4, 1, 2), (2, 5, 6)):
        at = AFFINE[:3, :3] @ index + AFFINE[:3, 3]
        found = np.array(transform.TransformPoint((flip * at).tolist())) * flip - at
        np.testing.assert_allclose(found, field[(slice(None), *index)], atol=1e-5)


def test_rounding_is_to_the_nearest_step():
    values = torch.tensor([0.0, 1.4, -1.6, 1000.3]) * MM_STEP
    assert rounded_(values, MM_STEP).tolist() == [0.0, MM_STEP, -2 * MM_STEP, 1000 * MM_STEP]
