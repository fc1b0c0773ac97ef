"""Which measure of confidence ranks the landmark errors of the ten COPDGene cases best, each by the model of its fold.

    python benchmarks/confidence_points.py --data FOLDER [--json FILE]

For every pair Spearman's rank correlation of each measure, carried from the keypoints to the 300 landmarks, with the
landmarks' errors; over the ten pairs that of the pairs' mean measures with their TREs; and the mean error of the tenth
of landmarks that the measure distrusts most, over that of the rest. Beside the measures' means over the pairs stand
those where fixed and moving cloud are of two patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from record import circumstances, write
from scipy.stats import rankdata
from torch import Tensor

from cst_core.metrics import landmark_tre
from cst_core.models import load_model
from cst_core.plugin import EvalCase
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.confidence import Doubt, at_points, doubt
from cst_points.config import PointsConfig
from cst_points.dense import dense_spline, displacement_at
from cst_points.plugin import PLUGIN

FOLDS = 5


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    pooled: list[tuple[Tensor, dict[str, Tensor]]] = []
    wrong = list[dict[str, dict[str, float]]]()
    for fold in range(1, FOLDS + 1):
        model = load_model(f"copd-fold{fold}", PLUGIN, "cpu")
        cases = PLUGIN.read_data(arguments.data, fold, PointsConfig(), "cpu").test
        wrong += [mismatched(model.backend, model.network, cases[i].pair, cases[1 - i].pair) for i in range(2)]
        for case in cases:
            error, measures, keypoints = measured(model.backend, model.network, case)
            pooled.append((error, measures))
            rows.append(
                {
                    "id": case.id,
                    "tre_mm": float(error.mean()),
                    "measures": ranks(error, measures),
                    "keypoints": keypoints,
                }
            )
            figures = "  ".join(f"{name} {found['spearman']:.3f}" for name, found in rows[-1]["measures"].items())
            print(f"{case.id}  {float(error.mean()):5.2f} mm  {figures}", flush=True)
    whole = overall(pooled)
    for name, found in whole.items():
        print(f"{name:20s} " + "  ".join(f"{key} {value:.3f}" for key, value in found.items()))
    result = {"landmarks": 300, "mean": whole, "pairs": rows, "of_two_patients": wrong}
    write(result | circumstances(torch.get_num_threads()), arguments.json)


def measured(
    backend: Any, network: Any, case: EvalCase[CloudPair]
) -> tuple[Tensor, dict[str, Tensor], dict[str, dict[str, float]]]:
    """Errors of the landmarks in mm, every measure there, and its mean and 95th percentile over the keypoints."""
    assert isinstance(backend, PointsBackend)
    assert case.landmarks is not None
    pair, (fixed, moving) = case.pair, case.landmarks
    field = backend.register(network, pair).refined
    spline = dense_spline(pair, field, backend.config)
    error = landmark_tre(displacement_at(pair, spline, fixed), fixed, moving)
    found = doubt(backend, network, pair, field)
    measures = {name: at_points(pair.fixed, values, fixed) for name, values in found._asdict().items()}
    # what needs no solver: how far the landmark is from the points that were registered, and how far it moved
    measures["distance_to_keypoints"] = torch.cdist(fixed, pair.fixed).amin(1)
    measures["displacement"] = torch.linalg.vector_norm(displacement_at(pair, spline, fixed), dim=1)
    return error, measures, of_keypoints(found)


def mismatched(backend: Any, network: Any, one: CloudPair, other: CloudPair) -> dict[str, dict[str, float]]:
    """Means of the measures where the clouds are of two patients, which no measure should find trustworthy."""
    pair = CloudPair(one.fixed, other.moving, one.origin, one.half_extent)
    found = doubt(backend, network, pair, backend.register(network, pair).refined)
    return of_keypoints(found)


def of_keypoints(found: Doubt) -> dict[str, dict[str, float]]:
    """Mean and 95th percentile of every measure over the fixed keypoints: what a verdict can be founded on."""
    return {
        name: {"mean": float(values.mean()), "p95": float(values.quantile(0.95))}
        for name, values in found._asdict().items()
    }


def ranks(error: Tensor, measures: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Spearman's correlation, and the error of the most distrusted tenth over that of the rest."""
    result = {}
    for name, values in measures.items():
        worst = values.argsort(descending=True)
        tenth = len(values) // 10
        result[name] = {
            "spearman": spearman(values, error),
            "worst_tenth_over_rest": float(error[worst[:tenth]].mean() / error[worst[tenth:]].mean()),
        }
    return result


def spearman(values: Tensor, errors: Tensor) -> float:
    """Pearson's correlation of the ranks."""
    places = torch.from_numpy(np.stack([rankdata(one.numpy()) for one in (values, errors)]))
    return float(torch.corrcoef(places)[0, 1])


def overall(pooled: list[tuple[Tensor, dict[str, Tensor]]]) -> dict[str, dict[str, float]]:
    """Means over the pairs, the same over all landmarks together, and the correlation over the pairs' own means."""
    errors = torch.cat([error for error, _ in pooled])
    tre = [float(error.mean()) for error, _ in pooled]
    result = {}
    for name in pooled[0][1]:
        each = [ranks(error, measures)[name] for error, measures in pooled]
        together = torch.cat([measures[name] for _, measures in pooled])
        means = [float(measures[name].mean()) for _, measures in pooled]
        result[name] = {
            "spearman_in_a_pair": fmean(found["spearman"] for found in each),
            "spearman_all": spearman(together, errors),
            "spearman_of_pairs": spearman(torch.tensor(means), torch.tensor(tre)),
            "worst_tenth_over_rest": fmean(found["worst_tenth_over_rest"] for found in each),
            "mean": fmean(means),
        }
    return result


if __name__ == "__main__":
    main()
