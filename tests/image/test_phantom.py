"""The abdomen phantom keeps its promises: reproducible, anatomically plausible, and as unlike as real patients are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from cst_core.field import Grid
from cst_image.abdomen.anatomy import GALLBLADDER, ORGANS
from cst_image.phantom import (
    FIELD_OF_VIEW,
    Subject,
    abdomen_phantom,
    abdomen_subject,
    draw_patient,
    field_of_view,
    patient_generator,
)

SEED = 0
LABEL = {name: label for label, name in ORGANS.items()}
# ml; medians of 20 real scans, widened by what a phantom of few patients may stray
MEDIAN_VOLUME = {
    "spleen": (150, 330),
    "right kidney": (110, 200),
    "left kidney": (110, 200),
    "gallbladder": (12, 50),
    "oesophagus": (7, 20),
    "liver": (1250, 1900),
    "stomach": (250, 600),
    "aorta": (50, 110),
    "inferior vena cava": (45, 110),
    "portal and splenic vein": (20, 50),
    "pancreas": (50, 120),
    "right adrenal gland": (2, 6),
    "left adrenal gland": (2.5, 8),
}


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    return abdomen_phantom(10, 8.0, SEED)


@pytest.fixture(scope="module")
def fine() -> list[Subject]:
    return abdomen_phantom(2, 4.0, SEED)


def world(subject: Subject, mask: Tensor) -> Tensor:
    """Where the voxels of a mask lie; RAS mm, (N, 3)."""
    homogeneous = torch.cat([mask.nonzero().double(), torch.ones(int(mask.sum()), 1)], dim=1)
    return (homogeneous @ subject.grid.affine.T)[:, :3]


def centre(subject: Subject, name: str) -> Tensor:
    """An organ's centroid, RAS mm."""
    return world(subject, subject.labels == LABEL[name]).mean(0)


def overlap(one: Tensor, other: Tensor) -> list[float]:
    """Dice of each organ that either of two label maps shows; fractions."""
    n = max(ORGANS) + 1
    table = torch.bincount(n * one.long().flatten() + other.flatten(), minlength=n * n).reshape(n, n)
    sizes = table.sum(0) + table.sum(1)
    return [float(2 * table[label, label] / sizes[label]) for label in ORGANS if sizes[label]]


def inside(subject: Subject, name: str) -> Tensor:
    """HU of an organ's voxels that are surrounded by it, so that no neighbour is mixed in."""
    mask = (subject.labels == LABEL[name]).float()[None, None]
    full = torch.nn.functional.avg_pool3d(mask, 3, 1, 1)[0, 0] > 0.999
    return subject.volume[full]


def test_the_same_seed_gives_the_same_subject(subjects: list[Subject]) -> None:
    again = abdomen_subject(3, 8.0, SEED)
    assert again.id == subjects[3].id == "phantom_04"
    assert torch.equal(again.volume, subjects[3].volume)
    assert torch.equal(again.labels, subjects[3].labels)


