"""One model from several: the towers of networks that differ in their seed alone, side by side.

    python benchmarks/pool.py RUN RUN RUN --out FILE.safetensors

This is how the shipped weights were made. They are rounded to half precision, in which they are stored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from cst_core.models import load_model, save_model
from cst_points.config import PointsConfig
from cst_points.network import GraphCNN, pooled
from cst_points.plugin import PLUGIN


def main() -> None:
    """Load, check that the models belong together, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="run folders or weights files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figures", type=Path, help="what cst evaluate --json wrote of it: kept in the weights")
    arguments = parser.parse_args()
    pool(arguments.models, arguments.out, arguments.figures)


def pool(references: list[str], out: Path, result: Path | None = None) -> None:
    """Write the pooled model; its configuration is that of the parts, with as many towers as they have together."""
    models = [load_model(reference, PLUGIN, "cpu") for reference in references]
    told = [{key: value for key, value in model.about.items() if key not in ("seed", "figures")} for model in models]
    if any(model.config != models[0].config for model in models) or any(one != told[0] for one in told):
        raise SystemExit("models: must differ in their seed alone, found different configurations, data or stages")
    networks = [model.network for model in models if isinstance(model.network, GraphCNN)]
    network = pooled(networks).half().float()
    settings = models[0].config.model_dump(mode="json") | {"towers": len(network.towers)}
    seeds = [model.about["seed"] for model in models]
    config = PointsConfig.model_validate(settings).model_dump(mode="json")
    about = told[0] | {"seeds": seeds}
    if result is not None:
        mean = json.loads(result.read_text())["mean"]
        about["figures"] = {name: value for name, value in mean.items() if value is not None}
    save_model(out, network, PLUGIN.name, config, about, stored=torch.float16)


if __name__ == "__main__":
    main()
