"""What ``cst`` needs of the toy besides its four verbs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cst_core.errors import DataError
from cst_core.plugin import Dataset, EvalCase, PairScore, Preset
from cst_core.supervision import GivenFields, Metric, Supervision
from cst_toy.backend import SignalPair, ToyBackend, ToyConfig, make_case, mismatch

N_TRAIN, N_TEST, SITES = 12, 4, 96


@dataclass(frozen=True)
class SignalCase(EvalCase[SignalPair]):
    """The truth is dense here: a field ``(3, sites)``."""

    field: Tensor | None = None


class ToyPlugin:
    """Made as a distribution of somebody else's would."""

    name = "toy"
    config_class = ToyConfig
    presets: Mapping[str, Preset] = {
        "quick": Preset("Seconds.", {"stages": 3, "iterations": 100, "batch_size": 4, "learning_rate": 0.02}, {}),
        "long": Preset("For those who can wait.", {"stages": 3, "iterations": 600, "batch_size": 2}, {}),
    }
    default_preset = "quick"

    def backend(self, config: Any, device: str) -> ToyBackend:
        """CPU whatever the device."""
        del device
        return ToyBackend(config)

    def untrained(self, backend: ToyBackend, seed: int) -> nn.Module:
        """The same network as every other."""
        return backend.new_network(seed)

    def read_data(self, source: str, fold: int | None, config: Any, device: str) -> Dataset[SignalPair]:
        """``phantom``, or a folder whose ``seed.txt`` says which signals to make."""
        del device
        if fold is not None:
            raise DataError(f"--fold {fold}: signals have no folds; leave it out")
        seed = 1000
        if source != "phantom":
            try:
                seed = int(Path(source, "seed.txt").read_text())
            except (OSError, ValueError) as error:
                raise DataError(f"{source}/seed.txt: must hold an integer ({error})") from None
        made = [make_case(seed + i, SITES, config.noise) for i in range(N_TRAIN + N_TEST)]
        cases = [SignalCase(f"signal_{i:02d}", pair, field=field) for i, (pair, field) in enumerate(made)]
        digest = hashlib.sha256()
        for case in cases:
            digest.update(case.pair.fixed.numpy().tobytes() + case.pair.moving.numpy().tobytes())
        return Dataset(source, digest.hexdigest(), cases[:N_TRAIN], cases[N_TRAIN:], ("signals are cyclic",))

    def score(self, backend: ToyBackend, network: nn.Module, case: Any) -> PairScore:
        """Mean error over all sites."""
        began = time.perf_counter()
        field = backend.register(network, case.pair).refined
        seconds = time.perf_counter() - began
        error, initial = ((case.field - u).norm(dim=0).mean() for u in (field, torch.zeros_like(field)))
        return PairScore(case.id, tre_mm=float(error), tre_mm_initial=float(initial), seconds=seconds)

    supervisions: Mapping[str, str] = {
        "truth": "supervised with the true displacement",
        "mismatch": "fixed and warped moving should be alike",
    }

    def supervision(self, name: str, backend: ToyBackend, cases: Sequence[Any]) -> Supervision[SignalPair]:
        """What the paper compares itself with, in one dimension."""
        del backend
        return GivenFields([case.field for case in cases]) if name == "truth" else Metric(mismatch)

    def shipped(self) -> Mapping[str, Path]:
        """None."""
        return {}

    def picture(self, backend: ToyBackend, network: nn.Module, case: Any, path: Path) -> None:
        """The smallest thing that begins as a PNG does."""
        field = backend.register(network, case.pair).refined
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + field.numpy().tobytes())


def signals(count: int) -> None:
    """Count signals: stands for the preparation of raw data."""
    print(f"{count} signals")


PLUGIN = ToyPlugin()
