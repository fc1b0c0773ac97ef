import numpy as np
import pytest

from cst_points.foerstner import distinctiveness, foerstner_keypoints

SPACING = (1.5, 1.0, 2.0)
SHAPE = (40, 56, 32)
CENTRES_MM = np.array([[15.0, 14.0, 16.0], [45.0, 14.0, 48.0], [30.0, 40.0, 32.0], [16.0, 41.0, 49.0]])


def blobs(sigma_mm: float = 2.5) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)), indexing="ij"), -1)
    return sum(np.exp(-((grid - c) ** 2).sum(-1) / (2 * sigma_mm**2)) for c in CENTRES_MM).astype(np.float32)


def test_blobs_are_found_within_a_voxel_in_mm():
    points = foerstner_keypoints(blobs(), np.ones(SHAPE, bool), SPACING, threshold=0.1)
    assert points.dtype == np.float32
    assert len(points) == len(CENTRES_MM)
    apart = np.abs(points[:, None] - CENTRES_MM[None])
    nearest = apart.sum(-1).argmin(0)
    assert sorted(nearest) == list(range(len(CENTRES_MM)))
    assert (apart[nearest, range(len(CENTRES_MM))] <= SPACING).all()


def test_box_corners_are_found_and_edges_are_not():
    volume = np.zeros((48, 48, 48), np.float32)
    volume[14:34, 14:34, 14:34] = 1
    points = foerstner_keypoints(volume, np.ones(volume.shape, bool), (1.0, 1.0, 1.0), sigma_mm=1.5, threshold=0.2)
    corners = np.array([[x, y, z] for x in (13.5, 33.5) for y in (13.5, 33.5) for z in (13.5, 33.5)])
    distance = np.abs(points[:, None] - corners[None]).max(-1)
    assert len(points) == 8
    assert (distance.min(0) <= 1.5).all()


def test_keypoints_stay_inside_the_eroded_mask():
    volume = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, bool)
    mask[8:30, 10:40, 6:26] = True
    points = foerstner_keypoints(volume, mask, SPACING, sigma_mm=1.5, erosion_mm=3.0)
    assert len(points) > 10
    index = np.round(points / SPACING).astype(int)
    assert mask[tuple(index.T)].all()
    assert (points > np.array([8, 10, 6]) * SPACING + np.array([1.4, 1.9, 0.9])).all()
    assert foerstner_keypoints(volume, np.zeros(SHAPE, bool), SPACING).shape == (0, 3)


def test_strongest_first_capped_and_repeatable():
    volume = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    mask = np.ones(SHAPE, bool)
    points = foerstner_keypoints(volume, mask, SPACING, sigma_mm=1.5)
    again = foerstner_keypoints(volume, mask, SPACING, sigma_mm=1.5, limit=7)
    assert np.array_equal(points[:7], again)
    response = distinctiveness(volume, SPACING, 1.5)
    strength = response[tuple(np.round(points / SPACING).astype(int).T)]
    assert (np.diff(strength) <= 0).all()
    apart = np.abs(points[:, None] - points[None]).max(-1) + np.eye(len(points)) * 99
    assert apart.min() > 3


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3000.0])
def test_the_unit_of_the_intensities_does_not_matter(scale):
    mask = np.ones(SHAPE, bool)
    assert np.array_equal(
        foerstner_keypoints(blobs() * np.float32(scale) - np.float32(scale), mask, SPACING, threshold=0.1),
        foerstner_keypoints(blobs(), mask, SPACING, threshold=0.1),
    )


def test_response_is_one_over_the_trace_of_the_inverse():
    """A volume whose gradient is known: the sum of three orthogonal waves, each with its own slope."""
    from skimage.feature import structure_tensor

    volume = np.random.default_rng(2).normal(size=(12, 12, 12))
    got = distinctiveness(volume.astype(np.float32), (2.0, 1.0, 0.5), 2.0)
    parts = structure_tensor(volume / np.abs(volume - volume.mean()).max(), (1.0, 2.0, 4.0), mode="nearest")
    tensor = np.zeros((*volume.shape, 3, 3))
    step = (2.0, 1.0, 0.5)
    for part, (i, j) in zip(parts, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], strict=True):
        tensor[..., i, j] = tensor[..., j, i] = part / (step[i] * step[j])
    expected = 1 / np.trace(np.linalg.inv(tensor), axis1=-2, axis2=-1)
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_flat_and_one_dimensional_volumes_have_no_keypoints():
    mask = np.ones((16, 16, 16), bool)
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[:, None, None], mask.shape)
    for volume in (np.zeros(mask.shape, np.float32), ramp):
        assert len(foerstner_keypoints(volume, mask, (1.0, 1.0, 1.0))) == 0
