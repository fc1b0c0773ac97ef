"""The five COPDGene folds: landmark error of the ten test cases, each with the model that did not train on it.

    python -m benchmarks.copd --data FOLDER [--model copd-fold|random|RUNS/fold] [--json FILE]

``--model`` is completed by the fold's number, so ``copd-fold`` takes the shipped ``copd-fold1`` ... ``copd-fold5`` and
``runs/f`` the run folders ``runs/f1`` ... ``runs/f5``; ``random`` is the method's starting point. From run folders the
curve over stages is read as well. `benchmarks.model_row` puts what the models did into a comparison.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.record import circumstances, write
from cst_core.evaluation import evaluate
from cst_core.models import load_model
from cst_core.plugin import PairScore
from cst_points.config import PointsConfig
from cst_points.plugin import PLUGIN

FOLDS = 5


def main() -> None:
    """Evaluate, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="copd-fold")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    scores: list[PairScore] = []
    for fold in range(1, FOLDS + 1):
        reference = arguments.model if arguments.model == "random" else f"{arguments.model}{fold}"
        model = load_model(reference, PLUGIN, "cpu")
        data = PLUGIN.read_data(arguments.data, fold, PointsConfig(), "cpu")
        scores += evaluate(PLUGIN, model.backend, model.network, data.test)
        for score in scores[-2:]:
            print(f"{score.id}  initial {score.tre_mm_initial:6.2f}  after {score.tre_mm:5.2f} mm", flush=True)
    mean = {name: fmean(getattr(score, name) for score in scores) for name in ("tre_mm_initial", "tre_mm", "seconds")}
    print(f"mean     initial {mean['tre_mm_initial']:6.2f}  after {mean['tre_mm']:5.2f} mm")
    curves = {fold: curve for fold in range(1, FOLDS + 1) if (curve := stages(Path(f"{arguments.model}{fold}")))}
    if len(curves) == FOLDS:
        shared = set.intersection(*(set(curve) for curve in curves.values()))
        for stage in sorted(shared):
            name = "random features" if stage == 0 else f"stage {stage}"
            print(f"{name:16s} {fmean(curve[stage] for curve in curves.values()):.3f} mm")
    result = {"model": arguments.model, "mean": mean, "pairs": [asdict(score) for score in scores], "stages": curves}
    write(result | circumstances(torch.get_num_threads()), arguments.json)


def stages(run: Path) -> dict[int, float]:
    """Mean test error in mm after each stage of a run, from its log; empty where there is none."""
    log = run / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return {line["stage"]: line["mean"]["tre_mm"] for line in lines if line.get("kind") == "evaluation"}


if __name__ == "__main__":
    main()
