"""What the tests change in the pages so that they take seconds: settings, and sizes of made-up data.

A page shows what a reader should type. Behind each of its commands the tests put `MORE`; in its text they first make
the replacements of `TEXT`, each of which must be found. Of the phantoms there are fewer
subjects, and these are shrunk; clouds have fewer points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_IMAGE = (
    *("--set", "spacing=6.4", "--set", "adam_steps=2", "--set", "warps=1"),
    *("--set", "coupling=[0.3]", "--set", "consistency=false"),
)
_POINTS = ("--set", "rounds=2", "--set", "candidates=32")
_FIRST = ("--set", "first_towers=1")
_LOOP = ("--set", "stages=1", "--set", "iterations=1")

MORE: Mapping[tuple[str, str | None], Sequence[str]] = {
    ("train", "image"): (*_IMAGE, *_LOOP, *_FIRST, "--set", "max_train_pairs=1", "--set", "max_test_pairs=1"),
    ("train", "points"): (*_POINTS, *_LOOP, *_FIRST),
    ("register", "image"): (*_IMAGE, "--no-affine"),
    ("register", "points"): _POINTS,
    ("evaluate", "image"): (*_IMAGE, "--set", "max_test_pairs=1"),
    ("evaluate", "points"): _POINTS,
    ("tune", "image"): (*_IMAGE, "--set", "max_test_pairs=1", "--tolerance", "0.9"),
    ("prepare", None): ("--grid", "24x20x32", "--spacing", "6.4"),
}
"""By verb and backend."""

TEXT: Mapping[str, Sequence[tuple[str, str]]] = {
    # two scans instead of twelve, too few for folds
    "tutorial.md": (
        ("abdomen_phantom(12, spacing=4.0)", "abdomen_phantom(2, spacing=6.4)"),
        (" --fold 1", ""),
        ("phantom_06", "phantom_02"),
    ),
    "how-to/python.md": (
        ("PointsConfig()", "PointsConfig(first_towers=1, candidates=32, rounds=2)"),
        ('load_model("abdomen", PLUGIN, "cpu")', 'load_model("abdomen", PLUGIN, "cpu", ["adam_steps=2"])'),
    ),
}
"""By page."""

PHANTOM: Mapping[str, int] = {"PHANTOM_TRAIN": 2, "PHANTOM_SUBJECTS": 4}
"""Of the abdomen phantom, in `cst_image.data`: one pair to train on, one to test."""
LUNGS = 6
"""Pairs of the lung phantom at most, two a fold: enough for fold 3."""
