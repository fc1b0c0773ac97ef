"""Small valid files of every kind that the program reads."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cst_core.config import Resolved, TrainConfig, to_toml
from cst_core.field import Grid
from cst_core.label_index import INDEX
from cst_core.labels import PseudoLabels
from cst_core.manifest import Origin
from cst_core.models import save_model
from cst_core.plugins import load
from cst_core.snapshots import Snapshot, save_snapshot
from cst_core.transform import Transform, WorldAffine, WorldField
from cst_core.transforms_io import write_transform
from cst_points.formats import WRITERS

GRID = Grid.of((6, 4, 4), (1.5, 2.0, 3.0))
MOVING = Grid.of((4, 4, 6), (2.0, 2.0, 2.0))
Seeds = dict[str, list[bytes]]


def nifti() -> Seeds:
    """Scans and label maps, NIfTI-1 and 2, plain and compressed."""
    values = np.arange(96, dtype=np.int16).reshape(6, 4, 4)
    affine = GRID.affine.numpy()
    images = [
        nibabel.Nifti1Image(values, affine),
        nibabel.Nifti1Image(values.astype(np.float32) / 7, affine),
        nibabel.Nifti2Image((values % 3).astype(np.uint8), affine),
        nibabel.Nifti1Image(values[..., None], affine),
    ]
    images[0].header.set_slope_inter(2.0, -5.0)
    return {
        "v.nii": [image.to_bytes() for image in images],
        "v.nii.gz": [_written(".nii.gz", lambda path, image=image: nibabel.save(image, path)) for image in images],
    }


def transforms() -> Seeds:
    """A field, an affine map or both in every format."""
    generator = torch.Generator().manual_seed(0)
    field = WorldField(torch.randn(3, *GRID.shape, generator=generator), GRID)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3] += 0.1 * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    affine = WorldAffine(matrix)
    kinds = {
        "u.nii": [("itk", field), ("learn2reg", field), ("fsl", field), ("niftyreg", field)],
        "u.nii.gz": [("itk", field), ("learn2reg", field), ("fsl", field), ("niftyreg", field)],
        "u.nrrd": [("itk", field)],
        "u.mha": [("itk", field)],
        "u.npz": [("learn2reg-npz", field)],
        "u.tfm": [("itk", affine), ("itk-composite", affine)],
        "u.mat": [("itk", affine)],
        "u.h5": [("itk-composite", affine), ("itk-composite", field)],
    }
    return {name: [_transform(name[1:], *one) for one in made] for name, made in kinds.items()}


def _transform(ending: str, kind: str, part: WorldField | WorldAffine) -> bytes:
    return _written(ending, lambda path: write_transform(Transform((part,)), path, kind, GRID, MOVING))


def clouds() -> Seeds:
    """Clouds in every format of our own readers."""
    points = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    made = {f"c{ending}": [encode(points)] for ending, encode in WRITERS.items()}
    rows = "\n".join(" ".join(map(str, row)) for row in points.tolist())
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    made["c.ply"].append(f"ply\nformat ascii 1.0\nelement vertex 6\n{properties}end_header\n{rows}\n".encode())
    made["c.vtk"].append(f"# vtk DataFile Version 3.0\nt\nASCII\nDATASET POLYDATA\nPOINTS 6 float\n{rows}\n".encode())
    return made


def tables() -> Seeds:
    """Text that people write."""
    rows = "1.5,-2,3e1\n4,5,6\n"
    header = "fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n"
    return {
        "points": [f"x,y,z\n{rows}".encode()],
        "landmarks": [f"{header}1,2,3,4,5,6\n-1,0.5,2,1e2,3,4\n".encode()],
        "pairs": [
            b"id,fixed,moving\na,f.nii.gz,m.nii.gz\nb,g.nii,h.nii\n",
            b'id,fixed,moving,landmarks\n"a, 1",f.csv,m.csv,l.csv\n',
        ],
        "set": [b"stages=3", b"train.learning_rate=1e-3", b"features=64", b"drops=[0.5, 0.9]", b"schedule=step"],
    }


def records() -> Seeds:
    """What runs and registrations say of themselves, and descriptions of data."""
    origin = Origin("points", "quick", "phantom", "0" * 64, None, 0, "cpu", 3, 2)
    events = [
        {"time": "t", "kind": "label", "stage": 1, "done": 1, "total": 2, "value": 1.5},
        {"time": "t", "kind": "step", "stage": 1, "done": 20, "total": 40, "value": 1.5, "learning_rate": 1e-3},
        {"time": "t", "kind": "evaluation", "stage": 0, "mean": {"tre_mm": 2.5}, "initial": {"tre_mm": 4.0}},
    ]
    figures = {"id": "p", "tre_mm": 1.5, "dice": None}
    whole = {"format": "cst-registration-1", "files": {"field": "u.nii.gz"}, "inputs": {"fixed": {"path": "f"}}}
    result = {"backend": "points", "model": "random", "fingerprint": "0", "pairs": [figures]}
    pair = {"fixed": "./imagesTr/a_0000.nii.gz", "moving": "./imagesTr/b_0000.nii.gz"}
    dataset = {"name": "n", "modality": {"0": "CT"}, "labels": {"0": "b", "1": "liver"}, "registration_val": [pair]}
    config = load("points").config_class()
    return {
        "manifest": [_json({"cst": "0", "origin": asdict(origin), "resumed": [], "status": "running"})],
        "log": [b"".join(_json(event) + b"\n" for event in events)],
        "configuration": [to_toml("points", Resolved(TrainConfig(), config, "quick")).encode()],
        "register": [_json(whole)],
        "comparison": [_json(result)],
        "dataset": [_json(dataset)],
        "crop": [_json({"origin": [0, 1.5, 2], "half_extent": [10, 20, 30.5], "axes": ["R", "A", "S"]})],
    }


SMALL: Mapping[str, Mapping[str, Any]] = {
    "points": {"features": 2},
    "image": {"channels": (2, 2, 2, 2, 2), "features": 2},
}
"""The smallest networks of both backends."""


def models() -> Seeds:
    """Weights as ``cst train`` writes them, and their metadata alone."""
    made = Seeds()
    for name in SMALL:
        metadata = parts_of_model(name)[1]
        made[name] = [_model(name)]
        made |= {f"{name} {key}": [metadata[key].encode()] for key in ("config", "about")}
    return made


def _network(name: str) -> tuple[dict[str, Any], torch.nn.Module]:
    plugin = load(name)
    config = plugin.config_class(**SMALL[name])
    return config.model_dump(mode="json"), plugin.backend(config, "cpu").new_network(0)


def _model(name: str) -> bytes:
    told, network = _network(name)
    about = {"trained_on": "the built-in phantom", "figures": {"tre_mm": 2.5}}
    return _written(".safetensors", lambda path: save_model(path, network, name, told, about))


@cache
def parts_of_model(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a backend's smallest weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.safetensors")
        path.write_bytes(_model(name))
        with safe_open(path, "pt") as stream:
            names = _network(name)[1].state_dict()  # in this order the checksum takes them
            return {name: stream.get_tensor(name) for name in names}, dict(stream.metadata())


def sign(path: Path, name: str, changes: Mapping[str, str]) -> None:
    """Write a backend's weights with changed metadata, and a checksum that fits them."""
    tensors, metadata = parts_of_model(name)
    metadata = metadata | dict(changes)
    digest = hashlib.sha256()
    for key, tensor in tensors.items():
        digest.update(key.encode() + tensor.numpy().tobytes())
    told = json.dumps([metadata[key] for key in ("format", "cst", "backend", "config", "about")])
    metadata["sha256"] = hashlib.sha256((told + digest.hexdigest()).encode()).hexdigest()
    save_file(tensors, path, metadata)


def training() -> Seeds:
    """What a run keeps to go on from, and the released keypoints."""
    network = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    adam.step()
    snapshot = Snapshot(1, 25, None, network.state_dict(), adam.state_dict())
    with tempfile.TemporaryDirectory() as name:
        labels = PseudoLabels(2, Path(name), "s")
        for pair in (0, 1):
            labels.put(pair, torch.ones(3, 5), 1.0)
        index, field = (Path(name, file).read_bytes() for file in (INDEX, "000000.npy"))
    stream, truth = io.BytesIO(), io.BytesIO()
    torch.save({name: torch.rand(1, 4, 3) for name in ("lm_copd_exh", "lm_copd_insp")}, truth)
    clouds = {"kpts_fix": [torch.rand(5, 3)], "kpts_mov": [torch.rand(6, 3)]}
    torch.save({"copd": clouds, "4dct": clouds, "l2r": {"train": clouds}}, stream)
    return {
        "snapshot": [_written(".pt", lambda path: save_snapshot(snapshot, path, path.with_name("none")))],
        "index": [index],
        "field": [field],
        "release": [stream.getvalue()],
        "truth": [truth.getvalue()],
    }


def _written(ending: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, f"x{ending}")
        write(path)
        return path.read_bytes()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
