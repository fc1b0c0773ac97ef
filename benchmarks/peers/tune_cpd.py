"""Settings of coherent point drift on two pairs of 4DCT: what `cpd-tuned` is, chosen without any COPD landmark.

python -m benchmarks.peers.tune_cpd --data FOLDER [--pairs 4dct_07 4dct_08] [--json FILE]

The figure is the mean distance, at the fixed keypoints, to the release's own correspondences (nominal mm).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.peers.point_methods import PointToolMethod
from benchmarks.record import circumstances, write
from cst_points.release import read_release

_COMMON = {"tolerance": 1e-5}
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    _COMMON | {"w": 0.1},
    _COMMON | {"w": 0.1, "beta": 1.0},
    _COMMON | {"w": 0.1, "beta": 0.5},
    _COMMON | {"w": 0.1, "beta": 0.5, "alpha": 0.5},
    _COMMON | {"w": 0.1, "beta": 0.5, "alpha": 8.0},
    _COMMON | {"w": 0.3, "beta": 0.5, "alpha": 8.0},
)
"""The first is pycpd's default: alpha 2, beta 2, w 0, tolerance 0.001."""


def main() -> None:
    """A line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", nargs="+", default=["4dct_07", "4dct_08"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [case for case in read_release(options.data) if case.id in options.pairs]
    rows: list[dict[str, Any]] = []
    for settings in SETTINGS:
        method = PointToolMethod("cpd", 1, settings)
        errors = list[float]()
        for case in cases:
            assert case.correspondence is not None
            errors.append(float((method.register(case.pair).field - case.correspondence).norm(dim=0).mean()))
        rows.append({"settings": settings, "error_mm": fmean(errors), "pairs": errors})
        print(f"{fmean(errors):6.3f} mm  {settings or 'defaults'}", flush=True)
    known = [case.correspondence for case in cases if case.correspondence is not None]
    initial = fmean(float(one.norm(dim=0).mean()) for one in known)
    print(f"{initial:6.3f} mm  no displacement")
    write({"pairs": options.pairs, "initial_mm": initial, "rows": rows} | circumstances(1), options.json)


if __name__ == "__main__":
    main()
