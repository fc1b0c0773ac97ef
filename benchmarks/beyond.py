"""What may be added to self-training, and what each addition is worth, over seeds.

    python benchmarks/beyond.py --data FOLDER [--fold K] [--seeds 0 1 2] [--variants NAME ...] --json FILE

As in `ablation_training.py` every variant learns one stage from the same first labels, and is judged on the held-out
pairs by the whole registration and by h's field alone. FILE keeps what is done, each row with the commit that made it:
call again to go on. ``--labels`` keeps the first labels as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ablation_training import JUDGED, judged, over_seeds
from record import circumstances, write
from torch import nn

from cst_core.choose_supervision import make_supervision
from cst_core.config import TrainConfig
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

VARIANTS: dict[str, dict[str, Any]] = {
    "self": {},
    "self + 3 mind": {"metric": "mind", "metric_weight": 3.0},
    "self + 10 mind": {"metric": "mind", "metric_weight": 10.0},
    "self + 0.5 ncc": {"metric": "ncc", "metric_weight": 0.5},
    "self + 2 ncc": {"metric": "ncc", "metric_weight": 2.0},
}


def main() -> None:
    """Train and judge what FILE lacks, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--iterations", type=int, help="of the stage; default the preset's")
    parser.add_argument("--test-pairs", type=int, default=20)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    preset = PRESETS[options.preset]
    length = {} if options.iterations is None else {"iterations": options.iterations}
    image = ImageConfig(**preset.backend, max_test_pairs=options.test_pairs)
    data = PLUGIN.read_data(options.data, options.fold, image, "cpu")
    for seed in options.seeds:
        for name in options.variants:
            if any((row["seed"], row["variant"]) == (seed, name) for row in rows_in(options.json)):
                continue
            train = TrainConfig(**{**preset.train, **length, "seed": seed, **VARIANTS[name]})
            start = time.process_time()
            network = learned(ImageBackend(image), data, train, options.labels)
            seconds = time.process_time() - start
            circumstance = circumstances(torch.get_num_threads())
            row = {"seed": seed, "variant": name, "switches": VARIANTS[name], **judged(image, network, data)}
            row |= {"training_seconds": seconds, "commit": circumstance["commit"]}
            print(seed, name, {kind: round(row[kind]["dice"], 4) for kind in JUDGED}, round(seconds), flush=True)
            rows = [*rows_in(options.json), row]
            config = {"train": TrainConfig(**{**preset.train, **length}).model_dump(mode="json")}
            config["image"] = image.model_dump(mode="json")
            compared = {"over_seeds": over_seeds(rows), "against_self": against_self(rows)}
            setting = {"fold": options.fold, "n_pairs": len(data.test), "config": config}
            write(setting | {"rows": rows} | compared | circumstance, options.json)


def against_self(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """What each variant gains in Dice over self-training of the same seed: by seed, and the mean."""
    made: dict[str, dict[str, dict[str, Any]]] = {}
    plain = {row["seed"]: row for row in rows if row["variant"] == "self"}
    for name in dict.fromkeys(row["variant"] for row in rows if row["variant"] != "self"):
        mine = [row for row in rows if row["variant"] == name and row["seed"] in plain]
        for kind in JUDGED if mine else ():
            gains = {str(row["seed"]): row[kind]["dice"] - plain[row["seed"]][kind]["dice"] for row in mine}
            made.setdefault(name, {})[kind] = {"seeds": gains, "mean": statistics.fmean(gains.values())}
    return made


def rows_in(path: Path) -> list[dict[str, Any]]:
    """What is done; read anew each time, so that several processes may share the file."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def learned(
    backend: ImageBackend, data: Dataset[ImagePair], train: TrainConfig, labels_folder: Path | None
) -> nn.Module:
    """g_1: one stage on the first labels, with whatever ``train`` adds."""
    pairs = pairs_of(data.train)
    teaching = make_supervision(PLUGIN, backend, train, data.train)
    source = f"{data.fingerprint} {backend.config.model_dump_json()} {train.seed}"
    folder = labels_folder / f"labels-{train.seed}" if labels_folder else None
    labels = PseudoLabels(len(pairs), folder, source)
    make_labels(backend, backend.untrained(train.seed), pairs, labels, train)
    network = backend.new_network(train.seed + 1)
    train_stage(backend, network, pairs, labels, train, stage=1, supervision=teaching)
    return network.eval()


if __name__ == "__main__":
    main()
