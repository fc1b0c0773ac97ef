"""What the processes of the tests' teams do, where they can import it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cst_core.launch import Place
from cst_core.processes import Processes

Job = Callable[[Processes, Any], Any]


def in_processes(size: int, job: Job, given: Any, folder: Path) -> list[Any]:
    """``job(team, given)`` in each of ``size`` gloo processes; what each returned, or the error that it raised."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "cst_core.training", "cst_core.processes"])  # imported once for all
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [Place(rank, size, rank, "127.0.0.1", port) for rank in range(size)]
    work = [context.Process(target=_work, args=(place, job, given, folder)) for place in places]
    for process in work:
        process.start()
    for process in work:
        process.join(120)
        assert process.exitcode is not None, "a process hangs"
    return [pickle.loads((folder / f"said-{rank}").read_bytes()) for rank in range(size)]


def _work(place: Place, job: Job, given: Any, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    try:
        team = Processes(place, "cpu")
        result = job(team, given)
        team.close()
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        result = error
    (folder / f"said-{place.rank}").write_bytes(pickle.dumps(result))
    os._exit(0)  # as a process that fails: its connections end with it
