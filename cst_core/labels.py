"""Pseudo labels: one displacement field and one difficulty a pair, in half precision, on disk, read by memory map."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cst_core.errors import CheckpointError, DataError
from cst_core.files import remove_folder, replace_atomically
from cst_core.label_index import Entry, LabelIndex, recorded
from cst_core.team import Team


class PseudoLabels:
    """The labels of one stage: ``labels[i]`` is the refined field ``(3, *sites)`` of pair i, mm, float16.

    Fields may differ in size from pair to pair, and pairs may stay without one. With a ``folder`` they live on disk,
    one ``.npy`` file a pair beside an index with difficulties and checksums, and a label that is there already is
    not made again: they are a function of ``source`` (a digest of weights, data and configuration) and of nothing else,
    so a folder with another source, a missing file or a wrong checksum counts as no label at all.

    Several processes share a folder; ``rank`` tells them apart: each writes its own labels and its own index.

    No file stays open or mapped: a process may have a thousand open files and some ten thousand maps.
    """

    def __init__(self, n_pairs: int, folder: Path | None = None, source: str = "", rank: int = 0) -> None:
        self._n_pairs = n_pairs
        self._folder = folder
        self._fields: dict[int, Tensor] = {}
        self._difficulties: dict[int, float] = {}
        self._made: set[int] = set()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._index = LabelIndex(folder, source, n_pairs, rank)
            for pair, entry in recorded(folder, source, n_pairs):
                if self._is_label(pair, entry):
                    self._difficulties[pair] = entry.difficulty

    def __len__(self) -> int:
        """Of all pairs, with a label or without."""
        return self._n_pairs

    def __contains__(self, pair: int) -> bool:
        return pair in self._difficulties

    def __getitem__(self, pair: int) -> Tensor:
        if pair not in self._difficulties:
            raise KeyError(f"pair {pair} has no label yet")
        if self._folder is None:
            return self._fields[pair]
        try:
            return _map(self._file(pair))
        except (OSError, ValueError):
            raise CheckpointError(
                f"{self._file(pair)}: was removed or damaged while it was trained on; go on with --resume, which makes "
                "it again"
            ) from None

    @property
    def pairs(self) -> Sequence[int]:
        """Those that have a label, in order."""
        return sorted(self._difficulties)

    @property
    def missing(self) -> Sequence[int]:
        """The pairs that have none, in order."""
        return [pair for pair in range(self._n_pairs) if pair not in self._difficulties]

    @property
    def difficulties(self) -> Sequence[float]:
        """Mean |u_h - u_refined| of each of `pairs`, mm (Sec. 2.3.1)."""
        return [self._difficulties[pair] for pair in self.pairs]

    def difficulty(self, pair: int) -> float:
        """Of one pair that has a label, mm."""
        return self._difficulties[pair]

    def put(self, pair: int, refined: Tensor, difficulty: float) -> None:
        """Keep the label of one pair: ``refined`` ``(3, *sites)`` mm, finite; on disk at once with a folder."""
        label = refined.to("cpu", torch.float16)
        if not torch.isfinite(label).all():  # half precision ends at 65504 mm
            raise ValueError(f"label of pair {pair}: every displacement must be finite, some are not")
        self._made.add(pair)
        if self._folder is None:
            self._fields[pair] = label
        else:
            path = self._file(pair)
            with replace_atomically(path) as partial, partial.open("wb") as stream:
                np.save(stream, label.numpy())
            self._index.add(pair, Entry(difficulty, _digest(path)))
        self._difficulties[pair] = difficulty

    def share(self, team: Team) -> set[int]:
        """Wait until every process of ``team`` has put its labels, and have them all; returns those that others made.

        Raises:
            DataError: the folder is not the same for all processes.
        """
        if team.size == 1:
            return set()
        # all that it has: a file that was there before may not have been there for every process
        for fields, difficulties, _ in (given := team.gather((self._fields, self._difficulties, self._made))):
            new = difficulties.keys() - self._difficulties.keys()
            for pair in new if self._folder else ():
                if not self._file(pair).exists():
                    raise DataError(
                        f"{self._file(pair)}: was written by another process and is not here; "
                        "--out must be in a folder that all machines share"
                    )
            self._fields |= {pair: fields[pair] for pair in new & fields.keys()}
            self._difficulties |= {pair: difficulties[pair] for pair in new}
        return {pair for *_, made in given for pair in made} - self._made

    def _file(self, pair: int) -> Path:
        return Path(self._folder or "", f"{pair:06d}.npy")

    def _is_label(self, pair: int, entry: Entry) -> bool:
        path = self._file(pair)
        try:
            if not path.exists() or _digest(path) != entry.sha256:
                return False
            label = _map(path)
        except Exception:  # numpy raises many unrelated types on damaged bytes
            return False
        return label.dtype == torch.float16 and label.ndim > 1 and label.shape[0] == 3


def remove_labels(folder: Path, before: int) -> None:
    """Remove what ``folder`` holds of stages that come before one; it is never read again."""
    for labels in folder.glob("stage-*"):
        if int(labels.name.removeprefix("stage-")) < before:
            remove_folder(labels)


def _map(path: Path) -> Tensor:
    # copy-on-write: torch wants writable memory, the file itself stays as it is
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
