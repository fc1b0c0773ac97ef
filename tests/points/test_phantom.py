"""The phantom keeps its promises: reproducible, as large and as displaced as real pairs, and exact in its truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial import KDTree

from cst_core.plugin import EvalCase
from cst_points.cloud import CloudPair
from cst_points.phantom import (
    HALF_EXTENT,
    JITTER,
    LANDMARKS,
    Patient,
    draw_patient,
    lung_phantom,
    patient_generator,
)
from cst_points.vessels import SEPARATION, candidates, grow

SEED = 0
NEAR = 4 * JITTER  # mm; partners lie closer than this (jitter of both: 0.4 % of them farther), strangers mostly not
Case = EvalCase[CloudPair]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return lung_phantom(10, SEED)


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [draw_patient(patient_generator(SEED, index)) for index in range(10)]


def local(points: torch.Tensor, patient: Patient) -> np.ndarray:
    """Points of a pair relative to the crop's centre, where `Breathing` and `Lung` live; float64."""
    return points.double().numpy() - patient.origin


def exhaled(points: np.ndarray, patient: Patient) -> np.ndarray:
    """Invert the breathing: x with x + u(x) = points, by a damped fixed-point iteration."""
    x = points - patient.breathing(points)
    for _ in range(40):
        x += 0.7 * (points - x - patient.breathing(x))
    assert_allclose(x + patient.breathing(x), points, atol=1e-4)
    return x


def depth(points: np.ndarray, patient: Patient) -> np.ndarray:
    """mm inside the nearer lung; negative outside both."""
    return np.maximum(*(lung.depth(points) for lung in patient.lungs))


def tensors(case: Case) -> list[torch.Tensor]:
    assert case.landmarks is not None
    pair = case.pair
    return [pair.fixed, pair.moving, pair.origin, pair.half_extent, *case.landmarks]


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return KDTree(others).query(points)[0]


def test_the_same_seed_gives_the_same_tensors(cases: list[Case]) -> None:
    for again, case in zip(lung_phantom(2, SEED), cases, strict=False):
        assert again.id == case.id
        assert all(torch.equal(a, b) for a, b in zip(tensors(again), tensors(case), strict=True))


def test_another_seed_or_number_gives_another_pair(cases: list[Case]) -> None:
    other = lung_phantom(1, SEED + 1)[0]
    assert not torch.equal(other.pair.origin, cases[0].pair.origin)
    assert other.pair.fixed.shape != cases[0].pair.fixed.shape
    assert len({tuple(case.pair.origin.tolist()) for case in cases}) == len(cases)


def test_ids_and_types(cases: list[Case]) -> None:
    assert [case.id for case in cases] == [f"phantom_{n:02d}" for n in range(1, 11)]
    assert all(tensor.dtype == torch.float32 for case in cases for tensor in tensors(case))


def test_counts_are_those_of_real_pairs(cases: list[Case]) -> None:
    for case in cases:
        assert case.landmarks is not None
        assert 1000 <= len(case.pair.fixed) <= 1800
        assert 2300 <= len(case.pair.moving) <= 3600
        assert case.landmarks.fixed.shape == case.landmarks.moving.shape == (LANDMARKS, 3)


def test_all_points_lie_in_the_crop(cases: list[Case]) -> None:
    for case in cases:
        assert_allclose(case.pair.half_extent, HALF_EXTENT)
        landmarks = [(x - case.pair.origin) / case.pair.half_extent for x in case.landmarks or ()]
        for cloud in (*case.pair.normalised(), *landmarks):
            assert cloud.abs().max() < 1


def test_displacements_are_large(cases: list[Case], patients: list[Patient]) -> None:
    lengths = [
        np.linalg.norm(patient.breathing(local(case.pair.fixed, patient)), axis=1)
        for case, patient in zip(cases, patients, strict=True)
    ]
    means, largest = [length.mean() for length in lengths], [length.max() for length in lengths]
    assert 11 < np.mean(means) < 13.5  # real pairs: 12
    assert min(means) > 5
    assert 30 < max(largest) < 42  # real pairs: 38.5
    # beyond the 256 candidates of the solver nothing could be found
    assert max(largest) < 45