def test_the_number_of_threads_changes_nothing(subjects: list[Subject]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    again = abdomen_subject(1, 8.0, SEED)
    torch.set_num_threads(threads)
    assert torch.equal(again.volume, subjects[1].volume)


def test_another_seed_or_number_gives_another_patient(subjects: list[Subject]) -> None:
    other = abdomen_subject(0, 8.0, SEED + 1)
    for one, another in [(subjects[0], other), *combinations(subjects[:4], 2)]:
        assert not torch.equal(one.labels, another.labels)
        assert np.mean(overlap(one.labels, another.labels)) < 0.6


def test_shapes_types_and_grid(subjects: list[Subject]) -> None:
    for subject in subjects:
        assert subject.volume.shape == subject.labels.shape == subject.grid.shape == (48, 40, 64)
        assert subject.volume.dtype == torch.float32
        assert subject.labels.dtype == torch.uint8
        assert subject.volume.isfinite().all()
        assert subject.grid.is_close(subjects[0].grid)


def test_the_field_of_view_is_that_of_the_real_scans() -> None:
    assert field_of_view(2.0).shape == (192, 160, 256)
    for spacing in (2.0, 4.0, 8.0):
        grid = field_of_view(spacing)
        assert (2 * grid.half_extent).tolist() == list(FIELD_OF_VIEW)
        middle = grid.points_to_world(grid.centre[None])
        assert torch.allclose(middle, torch.zeros(1, 3, dtype=torch.float64), atol=1e-9)
        assert isinstance(grid, Grid)


def test_a_spacing_that_does_not_divide_the_field_of_view_serves_as_well() -> None:
    subject = abdomen_subject(0, 15.0, SEED)
    assert subject.volume.shape == (26, 21, 34)
    assert subject.grid.spacing == pytest.approx((15.0, 15.0, 15.0))
    assert (subject.labels == LABEL["liver"]).any()


def test_all_organs_are_there_but_some_gallbladders(subjects: list[Subject]) -> None:
    for subject in subjects:
        missing = set(ORGANS) - set(subject.labels.unique().tolist())
        assert missing <= {GALLBLADDER}
        assert int(subject.labels.max()) == max(ORGANS)
    without = [GALLBLADDER not in draw_patient(patient_generator(SEED, n)).organs for n in range(24)]
    assert 1 <= sum(without) <= 8


def test_an_organ_that_was_removed_is_not_painted(subjects: list[Subject]) -> None:
    for index, subject in enumerate(subjects):
        patient = draw_patient(patient_generator(SEED, index))
        assert (GALLBLADDER in patient.organs) == bool((subject.labels == GALLBLADDER).any())


@pytest.mark.parametrize("name", MEDIAN_VOLUME)
def test_organs_are_as_large_as_in_life(subjects: list[Subject], name: str) -> None:
    volumes = [float((subject.labels == LABEL[name]).sum()) * 8.0**3 / 1000 for subject in subjects]
    low, high = MEDIAN_VOLUME[name]
    assert low < np.median([volume for volume in volumes if volume]) < high
    assert max(volumes) > 1.15 * min(volume for volume in volumes if volume)


def test_organs_lie_where_they_belong(subjects: list[Subject]) -> None:
    for subject in subjects:
        at = {name: centre(subject, name) for name in LABEL if name != "gallbladder"}
        x, y, z = ({name: float(position[axis]) for name, position in at.items()} for axis in range(3))
        # to the right x grows, to the front y, to the head z
        assert x["liver"] > 30
        assert x["spleen"] < -70
        assert x["right kidney"] > 40
        assert x["left kidney"] < -40
        assert x["stomach"] < 0
        assert x["inferior vena cava"] > x["aorta"] + 10
        assert x["right adrenal gland"] > 0 > x["left adrenal gland"]
        for side in ("right", "left"):
            assert z[f"{side} adrenal gland"] > z[f"{side} kidney"]
            assert y[f"{side} kidney"] < y["pancreas"]
        assert y["stomach"] > y["spleen"]
        assert z["oesophagus"] > z["stomach"]
        assert z["liver"] > z["right kidney"]


def test_the_aorta_runs_before_the_spine(subjects: list[Subject]) -> None:
    for subject in subjects:
        aorta = world(subject, subject.labels == LABEL["aorta"])
        # bone near the midplane and behind the breastbone
        bone = world(subject, (subject.volume > 220) & (subject.labels == 0))
        spine = bone[(bone[:, 0].abs() < 30) & (bone[:, 1] < 0) & (bone[:, 2] > 20)]
        assert aorta[:, 1].mean() > spine[:, 1].mean() + 15
        assert aorta[:, 2].max() - aorta[:, 2].min() > 200


def test_gallbladder_and_liver_touch(subjects: list[Subject]) -> None:
    for subject in subjects:
        if (subject.labels == GALLBLADDER).any():
            gap = torch.cdist(world(subject, subject.labels == GALLBLADDER), world(subject, subject.labels == 6)).min()
            assert gap < 25


def test_tissues_have_their_hu(fine: list[Subject]) -> None:
    for subject in fine:
        volume, labels = subject.volume, subject.labels
        assert abs(float(volume[:, -1].mean()) + 1000) < 5  # air before the patient
        for name, low, high in (
            ("liver", 25, 210),
            ("spleen", 35, 240),
            ("right kidney", 25, 420),
            ("aorta", 35, 500),
            ("inferior vena cava", 30, 270),
        ):
            assert low < inside(subject, name).median() < high
        body = volume[volume > -200]
        assert 0.15 < ((body > -135) & (body < -65)).float().mean() < 0.7  # fat
        assert 0.15 < ((body > 20) & (body < 110)).float().mean() < 0.7  # muscle and organs
        assert 0.02 < (volume[labels == 0] > 250).sum() / len(body) < 0.15  # bone
        assert volume.max() < 1200


def test_contrast_phases_differ(subjects: list[Subject]) -> None:
    aorta = [float(subject.volume[subject.labels == LABEL["aorta"]].median()) for subject in subjects]
    assert max(aorta) - min(aorta) > 60


def test_a_subject_is_the_same_at_another_spacing(fine: list[Subject], subjects: list[Subject]) -> None:
    for same, coarse in zip(fine, subjects, strict=False):
        # each voxel of 8 mm becomes the eight of 4 mm in it
        finer = coarse.labels
        for axis in range(3):
            finer = finer.repeat_interleave(2, axis)
        dice = dict(zip(ORGANS, overlap(finer, same.labels), strict=True))
        for name in ("liver", "spleen", "stomach", "right kidney", "left kidney"):
            assert dice[LABEL[name]] > 0.8
        assert np.mean(list(dice.values())) > 0.65
        pooled = torch.nn.functional.avg_pool3d(same.volume[None, None], 2)[0, 0]
        assert torch.corrcoef(torch.stack([pooled.flatten(), coarse.volume.flatten()]))[0, 1] > 0.98


def test_patients_overlap_as_aligned_real_ones_do(subjects: list[Subject]) -> None:
    pairs = [overlap(one.labels, other.labels) for one, other in combinations(subjects, 2)]
    means = [np.mean(dice) for dice in pairs]
    assert 0.20 < np.mean(means) < 0.36  # 20 real scans: 0.27
    assert min(means) > 0.1
    assert max(means) < 0.55


def test_the_body_does_not_fold() -> None:
    x, y, z = (np.arange(-0.5 * length, 0.5 * length, 12.0) for length in FIELD_OF_VIEW)
    for index in range(10):
        canonical = draw_patient(patient_generator(SEED, index)).canonical((x, y, z))
        jacobian = np.stack([np.gradient(canonical.astype(float), 12.0, axis=axis) for axis in (1, 2, 3)], axis=-1)
        assert np.linalg.det(np.moveaxis(jacobian, 0, -2)).min() > 0.2


def test_phantom_is_the_list_of_its_subjects(subjects: list[Subject]) -> None:
    assert [subject.id for subject in subjects] == [f"phantom_{n:02d}" for n in range(1, 11)]
    few = abdomen_phantom(1, 8.0, SEED)
    assert torch.equal(few[0].volume, subjects[0].volume)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: abdomen_subject(-1), "index must be 0 or more, got -1"),
        (lambda: abdomen_subject(0, 0.0), "spacing must be more than 0 and at most 16 mm, got 0.0"),
        (lambda: abdomen_subject(0, 20.0), "spacing must be more than 0 and at most 16 mm, got 20.0"),
        (lambda: abdomen_subject(0, float("nan")), "spacing must be more than 0 and at most 16 mm, got nan"),
        (lambda: abdomen_subject(0, 8.0, -3), "seed must be 0 or more, got -3"),
        (lambda: abdomen_phantom(0), "n_subjects must be 1 or more, got 0"),
    ],
)
def test_errors_name_argument_rule_and_value(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
