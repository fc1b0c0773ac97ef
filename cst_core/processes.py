"""A team on torch.distributed: gloo between CPUs and for what is not a tensor, NCCL between GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from cst_core.errors import CstError, LostError, shortened
from cst_core.launch import Place
from cst_core.team import Value

_COMING = timedelta(minutes=10)
"""Until all processes have begun: a cluster starts them one after the other."""
_PATIENCE = timedelta(days=1)
"""Until one that waits gives up: process 0 may evaluate for hours. A process that ends is noticed at once."""


class Processes:
    """`cst_core.team.Team` of ``place.size`` processes; ``device``: ``cpu`` or ``cuda``."""

    def __init__(self, place: Place, device: str) -> None:
        self.rank, self.size = place.rank, place.size
        if device == "cuda":
            if place.local_rank >= (found := torch.cuda.device_count()):
                raise CstError(
                    f"--device cuda: process {place.local_rank + 1} of this machine finds {found} GPUs; "
                    "start as many processes as there are GPUs"
                )
            torch.cuda.set_device(place.local_rank)
        serves = place.rank == 0 and not place.launcher_serves
        try:
            store = TCPStore(
                place.address, place.port, place.size, serves, _COMING, wait_for_workers=False, multi_tenant=True
            )
            # the launcher's store outlives a restart
            self._store = PrefixStore(f"cst-{place.restarts}", store)
            self._store.set(f"here-{place.rank}", "")
            self._store.wait([f"here-{rank}" for rank in range(place.size)], _COMING)
        except RuntimeError as error:
            raise LostError(
                f"process {place.rank}: not all {place.size} processes met at {place.address}:{place.port} "
                f"({shortened(error)}); check the launcher's options, and that the machines reach one another"
            ) from None
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=self._store, rank=place.rank, world_size=place.size, timeout=_PATIENCE)

    def broadcast(self, value: Value) -> Value:
        """Process 0's value, for all; pickled."""
        box = [value]
        with self._noticed():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """The values of all, by rank, for all; pickled."""
        values: list[Any] = [None] * self.size
        with self._noticed():
            dist.all_gather_object(values, value)
        return values

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise over processes, in place."""
        with self._noticed():
            dist.all_reduce(values)
        return values

    def first_to_fail(self) -> bool:
        """Whether no process of the team has said so before."""
        try:
            return self._store.add("failed", 1) == 1
        except RuntimeError:  # who kept the count is gone: it failed before
            return False

    def close(self) -> None:
        """Leave the team."""
        dist.destroy_process_group()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise LostError(
                f"process {self.rank} of {self.size} lost the others: one of them was killed or its machine is gone "
                f"({shortened(error)})"
            ) from error
