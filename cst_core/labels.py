"""Pseudo labels: one displacement field and one difficulty a pair, in half precision, on disk, read by memory map."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cst_core.files import replace_atomically


class PseudoLabels:
    """The labels of one stage: ``labels[i]`` is the refined field ``(3, *sites)`` of pair i, mm, float16.

    Fields may differ in size from pair to pair. With a ``folder`` they live on disk, one ``.npy`` file a pair beside
    ``index.json`` with difficulties and checksums, and a label that is there already is not made again: they are a
    function of ``source`` (a digest of weights, data and configuration) and of nothing else, so a folder with another
    source, a missing file or a wrong checksum counts as no label at all.
    """

    def __init__(self, n_pairs: int, folder: Path | None = None, source: str = "") -> None:
        self._fields: list[Tensor | None] = [None] * n_pairs
        self._difficulties: list[float] = [float("nan")] * n_pairs
        self._checksums: list[str] = [""] * n_pairs
        self._folder = folder
        self._source = source
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._recover(folder)

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, pair: int) -> Tensor:
        label = self._fields[pair]
        if label is None:
            raise KeyError(f"pair {pair} has no label yet")
        return label

    @property
    def missing(self) -> Sequence[int]:
        """The pairs that still need a label, in order."""
        return [pair for pair, label in enumerate(self._fields) if label is None]

    @property
    def difficulties(self) -> Sequence[float]:
        """Mean |u_h - u_refined| a pair, mm (Sec. 2.3.1)."""
        return list(self._difficulties)

    def put(self, pair: int, refined: Tensor, difficulty: float) -> None:
        """Keep the label of one pair: ``refined`` ``(3, *sites)`` mm, finite; on disk at once with a folder."""
        label = refined.to("cpu", torch.float16)
        if not torch.isfinite(label).all():  # half precision ends at 65504 mm
            raise ValueError(f"label of pair {pair}: every displacement must be finite, some are not")
        self._difficulties[pair] = difficulty
        if self._folder is None:
            self._fields[pair] = label
            return
        path = self._file(pair)
        with replace_atomically(path) as partial, partial.open("wb") as stream:
            np.save(stream, label.numpy())
        self._checksums[pair] = _digest(path)
        self._fields[pair] = _map(path)
        index = {"source": self._source, "difficulty": self._difficulties, "sha256": self._checksums}
        with replace_atomically(self._folder / "index.json") as partial:
            partial.write_text(json.dumps(index))

    def _file(self, pair: int) -> Path:
        return Path(self._folder or "", f"{pair:06d}.npy")

    def _recover(self, folder: Path) -> None:
        try:
            index = json.loads((folder / "index.json").read_text())
            if index["source"] != self._source or len(index["sha256"]) != len(self):
                return
            for pair, (digest, hardness) in enumerate(zip(index["sha256"], index["difficulty"], strict=True)):
                if digest and os.path.exists(self._file(pair)) and _digest(self._file(pair)) == digest:
                    label, hardness = _map(self._file(pair)), float(hardness)
                    if label.dtype == torch.float16 and label.ndim > 1 and label.shape[0] == 3:
                        self._fields[pair], self._difficulties[pair] = label, hardness
                        self._checksums[pair] = digest
        except Exception:  # numpy and json raise many unrelated types on damaged bytes
            return  # which only cost the time to make labels again


def _map(path: Path) -> Tensor:
    # copy-on-write: torch wants writable memory, the file itself stays as it is
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
