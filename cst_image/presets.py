"""Presets of the image backend: settings that belong together, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from cst_core.plugin import Preset

_PAPER: dict[str, Any] = {
    "first_towers": 1,
    "standardise": False,
    "cost_scale": 80.0,
    "adam_rounds": 1,
    "instance_scale": 5.0,
    "data_weight": 12.0,
    "test_smoothness": 6.5,
}
_PAPER_TRAIN: dict[str, Any] = {"stages": 8, "iterations": 1000, "batch_size": 2, "margin": 8}

_SMALL: dict[str, Any] = {
    "intensity": "mr",
    "channels": (16, 16, 32, 32),
    "strides": (1, 1, 2, 1),
    "reach": 3,
    "cost_scale": 2.0,
    "first_towers": 1,
    "adam_rounds": 3,
    "instance_blocks": (1,),
    "test_smoothness": 0.4,
    "test_divergence": 0.2,
    "final_smoothing": 1,
    "max_train_pairs": 60,
}
_SMALL_TRAIN: dict[str, Any] = {"stages": 3, "iterations": 300, "margin": 2}
_COARSE: dict[str, Any] = {
    "spacing": 4.0,
    "channels": (16, 16, 32, 64),
    "strides": (1, 1, 2, 2),
    "first_towers": 1,
    "instance_blocks": (1,),
    "smoothness": 1.0,
    "test_smoothness": 0.3,
    "test_divergence": 0.6,
    "final_smoothing": 1,
    "max_train_pairs": 60,
}
_COARSE_TRAIN: dict[str, Any] = {"stages": 3, "iterations": 200, "margin": 2}
_BEST: dict[str, Any] = {**_COARSE, "first_features": "mind", "instance_mind": True}
_BEST_TRAIN: dict[str, Any] = {**_COARSE_TRAIN, "stages": 1}
_QUICK: dict[str, Any] = {
    "spacing": 4.0,
    "channels": (16, 16, 32, 32),
    "strides": (2, 1, 2, 1),
    "first_towers": 1,
    "instance_blocks": (1,),
    "test_divergence": 0.3,
    "final_smoothing": 1,
    "max_train_pairs": 28,
}
_QUICK_TRAIN: dict[str, Any] = {"stages": 2, "iterations": 120, "margin": 2}

PRESETS = MappingProxyType(
    {
        "quick": Preset(
            "abdomen at 4 mm, labels at 8 mm, few pairs and steps: minutes on two cores; the default",
            _QUICK_TRAIN,
            _QUICK,
        ),
        "coarse": Preset(
            "abdomen at 4 mm, on the lattices of the paper: an hour or two on two cores", _COARSE_TRAIN, _COARSE
        ),
        "best": Preset(
            "as coarse, first labels by MIND-SSC, which Adam matches as well, one stage: the best known for abdomens",
            _BEST_TRAIN,
            _BEST,
        ),
        "small": Preset("small anatomy in MR: matches at stride 2, labels at full resolution", _SMALL_TRAIN, _SMALL),
        "paper": Preset("as published: 8 stages of 1000 iterations; wants a GPU", _PAPER_TRAIN, _PAPER),
    }
)
