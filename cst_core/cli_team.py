"""``cst train`` on several processes: process 0 leads, as if it were alone; the others read its data and follow."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, cast

from cst_core import plugins
from cst_core.choose_supervision import make_supervision
from cst_core.config import Resolved
from cst_core.device_memory import memory_advice
from cst_core.environment import choose_device, version
from cst_core.errors import CstError, DataError
from cst_core.lazy import pairs_of
from cst_core.plugin import BackendPlugin, Dataset
from cst_core.team import Team
from cst_core.training import NotFiniteError, self_train


class Plan(NamedTuple):
    """What the others need to know."""

    backend: str
    config: Resolved
    data: str
    """``phantom`` or the folder."""
    fold: int | None
    labels_folder: Path


def read_together(plan: Plan, plugin: BackendPlugin[Any], device: str, team: Team) -> Dataset[Any]:
    """Read the data of the plan, in every process.

    Raises:
        DataError: they do not find the same.
        CstError: there is no pair to train on.
    """
    dataset = plugin.read_data(plan.data, plan.fold, plan.config.backend, device)
    for rank, other in enumerate(team.gather(dataset.fingerprint)):
        if other != dataset.fingerprint:
            raise DataError(
                f"{plan.data}: processes {team.rank} and {rank} read other data "
                f"(fingerprints {dataset.fingerprint[:12]}, {other[:12]}); give every machine the same files"
            )
    if not dataset.train:
        raise CstError(f"{dataset.source}: holds no pair to train on; pass other --data or another --fold")
    return dataset


def follow(team: Team, wanted: str) -> None:
    """What every process but the first does: train, silently, on the device ``wanted``.

    Raises:
        CstError: what keeps it from that.
    """
    device = choose_device(wanted)
    plan: Plan = team.broadcast(cast("Plan", None))
    plugin, config = plugins.load(plan.backend), plan.config
    dataset = read_together(plan, plugin, device, team)
    with memory_advice(plugin, f"training, process {team.rank}"):
        backend = plugin.backend(config.backend, device)
        try:
            self_train(
                backend,
                pairs_of(dataset.train),
                config.train,
                supervision=make_supervision(plugin, backend, config.train, dataset.train),
                first=plugin.untrained(backend, config.train.seed),
                labels_folder=plan.labels_folder,
                source=labels_source(dataset, config),
                team=team,
            )
        except NotFiniteError as error:
            raise CstError(str(error)) from error


def labels_source(dataset: Dataset[Any], config: Resolved) -> str:
    """Digest of what labels depend on beside weights."""
    told = f"{version()} {dataset.fingerprint} {config.backend.model_dump_json()}"
    return hashlib.sha256(told.encode()).hexdigest()
