"""One short training per supervision, on tiny clouds: what is minimised falls."""

from typing import Any

import pytest
import torch

from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.plugin import EvalCase, Landmarks
from cst_core.sampling import seeded
from cst_core.training import self_train
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.plugin import PLUGIN
from cst_points.supervision import SUPERVISIONS

ORIGIN, HALF_EXTENT = torch.tensor([10.0, -20.0, 5.0]), torch.tensor([130.0, 96.0, 168.0])
# With few keypoints, far apart, the default read-out chooses one candidate, which has no gradient.
CONFIG = PointsConfig(
    neighbours_moving=10,
    features=16,
    candidates=16,
    training_rounds=2,
    training_weight=1.0,
    sharpness=2.0,
    max_degrees=2.0,
    max_translation=0.02,
    max_scale=0.02,
    synthetic_degrees=5.0,
    synthetic_translation=0.05,
    synthetic_fixed=0.5,
    synthetic_moving=1.0,
    synthetic_jitter_mm=0.3,
)


def tiny_case(seed: int) -> EvalCase[CloudPair]:
    generator = torch.Generator().manual_seed(seed)
    moving = ORIGIN + (2 * torch.rand(100, 3, generator=generator) - 1) * HALF_EXTENT * 0.6
    x, y, z = ((moving - ORIGIN) / 100).unbind(1)
    back = torch.stack([6 * torch.sin(y), 5 * torch.cos(z), 12 + 6 * torch.tanh(z) + 2 * x], 1)
    fixed = moving[:50] + back[:50]
    landmarks = Landmarks(moving[50:80] + back[50:80], moving[50:80])
    shuffled = moving[torch.randperm(100, generator=generator)]
    pair = CloudPair(fixed, shuffled, ORIGIN, HALF_EXTENT)
    return EvalCase(f"tiny_{seed}", pair, landmarks, correspondence=-back[:50].T.contiguous())


def mean_loss(backend: PointsBackend, teaching: Any, case: EvalCase[CloudPair], network: Any) -> float:
    """Over examples that training did not see, the same for every network."""
    made = [teaching.example(0, case.pair, None, seeded(99, key)) for key in range(6)]
    with torch.no_grad():
        fields = backend.predict(network, [one.pair for one in made])
    losses = [teaching.loss(one.pair, u, one.target) for one, u in zip(made, fields, strict=True)]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize("name", SUPERVISIONS)
def test_the_loss_falls(name):
    case, backend, events = tiny_case(0), PointsBackend(CONFIG), list[Event]()
    teaching = PLUGIN.supervision(name, backend, [case])
    train = TrainConfig(stages=1, iterations=25, batch_size=2, learning_rate=5e-3, supervision=name)
    result = self_train(backend, [case.pair], train, supervision=teaching, watch=events.append)
    before = mean_loss(backend, teaching, case, backend.new_network(train.seed + 1))
    after = mean_loss(backend, teaching, case, result.network)
    assert after < 0.9 * before, (before, after)
    assert {event.kind for event in events} == {"step", "stage"}  # no pseudo labels
    assert {event.unit for event in events} == {"mm" if teaching.fields else ""}
