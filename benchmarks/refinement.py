"""What each step of refinement is worth to the first labels: which are on by default, and how strong.

Two figures, neither of which sees a test landmark:

* 4DCT: mean distance in mm, at the fixed keypoints, to correspondences found with the help of the CT (nominal mm).
* COPD: leave-out agreement in mm: how far a spline through 80 % of the unsmoothed field misses the other 20 %.

    python benchmarks/refinement.py --data FOLDER [--pairs 4] [--json FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch
from record import circumstances, write
from torch import Tensor

from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.refine import fitted, refine
from cst_points.release import NOMINAL_HALF_EXTENT, read_release

VARIANTS: dict[str, dict[str, Any]] = {
    "h alone": {"second_warp": False, "smooth": False},
    "spline": {"second_warp": False},
    "second warp": {"smooth": False},
    "second warp, prior_smoothing 0.1": {"smooth": False, "prior_smoothing": 0.1},
    "second warp, prior_smoothing 10": {"smooth": False, "prior_smoothing": 10.0},
    "second warp, spline (default)": {},
    "second warp, spline 0.3": {"smoothing": 0.3},
    "second warp, agreement, spline": {"forward_backward": True},
    "2 views, second warp, spline": {"views": 2},
}


class Solved(NamedTuple):
    """A pair with what is the same for all variants."""

    pair: CloudPair
    features: tuple[Tensor, Tensor]
    predicted: Tensor
    truth: Tensor | None


def main() -> None:
    """Measure every variant on the same first solutions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=4, help="of each kind")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    backend = PointsBackend(PointsConfig())
    network = backend.untrained(0)
    cases = {case.id: case.pair for case in read_release(arguments.data)}
    truth = torch.load(arguments.data / "data.pth", weights_only=True)["4dct"]["gt_disp"]
    extent = torch.tensor(NOMINAL_HALF_EXTENT)
    solved: dict[str, list[Solved]] = {"4dct": [], "copd": []}
    with torch.no_grad():
        for kind, found in solved.items():
            for number in range(1, arguments.pairs + 1):
                pair = cases[f"{kind}_{number:02d}"]
                (features,) = backend.features(network, [pair])
                predicted = backend.solve(pair, *features, backend.effort)
                known = (truth[number - 1] * extent).T if kind == "4dct" else None
                found.append(Solved(pair, features, predicted, known))
        rows = {}
        print(f"{'refinement of random features':36s} {'4DCT error mm':>14s} {'COPD agreement mm':>18s}")
        for name, settings in VARIANTS.items():
            variant = PointsBackend(PointsConfig(**settings))
            fields = {
                kind: [refine(variant, network, one.pair, one.features, one.predicted) for one in found]
                for kind, found in solved.items()
            }
            errors = [_error(one, field) for one, field in zip(solved["4dct"], fields["4dct"], strict=True)]
            # a smoothed field agrees with itself by construction: only unsmoothed ones are comparable
            rough = not variant.config.smooth
            misses = [_leave_out(one.pair, f) for one, f in zip(solved["copd"], fields["copd"], strict=True) if rough]
            rows[name] = {
                "error_4dct_mm": sum(errors) / len(errors),
                "agreement_copd_mm": sum(misses) / len(misses) if misses else None,
            }
            agreement = f"{rows[name]['agreement_copd_mm']:18.3f}" if misses else f"{'-':>18s}"
            print(f"{name:36s} {rows[name]['error_4dct_mm']:14.3f} {agreement}", flush=True)
    write({"pairs": arguments.pairs, "rows": rows} | circumstances(torch.get_num_threads()), arguments.json)


def _error(one: Solved, field: Tensor) -> float:
    assert one.truth is not None
    return float(torch.linalg.vector_norm(field - one.truth, dim=0).mean())


def _leave_out(pair: CloudPair, field: Tensor, parts: int = 5) -> float:
    order = torch.randperm(field.shape[1], generator=torch.Generator().manual_seed(0))
    misses = []
    for part in range(parts):
        left_out = order[part::parts]
        kept = torch.ones(field.shape[1], dtype=torch.bool)
        kept[left_out] = False
        rest = CloudPair(pair.fixed[kept], pair.moving, pair.origin, pair.half_extent)
        spline = fitted(rest, field[:, kept], 0.1)
        misses.append(torch.linalg.vector_norm(spline(pair.normalised()[0][left_out]) - field[:, left_out].T, dim=1))
    return float(torch.cat(misses).square().mean().sqrt())


if __name__ == "__main__":
    main()
