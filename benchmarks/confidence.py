"""How well each measure of confidence ranks the true error, on held-out pairs with label maps.

    python benchmarks/confidence.py --data DIR --model RUN|FILE|NAME [--fold K] [--pairs N] [--json FILE]

Three questions to each measure of `cst_image.confidence`:

- pairs: Spearman's rank correlation over pairs of its mean near the labels' surfaces with 1 - Dice;
- voxels: the area under the ROC curve, a pair at a time, for "the warped label is wrong here", near the surfaces;
- regions: Spearman's correlation over blocks of 8^3 voxels of its mean with the share of wrong ones, near the surfaces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from record import circumstances, write
from scipy import ndimage, stats

from cst_core.models import load_model
from cst_image.backend import ImageBackend
from cst_image.case import ImageCase
from cst_image.confidence import MEASURES
from cst_image.overlap import mean, overlap
from cst_image.plugin import PLUGIN, at_test

NEAR = 2  # voxels from a surface between labels: elsewhere a label map does not see an error
BLOCK = 8


def main() -> None:
    """Print the table, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = load_model(arguments.model, PLUGIN, "cpu")
    test = PLUGIN.read_data(arguments.data, arguments.fold, model.config, "cpu").test  # type: ignore[arg-type]
    step = max(1, len(test) // arguments.pairs)
    rows = []
    for case in list(test)[::step][: arguments.pairs]:
        assert isinstance(case, ImageCase)
        rows.append(one_pair(at_test(model.backend), model.network, case))  # type: ignore[arg-type]
        print(f"{rows[-1]['id']}  Dice {rows[-1]['dice']:.3f}", flush=True)
    found = {
        "data": Path(arguments.data).name,
        "fold": arguments.fold,
        "model": arguments.model,
        "measures": summary(rows),
        "pairs": rows,
    }
    for name, figures in found["measures"].items():
        print(f"{name:40} " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    write(found | circumstances(torch.get_num_threads()), arguments.json)


def one_pair(backend: ImageBackend, network: torch.nn.Module, case: ImageCase) -> dict[str, Any]:
    """Dice and, for each measure, what it says of where the labels are wrong."""
    field = backend.displacement(network, case.pair)
    found = overlap(case, field)
    assert found is not None
    fixed, wrong = found.fixed.numpy(), (found.fixed != found.warped).numpy()
    near = near_surfaces(fixed)
    row: dict[str, Any] = {"id": case.id, "dice": mean(found.after)}
    for make in MEASURES:
        measure = make(backend, network, case.pair, field)
        values = measure.values.numpy()
        row[measure.name] = {
            "mean_mm": float(values[near].mean()),
            "p95_mm": float(np.quantile(values[near], 0.95)),
            "auc": area_under_curve(values[near], wrong[near]),
            "regions": by_regions(values, wrong, near),
        }
    return row


def near_surfaces(labels: np.ndarray) -> np.ndarray:
    """Voxels within `NEAR` of one with another label."""
    edge = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    return np.asarray(ndimage.binary_dilation(edge, iterations=NEAR - 1))


def area_under_curve(values: np.ndarray, wrong: np.ndarray) -> float:
    """The probability that a wrong voxel has a larger value than a right one (Mann-Whitney)."""
    ranks, bad = np.asarray(stats.rankdata(values))[wrong], int(wrong.sum())
    return float(ranks.sum() - bad * (bad + 1) / 2) / (bad * (len(values) - bad))


def by_regions(values: np.ndarray, wrong: np.ndarray, near: np.ndarray) -> float:
    """Spearman's correlation over blocks that have a surface in them."""
    places = np.indices(values.shape) // BLOCK
    number = np.asarray(np.ravel_multi_index(tuple(places), tuple(int(axis.max()) + 1 for axis in places)))[near]
    counts = np.bincount(number)
    some = counts >= BLOCK
    means, shares = (np.bincount(number, weights=w[near])[some] / counts[some] for w in (values, wrong.astype(float)))
    return spearman(means, shares)


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Pearson's correlation of the ranks."""
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By measure: ``pairs``, ``voxels`` and ``regions``; the latter two are means over pairs."""
    names = [name for name in rows[0] if name not in ("id", "dice")]
    errors = [1.0 - row["dice"] for row in rows]
    return {
        name: {
            "pairs": spearman([row[name]["mean_mm"] for row in rows], errors),
            "voxels": fmean(row[name]["auc"] for row in rows),
            "regions": fmean(row[name]["regions"] for row in rows),
            "mean_mm": fmean(row[name]["mean_mm"] for row in rows),
        }
        for name in names
    }


if __name__ == "__main__":
    main()
