"""Refinement: every switch adds its own step and nothing else; doubtful keypoints are doubted."""

import pytest
import torch
from torch import Tensor

from cst_core.affine import draw_similarity, in_mm
from cst_core.sampling import seeded
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.refine import _VIEWS_SEED, agreement, at_keypoints, fitted, refine

BARE = PointsConfig(
    neighbours_moving=10, features=16, first_towers=1, candidates=32, second_candidates=16, rounds=6, weight=10.0,
    sharpness=3.0, second_warp=False, smooth=False,
)  # fmt: skip
ORIGIN, HALF_EXTENT = torch.tensor([10.0, -20.0, 5.0]), torch.tensor([130.0, 96.0, 168.0])


def motion(points: Tensor) -> Tensor:
    x, y, z = ((points - ORIGIN) / 100).unbind(1)
    return torch.stack([6 * torch.sin(1.5 * y), 5 * torch.cos(1.2 * z), -20 + 12 * torch.tanh(z) + 2 * x], 1)


@pytest.fixture(scope="module")
def pair() -> CloudPair:
    """150 keypoints, 2 mm of jitter, and as many strangers again."""
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(300, 3, generator=generator) * 2 - 1) * torch.tensor([100.0, 80.0, 120.0]) + ORIGIN
    moving = points + motion(points) + 2 * torch.randn(300, 3, generator=generator)
    return CloudPair(points[:150], moving[torch.randperm(300, generator=generator)], ORIGIN, HALF_EXTENT)


class Run:
    """One registration under BARE with some switches on."""

    def __init__(self, pair: CloudPair, **switches: object) -> None:
        self.backend = PointsBackend(PointsConfig(**BARE.model_dump() | switches))
        self.network = self.backend.untrained(0).eval()
        with torch.no_grad():
            (self.features,) = self.backend.features(self.network, [pair])
            self.predicted = self.backend.solve(pair, *self.features, self.backend.effort)
            self.refined = refine(self.backend, self.network, pair, self.features, self.predicted)


def test_all_switches_off_change_nothing(pair):
    run = Run(pair)
    assert torch.equal(run.refined, run.predicted)


def test_smooth_is_the_spline(pair):
    run = Run(pair, smooth=True, smoothing=0.2)
    assert torch.equal(run.refined, at_keypoints(pair, fitted(pair, run.predicted, 0.2)))
    assert (run.refined - run.predicted).abs().max() > 1
    assert torch.equal(Run(pair).predicted, run.predicted)


def test_second_warp_solves_round_the_first_solution(pair):
    # too few candidates for the largest motions at once
    run = Run(pair, second_warp=True, candidates=4, second_candidates=3, prior_smoothing=0.5)
    prior = at_keypoints(pair, fitted(pair, run.predicted, 0.5))
    second = run.backend.solve(pair, *run.features, run.backend.effort._replace(candidates=3), prior)
    assert torch.equal(run.refined, second)
    assert (run.refined - run.predicted).abs().max() > 1


def test_second_warp_then_spline(pair):
    second, both = Run(pair, second_warp=True), Run(pair, second_warp=True, smooth=True)
    assert torch.equal(both.refined, at_keypoints(pair, fitted(pair, second.refined, 0.1)))


def test_forward_backward_weighs_the_spline(pair):
    run = Run(pair, smooth=True, forward_backward=True)
    trust = agreement(run.backend, pair, run.features, run.predicted)
    assert torch.equal(run.refined, at_keypoints(pair, fitted(pair, run.predicted, 0.1, trust)))
    assert (run.refined - Run(pair, smooth=True).refined).abs().max() > 0.1


def test_planted_outliers_are_trusted_less(pair):
    run = Run(pair)
    field = motion(pair.fixed).T.clone()
    outliers = torch.arange(0, 150, 15)
    field[:, outliers] += torch.tensor([[25.0], [-25.0], [25.0]])
    trust = agreement(run.backend, pair, run.features, field)
    others = torch.ones(150, dtype=torch.bool)
    others[outliers] = False
    assert trust.shape == (150,)
    assert trust.min() > 0
    assert trust.max() <= 1
    assert trust[outliers].max() < 0.1
    assert trust[others].median() > 3 * trust[outliers].max()


def test_trust_is_one_half_at_the_stated_disagreement(pair):
    near, far = (Run(pair, agreement_mm=mm) for mm in (1.0, 2.0))
    a, b = (agreement(run.backend, pair, run.features, run.predicted).double() for run in (near, far))
    # 1/trust - 1 = (e / mm)^2
    assert torch.allclose((1 / a - 1), 4 * (1 / b - 1), rtol=1e-3, atol=1e-4)


def test_views_are_averaged_in_the_pairs_own_axes(pair):
    run = Run(pair, views=3, max_degrees=20.0)
    total = run.predicted
    for view in (1, 2):
        drawn = draw_similarity(seeded(_VIEWS_SEED, view), 20.0, 0.1, 0.1)
        both = in_mm(drawn, ORIGIN, HALF_EXTENT)
        seen = CloudPair(both.apply(pair.fixed), both.apply(pair.moving), ORIGIN, HALF_EXTENT)
        with torch.no_grad():
            solved = run.backend.solve(seen, *run.backend.features(run.network, [seen])[0], run.backend.effort)
        there = seen.fixed + solved.T  # back through the whole map, not its linear part
        total = total + (both.inverse().apply(there) - pair.fixed).T
    assert torch.allclose(run.refined, total / 3, atol=1e-3)
    assert (run.refined - run.predicted).abs().max() > 0.1


def test_views_that_do_not_move_agree(pair):
    still = Run(pair, views=3, max_degrees=0.0, max_translation=0.0, max_scale=0.0)
    assert torch.allclose(still.refined, still.predicted, atol=0.05)


def test_default_refinement_brings_the_field_closer(pair):
    run = Run(pair, second_warp=True, smooth=True)
    truth = motion(pair.fixed).T
    assert (run.refined - truth).norm(dim=0).mean() < 0.8 * (run.predicted - truth).norm(dim=0).mean()
