"""One process's share of a batch, beside others on other machines: which pairs, and that nobody else has them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from cst_core.errors import ConfigError, CstError
from cst_core.lock import LOCK, free, lock

Item = TypeVar("Item")


class Shard(NamedTuple):
    """Share ``number`` of ``total``, from 1."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``total``-th from the ``number``-th on: neighbours in a list, which often cost alike, are dealt out."""
        return items[self.number - 1 :: self.total]


WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """``3/16``.

    Raises:
        ConfigError: it is something else, or there is no such share.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    if not found:
        raise ConfigError(f"--shard {text}: must be NUMBER/COUNT, for instance 3/16")
    shard = Shard(int(found[1]), int(found[2]))
    if not 1 <= shard.number <= shard.total:
        raise ConfigError(
            f"--shard {text}: must lie between 1/{shard.total} and {shard.total}/{shard.total}; "
            "number the tasks of an array from 1, --array=1-N"
        )
    return shard


@contextmanager
def held(folder: Path, shard: Shard) -> Iterator[None]:
    """The pairs of one share in ``folder`` belong to this process until the block ends.

    The same share excludes itself, the whole batch excludes all shares, and so does a division into another number.

    Raises:
        CstError: another process has some of them.
    """
    handles = [lock(folder, shared=shard != WHOLE)]
    try:
        if shard != WHOLE:
            handles.append(lock(folder, f"{LOCK}-{shard.number}-of-{shard.total}"))
            _check_division(folder, shard)
        yield
    finally:
        for handle in reversed(handles):
            os.close(handle)


def _check_division(folder: Path, shard: Shard) -> None:
    for path in folder.glob(f"{LOCK}-*-of-*"):
        count = path.name.rpartition("-")[2]
        if count != str(shard.total) and not free(path):
            raise CstError(
                f"--shard {shard}: {folder} is being filled in {count} shares; divide it alike, or choose another --out"
            )
