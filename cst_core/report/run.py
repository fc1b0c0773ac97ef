"""The report of a training run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cst_core.errors import DataError
from cst_core.manifest import MANIFEST, read_manifest
from cst_core.report.page import picture_uri, write_page
from cst_core.report.run_figures import (
    difficulty_charts,
    label_chart,
    label_rows,
    loss_chart,
    measure_of,
    pair_rows,
    stage_chart,
    stage_rows,
    verdict,
)
from cst_core.report.run_log import RunLog, read_log

PICTURES = 6  # at most, so that the file stays small
_STATUS = {
    "running": "The run is not finished (or its process was killed): this shows what there is so far.",
    "interrupted": "The run was interrupted: this shows what there is. It goes on with cst train --resume.",
    "failed": "The run ended with an error: this shows what there is.",
}


def write_run_report(run: Path, out: Path) -> None:
    """Write the report of a run folder, finished or not, to ``out``.

    Raises:
        DataError: there is no such folder, or it holds no run.
        CheckpointError: its manifest is damaged.
        CstError: ``out`` cannot be written.
    """
    if not (run / MANIFEST).exists():
        raise DataError(f"{run}: is no run folder (no {MANIFEST}); give a folder that cst train --out has made")
    manifest = read_manifest(run)
    log = read_log(run / "log.jsonl")
    notes: list[str] = []
    config = _config(run / "config.toml", notes)
    stages = config.get("train", {}).get("stages")
    if manifest["status"] in _STATUS:
        notes.insert(0, _STATUS[manifest["status"]])
    if stages and (log.stages or [0])[-1] < stages:
        done = (log.stages or [0])[-1]
        notes.append(f"{done} of {stages} stages are evaluated.")
    if log.damaged:
        notes.append(f"log.jsonl: {log.damaged} damaged line(s) left out.")
    write_page(out, "run.html.j2", _values(run, manifest, log, config, notes))


def _values(
    run: Path, manifest: Mapping[str, Any], log: RunLog, config: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    measure = measure_of(log)
    kind, said = verdict(log, measure)
    labels = label_rows(log)
    headings, rows = stage_rows(log)
    origin = manifest["origin"]
    pictures = _pictures(run / "figures", notes)
    return {
        "title": f"Training run {run.absolute().name}",
        "kind": kind,
        "verdict": said,
        "notes": notes,
        "measure": measure,
        "tiles": _tiles(log, manifest),
        "stage_chart": stage_chart(log, measure) if measure else "",
        "stage_headings": headings,
        "stage_rows": rows,
        "label_chart": label_chart(labels) if labels else "",
        "label_rows": labels,
        "first": log.first,
        "stage_names": [log.name(stage) for stage in log.stages],
        "loss_chart": loss_chart(log),
        "losses": log.losses,
        "loss_unit": log.loss_unit,
        "steps_a_stage": log.steps_a_stage,
        "difficulty": difficulty_charts(log),
        "pairs": pair_rows(log, measure) if measure else [],
        "pictures": pictures,
        "config": config,
        "origin": {
            "backend": origin["backend"],
            "preset": origin["preset"],
            "data": "the built-in phantom" if manifest.get("phantom") else origin["data"],
            "data fingerprint (SHA-256)": origin["fingerprint"],
            "fold": origin["fold"],
            "seed": origin["seed"],
            "training pairs": origin.get("n_train"),
            "test pairs": origin.get("n_test"),
        },
        "versions": {key: manifest.get(key) for key in ("cst", "python", "torch", "cuda", "numpy", "platform")}
        | {"device": f"{origin['device']} ({manifest.get('device_name', 'unknown')})"},
        "times": {
            "started": _moment(manifest.get("started")),
            "ended": _moment(manifest.get("ended")),
            "status": manifest.get("status"),
            "resumed": len(manifest.get("resumed", [])),
        },
        "command": " ".join(manifest.get("command", [])),
        "cst": manifest.get("cst", "unknown"),
    }


def _tiles(log: RunLog, manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(heading, large text, small text) of the figures that are seen first."""
    tiles = []
    measure = measure_of(log)
    if measure:
        stages = [s for s in log.stages if log.evaluations[s]["mean"].get(measure.key) is not None]
        last = log.evaluations[stages[-1]]
        before, after = last.get("initial", {}).get(measure.key), last["mean"][measure.key]
        d, unit = measure.digits, measure.unit
        arrow = f"{before:.{d}f} → {after:.{d}f}{unit}" if before is not None else f"{after:.{d}f}{unit}"
        tiles.append((measure.name, arrow, f"before registration, and after {log.name(stages[-1])}"))
        best = max(stages, key=lambda s: measure.gain(0.0, log.evaluations[s]["mean"][measure.key]))
        tiles.append(
            ("Best stage", log.name(best), f"{measure.name} {log.evaluations[best]['mean'][measure.key]:.{d}f}{unit}")
        )
        folding = last["mean"].get("folding_percent")
        if folding is not None:
            tiles.append(("Folding", f"{folding:.2f} %", "of the voxels (or sites), mean of the test pairs"))
    tiles.append(
        (
            "Pairs",
            f"{manifest['origin'].get('n_train', 0)} + {manifest['origin'].get('n_test', 0)}",
            "trained + test",
        )
    )
    if manifest.get("ended") and manifest.get("started"):
        length = datetime.fromisoformat(manifest["ended"]) - datetime.fromisoformat(manifest["started"])
        tiles.append(("Time", str(length).split(".")[0], "h:mm:ss from start to end"))
    return tiles


def _moment(time: str | None) -> str | None:
    return None if time is None else f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _config(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"config.toml cannot be read ({type(error).__name__}): the settings are not shown.")
        return {}


def _pictures(folder: Path, notes: list[str]) -> list[tuple[str, str]]:
    """(name, data URI) of the pictures in ``figures/``."""
    found = []
    files = sorted(folder.glob("*.png"))
    for path in files[:PICTURES]:
        try:
            found.append((path.stem.replace("_", " "), picture_uri(path)))
        except OSError as error:
            notes.append(f"figures/{path.name} cannot be read ({type(error).__name__}): not shown.")
    if len(files) > PICTURES:
        notes.append(f"{len(files) - PICTURES} more picture(s) in figures/ are not shown.")
    return found
