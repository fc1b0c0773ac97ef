"""Which pseudo labels a folder holds: a file that grows by a line a label, whatever their number."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from cst_core.files import replace_atomically

INDEX = "index.jsonl"


class Entry(NamedTuple):
    """What is known of one label."""

    difficulty: float
    """Mean |u_h - u_refined|, mm."""
    sha256: str
    """Of its file, hexadecimal."""


class LabelIndex:
    """The labels of one ``source`` (a digest of weights, data and configuration) and one number of pairs.

    The first line says of what the labels are, each of the others names a label; every line ends with its own checksum.
    A line that is damaged counts as no line, a first line that is damaged or of something else as an empty file: what
    is not known is made again. To add a label costs the same however many there are.

    Of several processes that share the folder each has an index of its own, which its ``rank`` names.
    """

    def __init__(self, folder: Path, source: str, n_pairs: int, rank: int = 0) -> None:
        self._path = folder / (f"index-{rank}.jsonl" if rank else INDEX)
        self._head = _line({"source": source, "pairs": n_pairs})
        self.entries: dict[int, Entry] = {}
        self._sound = self._read(n_pairs)

    def add(self, pair: int, entry: Entry) -> None:
        """On the disk when this returns."""
        self.entries[pair] = entry
        sound, self._sound = self._sound, False  # what is written in part is not sound
        if sound:
            with self._path.open("ab") as stream:
                stream.write(_told(pair, entry))
                stream.flush()
                os.fsync(stream.fileno())
        else:
            with replace_atomically(self._path) as partial:
                partial.write_bytes(self._head + b"".join(_told(*one) for one in self.entries.items()))
        self._sound = True

    def _read(self, n_pairs: int) -> bool:
        """Whether the file is as this class writes it, so that lines may be appended."""
        try:
            head, *lines = self._path.read_bytes().splitlines(keepends=True)
        except (OSError, ValueError):
            return False
        if head != self._head:
            return False
        for line in lines:
            try:
                told = json.loads(line)
                pair, entry = int(told["pair"]), Entry(float(told["difficulty"]), str(told["sha256"]))
                if line == _told(pair, entry) and 0 <= pair < n_pairs:
                    self.entries[pair] = entry
            except Exception:  # json raises many types on damaged bytes
                continue
        return b"".join([head, *(_told(*one) for one in self.entries.items())]) == b"".join([head, *lines])


def recorded(folder: Path, source: str, n_pairs: int) -> list[tuple[int, Entry]]:
    """The labels that the indices of all processes name; a pair may be named twice."""
    ranks = (path.stem.removeprefix("index").removeprefix("-") for path in sorted(folder.glob("index*.jsonl")))
    indices = [LabelIndex(folder, source, n_pairs, int(rank or 0)) for rank in ranks if rank.isdigit() or not rank]
    return [named for index in indices for named in index.entries.items()]


def _told(pair: int, entry: Entry) -> bytes:
    return _line({"pair": pair, **entry._asdict()})


def _line(values: dict[str, object]) -> bytes:
    """JSON; with the CRC-32 of the line without it."""
    told = json.dumps(values)
    return json.dumps(values | {"crc32": zlib.crc32(told.encode())}).encode() + b"\n"
