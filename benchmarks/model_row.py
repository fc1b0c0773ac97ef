"""A row of a comparison for a model that exists already: a shipped one, a run, or random features.

    python -m benchmarks.model_row --backend image --model hippocampus --method "self, three stages" --data FOLDER
        --fold 1 --json benchmarks/results/comparison_hippocampus.json [--split train]

The pairs are those of ``cst evaluate`` with the same options. A row of the same method and seed is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.comparison_rows import line, put_row, row_of_model
from benchmarks.record import circumstances
from cst_core import plugins
from cst_core.evaluation import evaluate
from cst_core.models import load_model
from cst_core.supervision import SELF


def main() -> None:
    """Evaluate, print the row, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--method", required=True, help="what the row is called")
    parser.add_argument("--seed", type=int, help="of the model, where there are several of a method")
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plugin = plugins.load(options.backend)
    model = load_model(options.model, plugin, "cpu", options.set)
    data = plugin.read_data(options.data, options.fold, model.config, "cpu")
    cases = data.split(options.split)
    about = circumstances(options.threads)
    settings = {
        "model": options.model,
        "supervision": model.about.get("supervision", SELF),
        "at_test": options.set,
    }
    scores = evaluate(plugin, model.backend, model.network, cases)
    row = row_of_model(options.method, options.seed, settings, scores, about)
    put_row(options.json, row, {"data": Path(options.data).name, "target_sdlogj": None, **about})
    print(line(row))


if __name__ == "__main__":
    main()
