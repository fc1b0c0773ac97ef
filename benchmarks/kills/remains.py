"""What a killed run has left: where it stood, its weights, and whether every file is whole under its name."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cst_core.errors import CstError
from cst_core.models import load_model
from cst_core.plugin import BackendPlugin
from cst_core.snapshots import load_snapshot


def weights(run: Path) -> dict[str, str]:
    """SHA-256 of the tensors in all weights files; these also hold figures, of which seconds differ."""
    found = dict[str, str]()
    for file in sorted(run.glob("stage-*.safetensors")):
        data = file.read_bytes()
        header = 8 + int.from_bytes(data[:8], "little")
        found[file.name] = hashlib.sha256(data[header:]).hexdigest()
    return found


def log_lines(run: Path) -> list[bytes]:
    """Of ``log.jsonl``."""
    try:
        return (run / "log.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []


def place(run: Path) -> str:
    """Where a run stood when it was killed, by the last whole line of its log."""
    for line in reversed(log_lines(run)):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        return f"stage {event['stage']}, after a {event['kind']}"
    return "begun" if (run / "manifest.json").exists() else "before it began"


def unsound(run: Path, plugin: BackendPlugin[Any]) -> list[str]:
    """Files of a run folder that are not whole, or that nobody knows, a line each.

    Hidden files and folders are those that are being written or removed; ``log.jsonl`` and TensorBoard's files only
    grow, so that their last record may be cut.
    """
    found = []
    for file in sorted(run.rglob("*")):
        parts = file.relative_to(run).parts
        if not file.is_file() or any(part.startswith(".") for part in parts):
            continue
        name = "/".join(parts)
        check = next((check for pattern, check in _checks(plugin).items() if file.match(pattern)), None)
        if check is None:
            found.append(f"{name}: is no file of a run")
            continue
        try:
            check(file)
        except (CstError, ValueError, OSError, EOFError, KeyError) as error:
            found.append(f"{name}: {' '.join(str(error).split())[:200]}")
    return found


def leftovers(run: Path) -> list[str]:
    """Hidden files of a run that has ended, but for its lock."""
    return [f"{file.name}: is left" for file in run.rglob(".*") if file.name != ".lock"]


def _checks(plugin: BackendPlugin[Any]) -> Mapping[str, Callable[[Path], object]]:
    return {
        "manifest.json": lambda file: json.loads(file.read_bytes()),
        "config.toml": lambda file: tomllib.loads(file.read_text()),
        "resume*.pt": lambda file: load_snapshot(file, file.with_suffix(".none")),
        "stage-*.safetensors": lambda file: load_model(file, plugin, "cpu"),
        "labels/*/index*.jsonl": _index,
        "labels/*/*.npy": lambda file: np.load(io.BytesIO(file.read_bytes())),
        "log.jsonl": lambda file: [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]],
        "figures/*.png": lambda file: _ends(file, (b"IEND\xaeB`\x82", b"")[plugin.name == "toy"]),
        "report.html": lambda file: _ends(file, b"</html>"),
        "tensorboard/events.out.tfevents.*": lambda _: None,
    }


def _index(file: Path) -> None:
    """Every label that is named in a whole line is there, with its checksum."""
    _, *lines = file.read_bytes().split(b"\n")[:-1]
    for told in map(json.loads, lines):
        if hashlib.sha256((file.parent / f"{told['pair']:06d}.npy").read_bytes()).hexdigest() != told["sha256"]:
            raise ValueError(f"another checksum than that of label {told['pair']}")


def _ends(file: Path, mark: bytes) -> None:
    if not file.read_bytes().endswith(mark) or not file.stat().st_size:
        raise ValueError(f"does not end with {mark!r}")
