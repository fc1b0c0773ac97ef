"""One model from several: the towers of networks that differ in their seed alone, side by side.

    python benchmarks/pool.py RUN RUN RUN --out FILE.safetensors

This is how the shipped weights were made. They are rounded to half precision, in which they are stored.
"""

from __future__ import annotations

import argparse
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
    arguments = parser.parse_args()
    pool(arguments.models, arguments.out)


def pool(references: list[str], out: Path) -> None:
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
    save_model(out, network, PLUGIN.name, config, told[0] | {"seeds": seeds}, stored=torch.float16)


if __name__ == "__main__":
    main()
