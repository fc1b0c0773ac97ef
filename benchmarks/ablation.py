"""What each step of the refinement is worth at test time (lower half of the paper's Table 1), for trained and random g.

python benchmarks/ablation.py --data FOLDER [--fold K] [--models hippocampus random:small] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from record import circumstances, write

from cst_core.evaluation import evaluate, summary
from cst_core.models import load_model
from cst_image.config import ImageConfig
from cst_image.plugin import PLUGIN

STEPS: dict[str, Sequence[str]] = {
    "1 warp": ("warps=1", "adam=false"),
    "1 warp, not consistent": ("warps=1", "adam=false", "consistency=false"),
    "2 warps": ("adam=false",),
    "1 warp, Adam": ("warps=1", "adam_rounds=1"),
    "2 warps, Adam": ("adam_rounds=1",),
    "2 warps, Adam twice": ("adam_rounds=2",),
    "2 warps, Adam three times": ("adam_rounds=3",),
    "the same on the second block's features": ("adam_rounds=3", "instance_blocks=[2]"),
}
FIGURES = ("dice", "hd95_mm", "sdlogj_l2r", "folding_percent", "seconds")


def main() -> None:
    """Evaluate every combination, print a line each, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--models", nargs="+", default=["hippocampus", "random:small"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.models:
        for steps, settings in STEPS.items():
            model = load_model(name, PLUGIN, "cpu", settings)
            config = ImageConfig.model_validate(model.config.model_dump())
            data = PLUGIN.read_data(options.data, options.fold, config, "cpu")
            found = summary(evaluate(PLUGIN, model.backend, model.network, data.test))
            mean = {figure: found["mean"][figure] for figure in FIGURES}
            rows.append({"model": name, "steps": steps, "n_pairs": len(data.test), **mean, "sd": found["sd"]["dice"]})
            told = "  ".join(f"{figure} {value:.3f}" for figure, value in mean.items() if value is not None)
            print(f"{name:14s} {steps:24s} {told}", flush=True)
    write({"rows": rows} | circumstances(torch.get_num_threads()), options.json)


if __name__ == "__main__":
    main()
