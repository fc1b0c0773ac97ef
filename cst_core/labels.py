"""Pseudo labels: one displacement field and one difficulty a pair, in half precision, on disk, read by memory map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cst_core.errors import DataError
from cst_core.files import replace_atomically
from cst_core.team import Team


class _Label(NamedTuple):
    field: Tensor
    difficulty: float
    sha256: str


class PseudoLabels:
    """The labels of one stage: ``labels[i]`` is the refined field ``(3, *sites)`` of pair i, mm, float16.

    Fields may differ in size from pair to pair, and pairs may stay without one. With a ``folder`` they live on disk,
    one ``.npy`` file a pair beside ``index.json`` with difficulties and checksums, and a label that is there already is
    not made again: they are a function of ``source`` (a digest of weights, data and configuration) and of nothing else,
    so a folder with another source, a missing file or a wrong checksum counts as no label at all.

    Several processes share a folder; ``rank`` tells them apart: each writes its own labels and its own index.
    """

    def __init__(self, n_pairs: int, folder: Path | None = None, source: str = "", rank: int = 0) -> None:
        self._n_pairs = n_pairs
        self._kept: dict[int, _Label] = {}
        self._folder = folder
        self._source = source
        self._made: set[int] = set()
        self._index = f"index-{rank}.json" if rank else "index.json"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for index in sorted(folder.glob("index*.json")):
                self._recover(index)

    def __len__(self) -> int:
        """Of all pairs, with a label or without."""
        return self._n_pairs

    def __contains__(self, pair: int) -> bool:
        return pair in self._kept

    def __getitem__(self, pair: int) -> Tensor:
        if pair not in self._kept:
            raise KeyError(f"pair {pair} has no label yet")
        return self._kept[pair].field

    @property
    def pairs(self) -> Sequence[int]:
        """Those that have a label, in order."""
        return sorted(self._kept)

    @property
    def missing(self) -> Sequence[int]:
        """The pairs that have none, in order."""
        return [pair for pair in range(self._n_pairs) if pair not in self._kept]

    @property
    def difficulties(self) -> Sequence[float]:
        """Mean |u_h - u_refined| of each of `pairs`, mm (Sec. 2.3.1)."""
        return [self._kept[pair].difficulty for pair in self.pairs]

    def difficulty(self, pair: int) -> float:
        """Of one pair that has a label, mm."""
        return self._kept[pair].difficulty

    def put(self, pair: int, refined: Tensor, difficulty: float) -> None:
        """Keep the label of one pair: ``refined`` ``(3, *sites)`` mm, finite; on disk at once with a folder."""
        label = refined.to("cpu", torch.float16)
        if not torch.isfinite(label).all():  # half precision ends at 65504 mm
            raise ValueError(f"label of pair {pair}: every displacement must be finite, some are not")
        self._made.add(pair)
        if self._folder is None:
            self._kept[pair] = _Label(label, difficulty, "")
            return
        path = self._file(pair)
        with replace_atomically(path) as partial, partial.open("wb") as stream:
            np.save(stream, label.numpy())
        self._kept[pair] = _Label(_map(path), difficulty, _digest(path))
        told = {str(i): [one.difficulty, one.sha256] for i, one in self._kept.items()}
        with replace_atomically(self._folder / self._index) as partial:
            partial.write_text(json.dumps({"source": self._source, "pairs": self._n_pairs, "labels": told}))

    def share(self, team: Team) -> set[int]:
        """Wait until every process of ``team`` has put its labels, and have them all; returns those that others made.

        Raises:
            DataError: the folder is not the same for all processes.
        """
        if team.size == 1:
            return set()
        # all that it has: a file that was there before may not have been there for every process
        told = {i: (None if self._folder else one.field, one.difficulty, one.sha256) for i, one in self._kept.items()}
        for others, _ in (given := team.gather((told, self._made))):
            for pair in others.keys() - self._kept.keys():
                field, hardness, digest = others[pair]
                self._kept[pair] = _Label(self._shared(pair) if field is None else field, hardness, digest)
        return {pair for _, made in given for pair in made} - self._made

    def _shared(self, pair: int) -> Tensor:
        try:
            return _map(self._file(pair))
        except OSError as error:
            raise DataError(
                f"{self._file(pair)}: was written by another process and is not here ({error.strerror}); "
                "--out must be in a folder that all machines share"
            ) from error

    def _file(self, pair: int) -> Path:
        return Path(self._folder or "", f"{pair:06d}.npy")

    def _recover(self, path: Path) -> None:
        try:
            index = json.loads(path.read_text())
            if index["source"] != self._source or index["pairs"] != self._n_pairs:
                return
            for name, (hardness, digest) in index["labels"].items():
                pair, hardness = int(name), float(hardness)
                if 0 <= pair < self._n_pairs and self._file(pair).exists() and _digest(self._file(pair)) == digest:
                    label = _map(self._file(pair))
                    if label.dtype == torch.float16 and label.ndim > 1 and label.shape[0] == 3:
                        self._kept[pair] = _Label(label, hardness, digest)
        except Exception:  # numpy and json raise many unrelated types on damaged bytes
            return  # which only cost the time to make labels again


def _map(path: Path) -> Tensor:
    # copy-on-write: torch wants writable memory, the file itself stays as it is
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
