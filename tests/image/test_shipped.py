"""The weights that come with the package."""

import pytest

from cst_core.evaluation import evaluate
from cst_core.models import load_model
from cst_image.plugin import PLUGIN

NAMES = {"abdomen", "hippocampus"}


def test_all_are_here_and_small():
    shipped = PLUGIN.shipped()
    assert set(shipped) == NAMES
    assert all(path.stat().st_size < 3_000_000 for path in shipped.values())


def test_hippocampus_says_what_it_was_trained_on():
    model = load_model("hippocampus", PLUGIN, "cpu")
    assert not model.network.training
    assert (model.about["trained_on"], model.about["fold"], model.about["pairs"]) == ("HippocampusMR", 1, 60)
    assert model.config.intensity == "mr"


def test_abdomen_says_that_it_is_coarse():
    model = load_model("abdomen", PLUGIN, "cpu")
    assert (model.about["trained_on"], model.about["pairs"]) == ("AbdomenCTCT", 50)
    assert (model.config.intensity, model.config.spacing) == ("ct", 4.0)


@pytest.mark.real
def test_hippocampus_on_pairs_of_other_subjects(shared):
    model = load_model("hippocampus", PLUGIN, "cpu")
    data = PLUGIN.read_data(str(shared / "data" / "HippocampusMR"), 1, model.config, "cpu")
    scores = evaluate(PLUGIN, model.backend, model.network, data.test[:3])
    for score in scores:
        assert score.dice is not None
        assert score.dice_initial is not None
        assert score.sdlogj_l2r is not None
        assert score.dice > max(0.65, score.dice_initial)
        assert score.sdlogj_l2r < 0.15
