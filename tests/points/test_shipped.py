"""The weights that come with the package."""

import pytest

from cst_core.evaluation import evaluate
from cst_core.models import load_model
from cst_points.config import PRESETS, PointsConfig
from cst_points.plugin import PLUGIN

NAMES = {*(f"copd-fold{fold}" for fold in range(1, 6)), "lung"}


def test_all_are_here_and_small():
    shipped = PLUGIN.shipped()
    assert set(shipped) == NAMES
    assert all(path.stat().st_size < 200_000 for path in shipped.values())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_loads_and_says_what_it_was_trained_on(name):
    model = load_model(name, PLUGIN, "cpu")
    assert not model.network.training
    assert model.about["trained_on"] == "LungKeypoints"
    assert model.about["fold"] == (None if name == "lung" else int(name[-1]))
    assert model.about["pairs"] == (32 if name == "lung" else 30)
    assert model.about["seeds"] == [0, 1, 2]
    assert len(model.network.towers) == 3
    assert model.config == PointsConfig(**PRESETS["best"].backend, towers=3)


@pytest.mark.real
def test_a_fold_on_its_test_pairs(shared):
    data = PLUGIN.read_data(str(shared / "data" / "LungKeypoints"), 3, PointsConfig(), "cpu")
    model = load_model("copd-fold3", PLUGIN, "cpu")
    scores = evaluate(PLUGIN, model.backend, model.network, data.test)
    assert [score.id for score in scores] == ["copd_05", "copd_06"]
    assert all(score.tre_mm is not None and score.tre_mm < 2.5 for score in scores)
    assert all(score.folding_percent is not None and score.folding_percent < 0.1 for score in scores)
