"""Synthetic pairs: exact labels, samples without full partners, and the fields' statistics."""

import math

import pytest
import torch

from cst_core.sampling import seeded
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.plugin import PLUGIN
from cst_points.supervision.synthetic import draw_rigid, draw_smooth, draw_waves, drawn_cloud, sample

ORIGIN, HALF_EXTENT = torch.tensor([10.0, -20.0, 5.0]), torch.tensor([130.0, 96.0, 168.0])
NAMES = ("synthetic-rigid", "synthetic-field")
CLEAN = PointsConfig(synthetic_jitter_mm=0.0, synthetic_fixed=0.5, synthetic_moving=1.0)


def real_pair(n: int = 200, m: int = 400) -> CloudPair:
    generator = torch.Generator().manual_seed(0)
    fixed, moving = (
        ORIGIN + (2 * torch.rand(count, 3, generator=generator) - 1) * HALF_EXTENT * 0.8 for count in (n, m)
    )
    return CloudPair(fixed, moving, ORIGIN, HALF_EXTENT)


@pytest.mark.parametrize("name", NAMES)
def test_every_fixed_point_is_led_to_its_partner(name):
    teaching, pair = PLUGIN.supervision(name, PointsBackend(CLEAN), []), real_pair()
    example = teaching.example(0, pair, None, seeded(1, 2, 3))
    made, target = example.pair, example.target
    n, m = len(made.fixed), len(made.moving)
    assert (n, m) in ((100, 200), (200, 400))
    assert target.shape == (3, n)
    distances = torch.cdist((made.fixed + target.T).double(), made.moving.double())
    assert float(distances.amin(1).max()) < 1e-4
    assert len(set(distances.argmin(1).tolist())) == n  # each to one of its own
    assert float(target.norm(dim=0).mean()) > 2
    assert torch.equal(made.origin, pair.origin)
    assert torch.equal(made.half_extent, pair.half_extent)


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_strangers_and_jitter(name):
    config = PointsConfig(synthetic_jitter_mm=0.01, synthetic_fixed=0.4, synthetic_moving=0.75)
    pair = real_pair(2000, 4000)
    example = PLUGIN.supervision(name, PointsBackend(config), []).example(0, pair, None, seeded(5))
    made, target = example.pair, example.target
    near = torch.cdist((made.fixed + target.T).double(), made.moving.double()).amin(1)
    met = near < 0.06
    assert float(met.float().mean()) == pytest.approx(0.75, abs=0.04)
    assert float(near[met].square().mean().sqrt()) == pytest.approx(0.01 * math.sqrt(3), rel=0.1)
    assert len(made.moving) / len(made.fixed) == pytest.approx(0.75 / 0.4, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_a_function_of_its_generator(name):
    teaching, pair = PLUGIN.supervision(name, PointsBackend(), []), real_pair()
    one, again, other = (teaching.example(0, pair, None, seeded(7, key)) for key in (1, 1, 2))
    assert torch.equal(one.target, again.target)
    assert torch.equal(one.pair.moving, again.pair.moving)
    assert not torch.equal(one.pair.moving[:50], other.pair.moving[:50])


def test_both_clouds_are_drawn_by_their_numbers():
    pair = real_pair(100, 300)
    drawn = [len(drawn_cloud(pair, seeded(key))) for key in range(200)]
    assert set(drawn) == {100, 300}
    assert drawn.count(300) / 200 == pytest.approx(0.75, abs=0.1)


def test_a_sample_repeats_nothing_and_suffices_for_a_spline():
    assert sorted(sample(50, 1.0, seeded(0)).tolist()) == list(range(50))
    assert len(set(sample(50, 0.4, seeded(0)).tolist())) == 20
    assert len(sample(6, 0.1, seeded(0))) == 4


def test_a_rigid_field_without_scaling_keeps_distances_in_normalised_coordinates():
    pair, config = real_pair(), PointsConfig(synthetic_scale=0.0)
    moved = pair.fixed + draw_rigid(pair, config, seeded(3))(pair.fixed)
    before, after = ((one - ORIGIN) / HALF_EXTENT for one in (pair.fixed, moved))
    assert torch.allclose(torch.pdist(before), torch.pdist(after), atol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


def test_waves_are_a_gaussian_process_of_the_given_amplitude_and_length():
    amplitude, length = 5.0, 20.0
    at = 400 * torch.rand(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fields = [draw_waves(amplitude, length, seeded(key)) for key in range(40)]
    here = torch.stack([field(at) for field in fields])
    assert float(here.std()) == pytest.approx(amplitude, rel=0.05)
    for step in torch.tensor([[20.0, 0.0, 0.0], [0.0, 0.0, 30.0], [0.0, 90.0, 0.0]], dtype=torch.float64):
        there = torch.stack([field(at + step) for field in fields])
        expected = math.exp(-(float(step.norm()) ** 2) / (2 * length**2))
        assert float((here * there).mean()) / amplitude**2 == pytest.approx(expected, abs=0.06)


def test_smooth_fields_are_as_strong_as_lungs_move_and_seldom_fold():
    config, pair = PointsConfig(), real_pair(400)
    step, means, folded = 0.5, [], []
    for key in range(40):
        field = draw_smooth(pair, config, seeded(11, key))
        means.append(float(field(pair.fixed).norm(dim=1).mean()))
        sides = [(field(pair.fixed + e) - field(pair.fixed - e)) / (2 * step) for e in step * torch.eye(3)]
        jacobian = torch.stack(sides, 2) + torch.eye(3)
        folded.append(float((torch.linalg.det(jacobian) <= 0).float().mean()))
    assert sum(means) / len(means) == pytest.approx(12, abs=2)
    assert sum(folded) / len(folded) < 0.001
