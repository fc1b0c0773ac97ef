import blobs
import numpy as np
import pytest
import torch

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.config import ImageConfig
from cst_image.intensity import map_intensities
from cst_image.registration import prealignment
from cst_image.registration.prealignment import Scan, as_placed, prealign

SHAPE = (30, 26, 22)
AFFINE = blobs.centred_affine(SHAPE, (5.0, 5.0, 5.0))


def rotated(degrees: float, shift) -> np.ndarray:
    """About the middle of the body, then a shift."""
    a = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix[:3, 3] = blobs.CENTRE - matrix[:3, :3] @ blobs.CENTRE + shift
    return matrix


def scan(world: np.ndarray, shape=SHAPE, affine=AFFINE) -> Scan:
    """What a scanner sees of the body after it was moved by ``world``."""
    points = blobs.positions(shape, affine)
    inverse = np.linalg.inv(world)
    seen = blobs.content(points @ inverse[:3, :3].T + inverse[:3, 3])
    mapped = map_intensities(torch.from_numpy(seen).float(), ImageConfig())
    return Scan(mapped, Grid.from_affine(shape, affine))


def worst(found: torch.Tensor, expected: np.ndarray) -> float:
    corners = blobs.CENTRE + np.concatenate([np.diag(blobs.HALF), -np.diag(blobs.HALF)])
    one, other = (corners @ m[:3, :3].T + m[:3, 3] for m in (found.numpy(), expected))
    return float(np.linalg.norm(one - other, axis=1).max())


def test_a_known_motion_is_found():
    motion = rotated(10.0, [12.0, -9.0, 6.0])
    found = prealign(scan(np.eye(4)), scan(motion))
    assert found.used
    assert worst(found.matrix, motion) < 2.5
    assert found.similarity_before is not None
    assert found.similarity_after is not None
    assert found.similarity_after > found.similarity_before + 0.1


def test_a_partial_field_of_view_does_not_pull():
    """Only the lower half is seen, from elsewhere: centre on centre would be 55 mm off."""
    affine = AFFINE.copy()
    affine[2, 3] -= 40.0
    found = prealign(scan(np.eye(4)), scan(np.eye(4), (30, 26, 18), affine))
    assert worst(found.matrix, np.eye(4)) < 2.5


def test_scans_far_apart_start_from_their_centres():
    motion = rotated(5.0, [400.0, 0.0, 0.0])
    affine = AFFINE.copy()
    affine[0, 3] += 395.0
    fixed, moving = scan(np.eye(4)), scan(motion, affine=affine)
    found = prealign(fixed, moving)
    assert found.similarity_before is None
    assert worst(found.matrix, motion) < 2.5
    assert "do not overlap" in found.notes[0]
    with pytest.raises(DataError, match="leave --no-affine out"):
        as_placed(fixed, moving)


def test_the_same_scan_needs_no_map():
    found = prealign(scan(np.eye(4)), scan(np.eye(4)))
    assert worst(found.matrix, np.eye(4)) < 0.5


def test_a_map_that_does_not_help_is_not_used(monkeypatch):
    monkeypatch.setattr(prealignment, "_optimised", lambda *_: torch.from_numpy(rotated(20.0, [9.0, 0.0, 0.0])))
    found = prealign(scan(np.eye(4)), scan(np.eye(4)))
    assert not found.used
    assert torch.equal(found.matrix, torch.eye(4, dtype=torch.float64))
    assert found.similarity_after == found.similarity_before
    assert "none is used" in found.notes[0]


def test_twice_gives_nearly_the_same():
    motion = rotated(4.0, [3.0, 0.0, 0.0])
    one, other = (prealign(scan(np.eye(4)), scan(motion)) for _ in range(2))
    assert worst(one.matrix, other.matrix.numpy()) < 0.1
