"""Every reader of files from outside, with valid files to damage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.fuzz.seeds import (
    GRID,
    MOVING,
    SMALL,
    clouds,
    models,
    nifti,
    records,
    sign,
    tables,
    training,
    transforms,
)
from cst_core.comparison import read_result as read_comparison
from cst_core.config import TrainConfig, resolve
from cst_core.errors import CstError
from cst_core.eventlog import EventLog
from cst_core.formats.landmark_files import read_landmarks as read_core_landmarks
from cst_core.formats.nifti import read_volume as read_nifti
from cst_core.formats.pair_list import read_pairs
from cst_core.formats.point_list import read_points
from cst_core.label_index import INDEX, Entry, LabelIndex
from cst_core.labels import PseudoLabels
from cst_core.manifest import read_manifest
from cst_core.models import load_model
from cst_core.plugins import load
from cst_core.register import read_result
from cst_core.report.result_folder import ResultFolder
from cst_core.report.run_log import read_log
from cst_core.report.volume_file import read_header, read_vectors
from cst_core.report.volume_file import read_volume as read_reported
from cst_core.snapshots import load_snapshot
from cst_core.transforms_io import read_transform
from cst_image.description import find_description
from cst_image.scan import inspect, read_labels, read_mask
from cst_image.scan import read_volume as read_scan_volume
from cst_points.case_folder import read_crop
from cst_points.formats import read_cloud, read_landmarks
from cst_points.release import read_release
from cst_points.scan import read_scan

SLOW = (".h5", ".nrrd", ".mha")
"""Read by a process of their own first, `cst_core.formats.itk_trial`."""
_LANDMARKS = "copd_converted_lms.pth"


class Reader(NamedTuple):
    """One way into the program."""

    name: str
    file: str
    """What the damaged file is called: many readers go by its end."""
    seeds: Sequence[bytes]
    """Valid files."""
    read: Callable[[Path], object]
    """Reads the damaged file; may raise nothing but `cst_core.errors.CstError`."""
    beside: Mapping[str, bytes] = MappingProxyType({})
    """Whole files that it needs in the same folder."""
    share: float = 1.0
    """Of inputs: fewer for readers that take long."""


def readers() -> list[Reader]:
    """All of them; the seeds are made anew, the same in every call."""
    config = load("points").config_class
    tables_, records_, models_, training_ = tables(), records(), models(), training()
    made = [Reader("nifti volume", name, seeds, _volumes, share=0.5) for name, seeds in nifti().items()]
    made += [
        Reader(f"transform {name}", name, seeds, _transform, share=0.02 if name.endswith(SLOW) else 1.0)
        for name, seeds in transforms().items()
    ]
    made += [Reader(f"report {name}", name, seeds, _reported) for name, seeds in transforms().items() if ".nii" in name]
    made += [Reader(f"cloud {name}", name, seeds, read_cloud) for name, seeds in clouds().items()]
    made += [
        Reader("points csv", "p.csv", tables_["points"], read_points),
        Reader("landmarks csv", "l.csv", tables_["landmarks"], read_core_landmarks),
        Reader("landmarks csv, clouds", "l.csv", tables_["landmarks"], read_landmarks),
        Reader("pair list", "pairs.csv", tables_["pairs"], read_pairs),
        Reader("configuration", "c.toml", records_["configuration"], lambda path: _configuration(path, config)),
        Reader("--set", "set.txt", tables_["set"], lambda path: _assignment(path, config)),
        Reader("manifest", "manifest.json", records_["manifest"], lambda path: read_manifest(path.parent)),
        Reader("log", "log.jsonl", records_["log"], lambda path: EventLog(path).evaluations()),
        Reader("log, report", "log.jsonl", records_["log"], read_log),
        Reader("dataset json", "dataset.json", records_["dataset"], lambda path: find_description(path.parent)),
        Reader("register.json", "register.json", records_["register"], lambda path: read_result(path.parent)),
        Reader(
            "register.json, report", "register.json", records_["register"], lambda path: ResultFolder.read(path.parent)
        ),
        Reader("comparison", "r.json", records_["comparison"], lambda path: read_comparison(path, "points")),
        Reader("crop json", "crop.json", records_["crop"], read_crop),
        Reader("resume.pt", "resume.pt", training_["snapshot"], _snapshot),
        Reader("label index", INDEX, training_["index"], _label_index, {"000000.npy": training_["field"][0]}),
        Reader("label field", "000000.npy", training_["field"], _label_field),
        Reader("keypoint release", "data.pth", training_["release"], _release, {_LANDMARKS: training_["truth"][0]}),
        Reader("release landmarks", _LANDMARKS, training_["truth"], _release, {"data.pth": training_["release"][0]}),
    ]
    for name in SMALL:
        whole, signed = partial(_model, backend=name), partial(_signed, backend=name)
        made += [
            Reader(f"weights {name}", "w.safetensors", models_[name], whole, share=0.1),
            Reader(f"weights {name}, config", "config.json", models_[f"{name} config"], signed, share=0.1),
            Reader(f"weights {name}, about", "about.json", models_[f"{name} about"], signed, share=0.1),
        ]
    return made


def _volumes(path: Path) -> None:
    """Each of the four ways a scan is read; the first that succeeds does not excuse the others."""
    header = _quietly(lambda: inspect(path))
    for read in (read_nifti, read_scan_volume, read_scan):
        _quietly(lambda read=read: read(path))
    if header is not None:
        _quietly(lambda: read_labels(path, header))
        _quietly(lambda: read_mask(path, header))
    _reported(path)


def _reported(path: Path) -> None:
    header = _quietly(lambda: read_header(path))
    if header is not None and len(header.shape) == 3:
        _quietly(lambda: read_reported(path, (1, 1, 1), "mean"))
        _quietly(lambda: read_vectors(path, (1, 1, 1)))
    read_header(path)


def _quietly(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except CstError:
        return None


def _transform(path: Path) -> object:
    return read_transform(path, GRID, MOVING)


def _configuration(path: Path, config: type) -> object:
    return resolve("points", config, "quick", ({}, {}), path)


def _assignment(path: Path, config: type) -> object:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    resolved = resolve("points", config, "quick", ({}, {}), None, [text])
    assert isinstance(resolved.train, TrainConfig)
    return resolved


def _model(path: Path, backend: str) -> object:
    return load_model(path, load(backend), "cpu")


def _signed(path: Path, backend: str) -> object:
    """Weights with a checksum that fits their damaged metadata: as somebody would make them who means harm."""
    text = path.read_bytes().decode("utf-8", "replace")
    model = path.with_name("signed.safetensors")
    sign(model, backend, {path.stem: text})
    try:
        return load_model(model, load(backend), "cpu")
    except CstError as error:
        raise type(error)(str(error).replace(model.name, path.name)) from error
    finally:
        model.unlink()


def _snapshot(path: Path) -> object:
    return load_snapshot(path, path.with_name("none"))


def _release(path: Path) -> object:
    return read_release(path.parent)


def _label_index(path: Path) -> object:
    return PseudoLabels(2, path.parent, "s").missing


def _label_field(path: Path) -> object:
    """With a checksum that fits: as somebody would make it who means harm."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    beside = path.with_name(INDEX)
    LabelIndex(path.parent, "s", 1).add(0, Entry(1.0, digest))
    try:
        return PseudoLabels(1, path.parent, "s").missing
    finally:
        beside.unlink()
