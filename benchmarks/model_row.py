"""A row of a comparison for models that exist already: shipped ones, runs, or random features.

    python -m benchmarks.model_row --backend image --model hippocampus --method "self (three stages)" --data FOLDER
        --fold 1 --json benchmarks/results/comparison_hippocampus.json [--split train] [--target-sdlogj 0.094]
    python -m benchmarks.model_row --backend points --model "copd-fold{fold}" --method best --data FOLDER
        --fold 1 2 3 4 5 --json benchmarks/results/comparison_lungs.json

The pairs are those of ``cst evaluate`` with the same options, of all folds together. --target-sdlogj makes the row of
the setting "matched": ``cst tune`` chooses each fold's regularisation on --tune-pairs of its pairs. A row of the same
method, setting and seed is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.comparison_rows import line, put_row, row_of_model
from benchmarks.record import circumstances
from cst_core import plugins
from cst_core.cli_tune import TuneOptions, tune
from cst_core.evaluation import evaluate
from cst_core.models import load_model
from cst_core.plugin import PairScore
from cst_core.supervision import SELF


def main() -> None:
    """Evaluate, print the row, write it."""
    options = arguments()
    torch.set_num_threads(options.threads)
    plugin, about = plugins.load(options.backend), circumstances(options.threads)
    scores: list[PairScore] = []
    settings: dict[str, Any] = {"model": options.model, "supervision": SELF, "at_test": list(options.set)}
    for fold in options.fold:
        reference = options.model.replace("{fold}", str(fold))
        assignments = list(options.set)
        if options.target_sdlogj is not None:
            setting = matched(options, reference, fold)
            assignments.append(setting)
            settings["at_test"].append(setting)
        model = load_model(reference, plugin, "cpu", assignments)
        settings["supervision"] = model.about.get("supervision", SELF) if model.file else None
        cases = plugin.read_data(options.data, fold, model.config, "cpu").split(options.split)
        scores += evaluate(plugin, model.backend, model.network, cases)
    row = row_of_model(options.method, options.seed, settings, scores, about)
    if options.target_sdlogj is not None:
        row |= {"setting": "matched", "target_sdlogj": options.target_sdlogj}
    put_row(options.json, row, {"data": Path(options.data).name, "target_sdlogj": options.target_sdlogj, **about})
    print(line(row))


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--model", required=True, help="{fold} in it stands for the fold's number")
    parser.add_argument("--method", required=True, help="what the row is called")
    parser.add_argument("--seed", type=int, help="of the model, where there are several of a method")
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int, nargs="+", default=[None])
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--target-sdlogj", type=float, metavar="X")
    parser.add_argument("--tune-pairs", type=int, metavar="N", help="pairs on which cst tune searches; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def matched(options: argparse.Namespace, reference: str, fold: int | None) -> str:
    """``KEY=VALUE`` of the regularisation that gives one fold the target's SDlogJ."""
    wanted = TuneOptions(
        backend=options.backend,
        model=reference,
        data=options.data,
        fold=fold,
        split=options.split,
        target=options.target_sdlogj,
        tolerance=0.02,
        pairs=options.tune_pairs,
        report=None,
        device="cpu",
        assignments=options.set,
    )
    return tune(wanted, Console())["setting"]


if __name__ == "__main__":
    main()
