"""What was registered before a kill is not registered again: one small file a pair and strength."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.peers.methods import FailedError, Method
from cst_core.field import DisplacementField
from cst_core.files import write_atomically
from cst_core.plugin import EvalCase, PairScore
from cst_image.pair import ImagePair
from cst_image.plugin import score_field


class Outcome(NamedTuple):
    """Of one pair: what `benchmarks.peers.methods.Found` says without the field, and its score."""

    score: PairScore
    failure: str | None
    """Why it could not be registered; the score is then that of no displacement."""
    cpu_seconds: float | None
    process_seconds: float | None
    peak_mb: float | None
    version: str | None
    settings: dict[str, Any]


class Scorer:
    """Registers and scores, or remembers."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        """``folder``: None forgets. ``fingerprint``: of the data, as the working volumes are made of it."""
        self.folder, self.fingerprint = folder, fingerprint

    def outcome(self, method: Method, case: EvalCase[ImagePair], strength: float | None) -> Outcome:
        """Of one pair; a failure is an outcome too, but not remembered."""
        if self.folder is None:
            return registered(method, case, strength)
        key = json.dumps([self.fingerprint, method.identity(), strength, case.id], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
        if path.exists():
            found = json.loads(path.read_text())
            return Outcome(**{**found, "score": PairScore(**found["score"])})
        made = registered(method, case, strength)
        if made.failure is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps({**made._asdict(), "score": asdict(made.score)}).encode())
        return made


def registered(method: Method, case: EvalCase[ImagePair], strength: float | None) -> Outcome:
    """Register one pair and measure it."""
    try:
        found = method.register(case.pair, strength)
    except FailedError as error:
        nothing = DisplacementField(torch.zeros(3, *case.pair.grid.shape), case.pair.grid)
        return Outcome(score_field(case, nothing, 0.0), str(error), None, None, None, None, {})
    score = score_field(case, found.field, found.seconds)
    return Outcome(score, None, *found[2:])
