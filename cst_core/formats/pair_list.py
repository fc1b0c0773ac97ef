"""The pairs of a batch: a CSV file, or a folder whose files are named after their pair."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cst_core.errors import DataError
from cst_core.register import INPUTS

_NEEDED = ("id", "fixed", "moving")


class Listed(NamedTuple):
    """One pair of a batch: its name, and its files by their names in `cst_core.register.INPUTS`."""

    id: str
    paths: Mapping[str, Path | None]


def read_pairs(source: Path) -> list[Listed]:
    """What ``--pairs`` names.

    A CSV file has a header with the columns id, fixed and moving, and any of fixed_mask, moving_mask, fixed_labels,
    moving_labels and landmarks; its paths are relative to the file, an empty cell is a file that is not there. In a
    folder the files of a pair are ``<id>_fixed.*`` and ``<id>_moving.*``, and if there are any ``<id>_fixed_mask.*``,
    ``<id>_moving_labels.*``, ``<id>_landmarks.csv`` and so on.

    Raises:
        DataError: it cannot be read, a column is missing or unknown, or ids are missing, doubled or no folder names.
    """
    if source.is_dir():
        pairs = _of_folder(source)
    elif source.is_file():
        pairs = _of_csv(source)
    else:
        raise DataError(f"--pairs {source}: no such file or folder; check the path")
    if not pairs:
        raise DataError(f"--pairs {source}: holds no pair; see cst register --help for the form")
    seen = set[str]()
    for id, _ in pairs:
        if not id or id.startswith(".") or "/" in id or "\0" in id:
            raise DataError(f"--pairs {source}: an id names a folder of results, found {id!r}; choose another")
        if id in seen:
            raise DataError(f"--pairs {source}: ids must differ, found {id!r} twice; rename one")
        seen.add(id)
    return pairs


def _of_csv(path: Path) -> list[Listed]:
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: must be a CSV file ({error}); save it again") from None
    header = [word.strip() for word in rows[0]] if rows else []
    missing, unknown = [n for n in _NEEDED if n not in header], [n for n in header if n not in ("id", *INPUTS)]
    if missing or unknown or len(set(header)) < len(header):
        raise DataError(
            f"{path}: the first line must name the columns {','.join(_NEEDED)} and any of {','.join(INPUTS[2:])}, "
            f"found {','.join(header)[:80]!r}; correct it"
        )
    pairs = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(word.strip() for word in row):
            continue
        if len(row) != len(header):
            raise DataError(f"{path}: row {line} must have {len(header)} columns, found {len(row)}; correct it")
        cells = {name: word.strip() for name, word in zip(header, row, strict=True)}
        if not all(cells[name] for name in _NEEDED):
            raise DataError(f"{path}: row {line} must name id, fixed and moving; complete it")
        paths = {name: path.parent / word if (word := cells.get(name)) else None for name in INPUTS}
        pairs.append(Listed(cells["id"], paths))
    return pairs


def _of_folder(folder: Path) -> list[Listed]:
    found: dict[str, dict[str, Path | None]] = {}
    for path in sorted(folder.iterdir()):
        stem = path.name.partition(".")[0]
        # "_fixed_mask" before "_fixed": the longest ending counts
        kind = next((name for name in sorted(INPUTS, key=len, reverse=True) if stem.endswith(f"_{name}")), None)
        if kind is None or not path.is_file():
            continue
        files = found.setdefault(stem.removesuffix(f"_{kind}"), dict.fromkeys(INPUTS))
        if files[kind] is not None:
            raise DataError(f"{path}: {files[kind]} is the same file of the same pair; remove one of the two")
        files[kind] = path
    for id, files in found.items():
        for name in ("fixed", "moving"):
            if files[name] is None:
                raise DataError(f"{folder}: the pair {id!r} has no file {id}_{name}.*; add it")
    return [Listed(id, files) for id, files in found.items()]
