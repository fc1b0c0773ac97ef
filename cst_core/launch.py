"""Which process of how many this is, as torchrun or SLURM's srun tell it, and the team that follows from it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from cst_core.environment import choose_device
from cst_core.errors import ConfigError
from cst_core.team import Alone, Team

_FIRST_HOST = re.compile(r"([^\[,]+)(?:\[(\w+)[^\]]*\])?([^\[,]*)")


class Place(NamedTuple):
    """One process among those that a launcher started."""

    rank: int
    size: int
    local_rank: int
    """Among the processes of this machine: its GPU."""
    address: str
    """Where process 0 is."""
    port: int
    launcher_serves: bool = False
    """Whether the launcher listens at that port, not process 0."""
    restarts: int = 0
    """How often the launcher started all of them anew, after one had ended."""


def find_place(environ: Mapping[str, str]) -> Place | None:
    """What the variables of torchrun, else those of a SLURM job step, say; None for a process that stands alone.

    Raises:
        ConfigError: they contradict themselves.
    """
    try:
        if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(environ):
            return Place(
                rank=int(environ["RANK"]),
                size=int(environ["WORLD_SIZE"]),
                local_rank=int(environ.get("LOCAL_RANK", environ["RANK"])),
                address=environ["MASTER_ADDR"],
                port=int(environ["MASTER_PORT"]),
                launcher_serves=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
                restarts=int(environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
            )
        # those of the step: a job's script has the others too, and runs once
        if int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
            return Place(
                rank=int(environ["SLURM_PROCID"]),
                size=int(environ["SLURM_STEP_NUM_TASKS"]),
                local_rank=int(environ["SLURM_LOCALID"]),
                address=environ.get("MASTER_ADDR") or first_host(environ["SLURM_STEP_NODELIST"]),
                port=int(environ.get("MASTER_PORT") or 20000 + int(environ["SLURM_JOB_ID"]) % 10000),
            )
    except (KeyError, ValueError) as error:
        raise ConfigError(
            f"environment: torchrun's or SLURM's variables are incomplete or no numbers ({error})"
        ) from None
    return None


def first_host(nodes: str) -> str:
    """Of SLURM's list: ``gpu[007-009,12],cpu1`` -> ``gpu007``."""
    found = _FIRST_HOST.match(nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes


@contextmanager
def open_team(device: str) -> Iterator[Team]:
    """The team that this process belongs to; ``device``: as `choose_device` takes it, each has a GPU of its own.

    An error in one process ends all. Where the error left the block first, it goes on; the others end without a word.

    Raises:
        CstError: not all came, or there are more of them than GPUs.
    """
    place = find_place(os.environ)
    if place is None or place.size == 1:
        yield Alone()
        return
    import torch

    from cst_core.processes import Processes

    # torchrun limits torch's threads alone; where numba has more, torch gets as many after its first loop
    os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))
    team = Processes(place, choose_device(device))
    try:
        yield team
    except KeyboardInterrupt:
        if team.rank:  # all are interrupted together
            raise SystemExit(1) from None
        raise
    except Exception:
        if not team.first_to_fail():
            raise SystemExit(1) from None
        raise  # still connected, so that the others end only with this process, which has something to say
    team.close()


def restarts() -> int:
    """How often the launcher has started this training anew by itself."""
    place = find_place(os.environ)
    return place.restarts if place else 0
