import blobs
import pytest
import torch

from cst_core.field import DisplacementField, Grid
from cst_image.backend import ImageBackend
from cst_image.confidence import MEASURES, confidence, correction, forward_backward, spread
from cst_image.config import ImageConfig
from cst_image.intensity import map_intensities
from cst_image.pair import ImagePair
from cst_image.presets import PRESETS

SHAPE = (24, 22, 20)
GRID = Grid.from_affine(SHAPE, blobs.centred_affine(SHAPE, (6.0, 6.0, 6.0)))


@pytest.fixture(scope="module")
def backend():
    return ImageBackend(ImageConfig(**PRESETS["quick"].backend))


@pytest.fixture(scope="module")
def network(backend):
    return backend.untrained(0)


def volume(values) -> torch.Tensor:
    return map_intensities(torch.from_numpy(values).float(), ImageConfig())[None]


@pytest.fixture(scope="module")
def pair():
    points = blobs.positions(SHAPE, GRID.affine.numpy())
    return ImagePair(volume(blobs.content(points)), volume(blobs.content(blobs.undeformed(points))), GRID)


def test_all_are_mm_on_the_pairs_grid(backend, network, pair):
    field = backend.displacement(network, pair)
    names = set()
    for make in MEASURES:
        found = make(backend, network, pair, field)
        names.add(found.name)
        assert found.values.shape == SHAPE
        assert bool(found.values.isfinite().all())
        assert bool((found.values >= 0).all())
        assert float(found.values.max()) > 0
    assert len(names) == len(MEASURES)
    assert confidence(backend, network, pair, field).name in names


def test_a_wrong_field_is_told_from_a_right_one(backend, network, pair):
    field = backend.displacement(network, pair)
    wrong = DisplacementField(field.vectors + 15.0, GRID)
    right, left = (forward_backward(backend, network, pair, one).values.mean() for one in (field, wrong))
    assert left > right + 10.0


def test_the_error_of_there_and_back_is_what_its_name_says(backend, network, pair):
    back = backend.displacement(network, pair.swapped())
    still = DisplacementField(torch.zeros(3, *SHAPE), GRID)
    found = forward_backward(backend, network, pair, still).values
    torch.testing.assert_close(found, torch.linalg.vector_norm(back.vectors, dim=0))


def test_the_correction_is_none_without_instance_optimisation(backend, network, pair):
    plain = ImageBackend(backend.config.model_copy(update={"adam": False}))
    field = plain.displacement(network, pair)
    assert float(correction(plain, network, pair, field).values.max()) == 0.0


def test_without_anything_to_match_all_candidates_are_as_good(backend, network, pair):
    """The deviation of uniform shares over (2 r + 1)^3 candidates, in the middle, where all lie in the volume."""
    blind = ImageBackend(backend.config.model_copy(update={"coupling": (1e-9,), "cost_scale": 1e-9}))
    found = spread(blind, network, pair, DisplacementField(torch.zeros(3, *SHAPE), GRID)).values
    reach, voxel = backend.config.reach, 6.0 * backend.config.stride
    uniform = (3 * sum(d * d for d in range(-reach, reach + 1)) / (2 * reach + 1)) ** 0.5 * voxel
    middle = found[tuple(n // 2 for n in SHAPE)]
    assert float(middle) == pytest.approx(uniform, rel=0.02)
