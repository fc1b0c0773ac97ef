"""What a training run of the image backend leaves for others: its curve over stages, and weights in half precision.

    python benchmarks/image_run.py RUN [--stage N] [--json FILE] [--weights FILE.safetensors]

This is how the shipped image weights were made. ``--stage``: which one's weights; default the last.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import torch
from record import circumstances, write

from cst_core.models import load_model, save_model
from cst_image.config import ImageConfig
from cst_image.plugin import PLUGIN

FIGURES = ("dice", "hd95_mm", "sdlogj_l2r", "sdlogj", "folding_percent")


def main() -> None:
    """Print the curve, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stage", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    found = curve(arguments.run)
    for stage, figures in found["stages"].items():
        print(f"stage {stage}  " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    write(found | circumstances(torch.get_num_threads()), arguments.json)
    if arguments.weights:
        stage = arguments.stage or max(found["stages"])
        ship(arguments.run / f"stage-{stage:02d}.safetensors", arguments.weights)


def curve(run: Path) -> dict[str, Any]:
    """Mean figures of the test pairs before registration and after each stage, from the run's log."""
    origin = json.loads((run / "manifest.json").read_text())["origin"]
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    evaluations = [event for event in events if event.get("kind") == "evaluation"]
    return {
        "fold": origin["fold"],
        "config": tomllib.loads((run / "config.toml").read_text()),
        "initial_dice": evaluations[0]["initial"]["dice"],
        "n_pairs": len(evaluations[0]["pairs"]),
        "stages": {event["stage"]: {name: event["mean"][name] for name in FIGURES} for event in evaluations},
    }


def ship(stage: Path, out: Path) -> None:
    """The weights rounded to half precision and stored so."""
    model = load_model(str(stage), PLUGIN, "cpu")
    network = model.network.half().float()
    # how many pairs the run tested is no property of its weights
    config = model.config.model_copy(update={"max_test_pairs": ImageConfig().max_test_pairs})
    save_model(out, network, PLUGIN.name, config.model_dump(mode="json"), model.about, stored=torch.float16)


if __name__ == "__main__":
    main()
