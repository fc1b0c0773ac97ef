"""Fields that are known beforehand, and what is said where they are not."""

import pytest
import torch

from cst_core.choose_supervision import check_supervision, make_supervision
from cst_core.config import TrainConfig
from cst_core.errors import DataError
from cst_core.plugin import EvalCase, Landmarks
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.phantom import lung_phantom
from cst_points.plugin import PLUGIN
from cst_points.supervision import SUPERVISIONS
from cst_points.supervision.known import known_correspondences, landmark_fields

ORIGIN, HALF_EXTENT = torch.tensor([10.0, -20.0, 5.0]), torch.tensor([130.0, 96.0, 168.0])
MATRIX = torch.tensor([[0.05, 0.1, 0.0], [0.0, -0.04, 0.02], [0.08, 0.0, 0.03]])


def points(n: int, seed: int) -> torch.Tensor:
    return ORIGIN + 80 * (2 * torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) - 1)


def motion(at: torch.Tensor) -> torch.Tensor:
    return (at - ORIGIN) @ MATRIX.T + torch.tensor([1.0, 2.0, -12.0])


def affine_case(marked: bool = True) -> EvalCase[CloudPair]:
    fixed, landmarks = points(40, 0), points(30, 1)
    pair = CloudPair(fixed, points(80, 2), ORIGIN, HALF_EXTENT)
    truth = Landmarks(landmarks, landmarks + motion(landmarks))
    return EvalCase("one", pair, truth, correspondence=motion(fixed).T) if marked else EvalCase("bare", pair)


def test_landmarks_of_an_affine_motion_give_it_everywhere():
    case = affine_case()
    (field,) = landmark_fields([case], smoothing=0.1)  # an affine map does not bend: lambda costs it nothing
    assert torch.allclose(field, motion(case.pair.fixed).T, atol=1e-3)


def test_landmarks_of_the_phantom_come_near_its_truth():
    case = lung_phantom(1)[0]
    (field,), (truth,) = landmark_fields([case], 0.1), known_correspondences([case])
    assert truth.norm(dim=0).mean() > 5
    assert (field - truth).norm(dim=0).mean() < 1


def test_the_phantoms_correspondences_end_on_its_moving_cloud():
    case = lung_phantom(1)[0]
    there = case.pair.fixed + case.correspondence.T
    near = torch.cdist(there, case.pair.moving).amin(1)
    # 60 to 70 % have a partner, which jitter alone parts from it
    assert float((near < 3).float().mean()) > 0.55


def test_the_pair_is_shown_as_it_is_with_its_field():
    case, backend = affine_case(), PointsBackend()
    for name in ("landmarks", "correspondences"):
        teaching = PLUGIN.supervision(name, backend, [affine_case(), case])
        assert (teaching.labelled, teaching.fields) == (False, True)
        made = teaching.example(1, case.pair, None, torch.Generator())
        assert made.pair is case.pair
        assert torch.allclose(made.target, motion(case.pair.fixed).T, atol=1e-3)
        off = made.target + torch.tensor([[3.0], [0.0], [4.0]])
        assert float(teaching.loss(made.pair, off, made.target)) == pytest.approx(5.0)


@pytest.mark.parametrize("name", ["landmarks", "correspondences"])
def test_missing_truth_is_named(name):
    with pytest.raises(DataError, match=rf"^bare: .*'{name}'.*extra_pairs=false"):
        PLUGIN.supervision(name, PointsBackend(), [affine_case(), affine_case(marked=False)])


def test_too_few_landmarks_are_named():
    case = affine_case()
    few = EvalCase("few", case.pair, Landmarks(case.landmarks.fixed[:3], case.landmarks.moving[:3]))
    with pytest.raises(DataError, match=r"^few: .*at least 4"):
        landmark_fields([few], 0.1)


def test_every_name_is_known_to_the_command_line():
    config = PointsConfig()
    for name in SUPERVISIONS:
        chosen = TrainConfig(supervision=name)
        check_supervision(PLUGIN, chosen)
        teaching = make_supervision(PLUGIN, PLUGIN.backend(config, "cpu"), chosen, [affine_case()])
        assert not teaching.labelled
        assert teaching.fields == (name != "chamfer")
