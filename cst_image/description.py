"""What a ``*_dataset.json`` in Learn2Reg's form says of a folder of scans."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cst_core.errors import DataError

_TEST_LISTS = ("registration_val", "registration_test")
_TRAIN_LIST = "training_paired_images"


class Description(NamedTuple):
    """Of a data set; what the file does not say is empty."""

    path: Path
    name: str = ""
    modalities: tuple[str, ...] = ()
    label_names: Mapping[int, str] | None = None
    """By the values of the label maps, background left out."""
    test_pairs: tuple[tuple[str, str], ...] = ()
    """File names of fixed and moving scan: the lists ``registration_val`` and ``registration_test``."""
    train_pairs: tuple[tuple[str, str], ...] = ()
    """The same for ``training_paired_images``, of data sets whose pairs show one person each."""


def find_description(folder: Path) -> Description | None:
    """Read ``dataset.json`` or ``<name>_dataset.json``, if the folder has one.

    Raises:
        DataError: more than one, or one that is not what Learn2Reg writes.
    """
    found = sorted(path for path in folder.glob("*dataset.json") if not path.name.startswith("."))
    if len(found) > 1:
        raise DataError(f"{found[1]}: one description a folder, found also {found[0].name}; remove one")
    return _read(found[0]) if found else None


def _read(path: Path) -> Description:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be JSON ({type(error).__name__}); write or copy it again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be a JSON object, found {type(content).__name__}; write or copy it again")
    modality = content.get("modality", {})
    return Description(
        path,
        name=str(content.get("name", "")),
        modalities=tuple(str(value) for value in modality.values()) if isinstance(modality, dict) else (),
        label_names=_label_names(content.get("labels")),
        test_pairs=tuple(pair for key in _TEST_LISTS for pair in _pairs(path, content, key)),
        train_pairs=_pairs(path, content, _TRAIN_LIST),
    )


def _label_names(labels: Any) -> dict[int, str] | None:
    if not isinstance(labels, dict) or not all(str(key).isdecimal() for key in labels):
        return None
    return {int(key): str(name) for key, name in labels.items() if int(key) != 0} or None


def _pairs(path: Path, content: dict[str, Any], key: str) -> tuple[tuple[str, str], ...]:
    listed = content.get(key) or []
    pairs = []
    for entry in listed if isinstance(listed, list) else [listed]:
        names = [entry.get(part) for part in ("fixed", "moving")] if isinstance(entry, dict) else [None]
        if not all(isinstance(name, str) and name for name in names):
            raise DataError(f"{path}: '{key}' must list fixed and moving files, found {str(entry)[:60]}; correct it")
        fixed, moving = (Path(str(name)).name for name in names)
        if fixed == moving:
            raise DataError(f"{path}: '{key}' must pair two scans, found {fixed} twice; correct it")
        pairs.append((fixed, moving))
    return tuple(dict.fromkeys(pairs))