def test_breathing_is_mostly_craniocaudal_and_sinks_the_base(cases: list[Case], patients: list[Patient]) -> None:
    for case, patient in zip(cases, patients, strict=True):
        x = local(case.pair.fixed, patient)
        u = patient.breathing(x)
        low, high = x[:, 2] < np.quantile(x[:, 2], 0.2), x[:, 2] > np.quantile(x[:, 2], 0.8)
        assert u[low, 2].mean() < u[high, 2].mean() - 5
        assert u[:, 2].std() > u[:, 0].std()
        assert u[:, 2].std() > u[:, 1].std()


def test_landmarks_follow_the_breathing_exactly(cases: list[Case], patients: list[Patient]) -> None:
    for case, patient in zip(cases, patients, strict=True):
        assert case.landmarks is not None
        fixed, moving = (local(x, patient) for x in case.landmarks)
        assert_allclose(moving, fixed + patient.breathing(fixed), atol=1e-4)


def test_landmarks_are_not_keypoints(cases: list[Case]) -> None:
    for case in cases:
        assert case.landmarks is not None
        for landmarks, cloud in zip(case.landmarks, (case.pair.fixed, case.pair.moving), strict=True):
            distance = nearest(landmarks.numpy(), cloud.numpy())
            assert distance.min() > 0
            assert np.median(distance) > 2 * JITTER


@pytest.mark.parametrize("seed", [SEED, 1, 2])
def test_breathing_does_not_fold(seed: int) -> None:
    axes = [np.arange(-half, half + 1, 12.0) for half in HALF_EXTENT]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    step = 1e-3  # mm
    for index in range(10):
        breathing = draw_patient(patient_generator(seed, index)).breathing
        columns = [(breathing(grid + step * e) - breathing(grid - step * e)) / (2 * step) for e in np.eye(3)]
        assert np.linalg.det(np.eye(3) + np.stack(columns, axis=-1)).min() > 0.3


def test_points_lie_in_the_lungs(cases: list[Case], patients: list[Patient]) -> None:
    for case, patient in zip(cases, patients, strict=True):
        assert case.landmarks is not None
        assert depth(local(case.landmarks.fixed, patient), patient).min() > 0
        assert depth(local(case.pair.fixed, patient), patient).min() > 0
        assert depth(exhaled(local(case.pair.moving, patient), patient), patient).min() > 0
        for lung in patient.lungs:
            assert (lung.depth(local(case.pair.fixed, patient)) > 0).mean() > 0.35


def test_a_share_of_each_cloud_has_no_partner(cases: list[Case], patients: list[Patient]) -> None:
    for case, patient in zip(cases, patients, strict=True):
        fixed = local(case.pair.fixed, patient)
        moving = local(case.pair.moving, patient)
        inhaled = fixed + patient.breathing(fixed)
        # below the drawn 30 to 40 %, because a stranger may lie near by chance
        assert 0.2 < (nearest(inhaled, moving) > NEAR).mean() < 0.45
        assert (nearest(moving, inhaled) > NEAR).mean() > 0.5


def test_partners_differ_by_jitter(cases: list[Case], patients: list[Patient]) -> None:
    for case, patient in zip(cases, patients, strict=True):
        fixed = local(case.pair.fixed, patient)
        error = nearest(fixed + patient.breathing(fixed), local(case.pair.moving, patient))
        # three axes, two independent jitters: about 1.6 * sqrt(2) of one axis's standard deviation on average
        assert_allclose(error[error < NEAR].mean(), 1.6 * 2**0.5 * JITTER, rtol=0.2)


def test_a_tree_ends_in_its_sites_and_its_vessels_shrink() -> None:
    generator = np.random.default_rng(SEED)
    sites = generator.uniform(0, 100, (64, 3))
    tree = grow(sites, np.zeros(3), generator)
    ends = np.setdiff1d(np.arange(len(tree.nodes)), tree.parents)
    assert len(tree.nodes) == 2 * len(sites)  # the hilum, 63 forks, 64 ends
    assert nearest(sites, tree.nodes[ends]).max() < 1e-9
    assert np.all(tree.parents[1:] < np.arange(1, len(tree.nodes)))
    length = np.linalg.norm(tree.nodes - tree.nodes[tree.parents], axis=1)
    assert length[1] > 2 * length[ends].mean()


def test_candidates_keep_their_distance() -> None:
    generator = np.random.default_rng(SEED)
    tree = grow(generator.uniform(0, 100, (200, 3)), np.zeros(3), generator)
    points, fork = candidates(tree, generator)
    assert KDTree(points).query(points, k=2)[0][:, 1].min() >= SEPARATION
    assert fork.any()
    assert not fork.all()
