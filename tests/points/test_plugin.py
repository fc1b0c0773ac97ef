"""The points backend as the command line sees it, on the phantom."""

import math

import pytest
import torch

from cst_core import plugins
from cst_core.errors import DataError
from cst_core.plugin import EvalCase
from cst_points.backend import PointsBackend
from cst_points.config import PointsConfig
from cst_points.phantom import lung_phantom
from cst_points.plugin import PLUGIN

QUICK = PointsConfig(first_towers=2, candidates=128, rounds=6, neighbours_moving=20)


@pytest.fixture(scope="module")
def case():
    return lung_phantom(1)[0]


def test_found_by_its_entry_point():
    assert plugins.load("points") is PLUGIN


def test_names_and_presets():
    assert PLUGIN.name == "points"
    assert PLUGIN.default_preset in PLUGIN.presets
    for preset in PLUGIN.presets.values():
        assert preset.about
        PLUGIN.config_class(**preset.backend)
    assert all(path.suffix == ".safetensors" for path in PLUGIN.shipped().values())


def test_phantom_fold():
    data = PLUGIN.read_data("phantom", 3, QUICK, "cpu")
    assert data.source == "phantom"
    assert (len(data.train), len(data.test)) == (8, 2)
    assert [c.id for c in data.test] == ["phantom_05", "phantom_06"]
    assert not {c.id for c in data.train} & {c.id for c in data.test}
    assert len(data.fingerprint) == 64
    with pytest.raises(DataError, match="6"):
        PLUGIN.read_data("phantom", 6, QUICK, "cpu")


def test_score_on_a_phantom_case(case):
    backend = PLUGIN.backend(QUICK, "cpu")
    assert isinstance(backend, PointsBackend)
    score = PLUGIN.score(backend, PLUGIN.untrained(backend, 0), case)
    fixed, moving = case.landmarks
    assert score.id == case.id
    assert score.tre_mm_initial == pytest.approx(float((moving - fixed).norm(dim=1).mean()), rel=1e-4)
    assert score.tre_mm < 0.7 * score.tre_mm_initial
    assert 0 <= score.folding_percent < 5
    assert all(math.isfinite(value) and value > 0 for value in (score.sdlogj_l2r, score.sdlogj, score.seconds))
    assert score.sdlogj_l2r < score.sdlogj  # of J + 3 and of J
    assert score.dice is None
    assert score.hd95_mm is None


def test_score_without_landmarks(case):
    config = QUICK.model_copy(update={"candidates": 16, "second_warp": False, "first_towers": 1, "rounds": 2})
    backend = PLUGIN.backend(config, "cpu")
    score = PLUGIN.score(backend, PLUGIN.untrained(backend, 0), EvalCase("bare", case.pair))
    assert (score.id, score.tre_mm, score.tre_mm_initial) == ("bare", None, None)
    assert score.sdlogj > 0


def test_training_sees_no_landmarks(case):
    assert set(vars(case.pair)) == {"fixed", "moving", "origin", "half_extent"}
    assert all(isinstance(value, torch.Tensor) for value in vars(case.pair).values())


def folder_with(path, n):
    generator = torch.Generator().manual_seed(n)
    for role, count in (("fixed", n), ("moving", 2 * n)):
        points = 100 * torch.rand(count, 3, generator=generator)
        rows = "\n".join(",".join(f"{x:.3f}" for x in row) for row in points.tolist())
        (path / f"case_{n}_{role}.csv").write_text("x,y,z\n" + rows + "\n")
    return str(path)


def test_small_clouds_are_said_and_registered(tmp_path):
    data = PLUGIN.read_data(folder_with(tmp_path, 30), None, QUICK, "cpu")
    assert any("fewer than 128 moving keypoints" in note for note in data.notes)
    backend = PLUGIN.backend(QUICK, "cpu")
    assert backend.register(PLUGIN.untrained(backend, 0), data.train[0].pair).refined.shape == (3, 30)


def test_clouds_too_small_for_a_spline_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least 5 points"):
        PLUGIN.read_data(folder_with(tmp_path, 4), None, QUICK, "cpu")


def test_more_regularisation_makes_smoother_fields(case):
    config = QUICK.model_copy(update={"candidates": 16, "second_warp": False, "first_towers": 1, "rounds": 2})
    network = PLUGIN.untrained(PLUGIN.backend(config, "cpu"), 0)
    found = []
    for weight in (0.01, 1.0, 100.0):
        backend = PLUGIN.backend(config.model_copy(update={PLUGIN.regularisation: weight}), "cpu")
        found.append(PLUGIN.score(backend, network, case).sdlogj_l2r)
    assert found[0] > 1.2 * found[1] > 1.44 * found[2]
