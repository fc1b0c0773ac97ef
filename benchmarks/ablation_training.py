"""What each asymmetry of the training is worth (upper half of the paper's Table 1), over seeds.

    python benchmarks/ablation_training.py --data FOLDER [--fold K] [--seeds 0 1 2] --json FILE

Every variant learns one stage from the same first labels, so they differ in one switch only; each is judged on the
held-out pairs by the whole registration and by h's field alone (two warps, no Adam). FILE keeps what is done: call
again to go on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from record import circumstances, write
from torch import nn

from cst_core.config import TrainConfig
from cst_core.evaluation import evaluate, summary
from cst_core.labelling import make_labels
from cst_core.labels import PseudoLabels
from cst_core.lazy import pairs_of
from cst_core.plugin import Dataset
from cst_core.training import train_stage
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN
from cst_image.presets import PRESETS

VARIANTS: dict[str, dict[str, bool]] = {
    "all": {},
    "no refinement": {"refine": False},
    "no augmentation": {"augment": False},
    "no weighted sampling": {"weighted_sampling": False},
}
JUDGED: dict[str, dict[str, bool]] = {"whole": {}, "h alone": {"adam": False}}
FIGURES = ("dice", "hd95_mm", "sdlogj_l2r", "folding_percent")


def main() -> None:
    """Train and judge what FILE lacks, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--test-pairs", type=int, default=20)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    preset = PRESETS[options.preset]
    image = ImageConfig(**preset.backend, max_test_pairs=options.test_pairs)
    data = PLUGIN.read_data(options.data, options.fold, image, "cpu")
    result = json.loads(options.json.read_text()) if options.json.exists() else {"rows": []}
    rows: list[dict[str, Any]] = result["rows"]
    for seed in options.seeds:
        train = TrainConfig(**{**preset.train, "seed": seed})
        backend = ImageBackend(image)
        labels: dict[bool, PseudoLabels] = {}
        for name, switches in {"random": None, **VARIANTS}.items():
            if any(row["seed"] == seed and row["variant"] == name for row in rows):
                continue
            if switches is None:
                network: nn.Module = backend.untrained(seed)
            else:
                network = learned(backend, data, train.model_copy(update=switches), labels)
            row = {"seed": seed, "variant": name, **judged(image, network, data)}
            rows.append(row)
            print(seed, name, {kind: round(row[kind]["dice"], 4) for kind in JUDGED}, flush=True)
            config = {"train": train.model_dump(mode="json"), "image": image.model_dump(mode="json")}
            setting = {"fold": options.fold, "n_pairs": len(data.test), "config": config}
            write(
                setting | {"rows": rows, "over_seeds": over_seeds(rows)} | circumstances(torch.get_num_threads()),
                options.json,
            )


def learned(
    backend: ImageBackend, data: Dataset[ImagePair], train: TrainConfig, labels: dict[bool, PseudoLabels]
) -> nn.Module:
    """g_1: one stage on the first labels, which ``labels`` keeps by whether they are refined."""
    pairs = pairs_of(data.train)
    if train.refine not in labels:
        kept = PseudoLabels(len(pairs), None, "")
        labels[train.refine] = make_labels(backend, backend.untrained(train.seed), pairs, kept, train)
    network = backend.new_network(train.seed + 1)
    train_stage(backend, network, pairs, labels[train.refine], train, stage=1)
    return network.eval()


def judged(image: ImageConfig, network: nn.Module, data: Dataset[ImagePair]) -> dict[str, dict[str, float]]:
    """Mean figures of the test pairs, for each way of registering them."""
    found = {}
    for kind, switches in JUDGED.items():
        backend = ImageBackend(image.model_copy(update=switches))
        mean = summary(evaluate(PLUGIN, backend, network, data.test))["mean"]
        found[kind] = {figure: mean[figure] for figure in FIGURES}
    return found


def over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Mean and standard deviation of Dice over seeds, for each variant and way of registering."""
    made: dict[str, dict[str, dict[str, float | None]]] = {}
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == name]
        made[name] = {}
        for kind in JUDGED:
            dice = [row[kind]["dice"] for row in mine]
            spread = statistics.stdev(dice) if len(dice) > 1 else None
            sdlogj = statistics.fmean(row[kind]["sdlogj_l2r"] for row in mine)
            made[name][kind] = {"dice": statistics.fmean(dice), "sd": spread, "sdlogj_l2r": sdlogj}
    return made


if __name__ == "__main__":
    main()
