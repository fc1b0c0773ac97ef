"""Files from strangers run no code, write nowhere and take no memory that they do not fill."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import signal
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.fuzz.seeds import sign
from cst_core.config import TrainConfig, resolve
from cst_core.errors import CheckpointError, ConfigError, DataError
from cst_core.eventlog import EventLog
from cst_core.field import Grid
from cst_core.formats import itk_trial
from cst_core.formats.landmark_files import read_landmarks
from cst_core.formats.learn2reg import read_learn2reg_npz
from cst_core.formats.nifti import read_grid, read_volume
from cst_core.label_index import Entry, LabelIndex
from cst_core.labels import PseudoLabels
from cst_core.models import load_model, save_model
from cst_core.plugins import load
from cst_core.report.run_log import read_log
from cst_core.report.volume_file import read_header
from cst_core.snapshots import load_snapshot
from cst_core.transforms_io import read_transform
from cst_points.formats import read_cloud
from cst_points.release import read_release
from cst_points.scan import read_scan

GRID = Grid.of((4, 4, 4), (1.0, 1.0, 1.0))
_HEARD: list[str] = []
_LISTENING: list[bool] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _LISTENING:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    programs = ("os.system", "subprocess.Popen", "os.posix_spawn", "pickle.find_class", "os.mkdir", "os.remove", "exec")
    if (event in programs and event != "exec") or writes:
        _HEARD.append(f"{event} {arguments[:1]}")


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_hear)  # for good: there is no way to take one back


@contextmanager
def nothing_done() -> Iterator[None]:
    """No program is started, no file written, no folder made, no pickled name looked up."""
    _HEARD.clear()
    _LISTENING.append(True)
    try:
        yield
    finally:
        _LISTENING.clear()
    # what is imported for the first time is compiled and kept, and torch makes a folder for its own
    assert [heard for heard in _HEARD if not any(name in heard for name in ("__pycache__", "torchinductor"))] == []


class Bomb:
    """What a pickle of it would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self.mark}",)


def test_the_bomb_works(tmp_path: Path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def _pickled(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(mark)))


def _saved(path: Path, mark: Path) -> None:
    torch.save({"stage": 1, "network": Bomb(mark), "sha256": "0"}, path)


def _tar(path: Path, mark: Path) -> None:
    """torch's oldest format, which it would unpack into a folder."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle", f"../../{mark.name}", str(mark)):
            data = pickle.dumps(Bomb(mark))
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("make", [_pickled, _saved, _tar])
def test_pickles_are_not_run(tmp_path: Path, make: Callable[[Path, Path], None]):
    mark, folder = tmp_path / "mark", tmp_path / "in" / "folder"
    folder.mkdir(parents=True)
    for name in ("resume.pt", "data.pth", "w.safetensors"):
        make(folder / name, mark)
    with nothing_done():
        with pytest.raises(CheckpointError, match=r"resume\.pt: is damaged"):
            load_snapshot(folder / "resume.pt", folder / "none")
        with pytest.raises(DataError, match=r"data\.pth: cannot be loaded"):
            read_release(folder)
        with pytest.raises(CheckpointError, match=r"w\.safetensors: is damaged or no safetensors file"):
            load_model(folder / "w.safetensors", load("points"), "cpu")
    assert not mark.exists()


def test_arrays_of_objects_are_not_run(tmp_path: Path):
    mark = tmp_path / "mark"
    array = np.array([[Bomb(mark)] * 3], dtype=object)
    np.savez(tmp_path / "c.npz", points=array, arr_0=array)
    np.save(tmp_path / "000000.npy", array)
    digest = hashlib.sha256((tmp_path / "000000.npy").read_bytes()).hexdigest()
    LabelIndex(tmp_path, "s", 1).add(0, Entry(1.0, digest))
    with nothing_done():
        with pytest.raises(DataError, match=r"c\.npz"):
            read_cloud(tmp_path / "c.npz")
        with pytest.raises(DataError, match=r"c\.npz"):
            read_learn2reg_npz(tmp_path / "c.npz", GRID, GRID)
    assert PseudoLabels(1, tmp_path, "s").missing == [0]
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../../outside.npy", "/outside.npy", "..\\outside.npy"])
def test_archives_are_not_unpacked(tmp_path: Path, name: str):
    folder = tmp_path / "in" / "folder"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "c.npz", "w") as archive:
        stream = io.BytesIO()
        np.save(stream, np.ones((2, 3), np.float32))
        archive.writestr(name, stream.getvalue())
    with nothing_done():
        assert read_cloud(folder / "c.npz").shape == (2, 3)  # the only array, whatever it is called
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["c.npz", "folder", "in"]


def test_names_in_weights_are_not_paths(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    evil = "../../outside"
    sign(folder / "w.safetensors", "points", {"about": json.dumps({"trained_on": evil}), "cst": evil})
    with nothing_done():
        assert load_model(folder / "w.safetensors", load("points"), "cpu").about["trained_on"] == evil
    save_file({evil: torch.zeros(2), "/outside": torch.zeros(2)}, folder / "t.safetensors", {"format": evil})
    sign(folder / "b.safetensors", "points", {"backend": evil})
    with nothing_done():
        for name in ("t", "b"):
            with pytest.raises(CheckpointError):
                load_model(folder / f"{name}.safetensors", load("points"), "cpu")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *("b.safetensors", "in", "t.safetensors", "w.safetensors")
    ]


@pytest.mark.parametrize(
    ("backend", "settings"),
    [
        ("points", {"features": 4000, "towers": 256}),
        ("points", {"features": 10**15}),
        ("points", {"towers": 10**9}),
        ("image", {"channels": (4096,) * 5, "features": 4096}),
        ("image", {"channels": (0, 2, 2, 2, 2)}),
        ("image", {"channels": (2,) * 10**6, "strides": (1,) * 10**6}),
    ],
)
def test_weights_cannot_ask_for_a_huge_network(tmp_path: Path, backend: str, settings: dict[str, Any]):
    config = load(backend).config_class().model_dump(mode="json") | settings
    sign(tmp_path / "w.safetensors", backend, {"config": json.dumps(config)})
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=r"w\.safetensors: .*(do not fit|does not know)"):
        load_model(tmp_path / "w.safetensors", load(backend), "cpu")
    assert time.monotonic() - began < 20
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()


def test_what_weights_say_of_themselves_must_be_an_object(tmp_path: Path):
    for about in ("[]", "3", "null", "[" * 100_000):
        sign(tmp_path / "w.safetensors", "points", {"about": about})
        with pytest.raises(CheckpointError, match="does not know"):
            load_model(tmp_path / "w.safetensors", load("points"), "cpu")


def test_huge_header_of_weights(tmp_path: Path):
    for length in (2**40, 2**63, 50):
        (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b'{"a":')
        with pytest.raises(CheckpointError, match="damaged"):
            load_model(tmp_path / "w.safetensors", load("points"), "cpu")
    shape = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(shape).to_bytes(8, "little") + shape)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(tmp_path / "w.safetensors", load("points"), "cpu")


def _promising(path: Path, *size: int) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
    nibabel.save(image, path)
    data = bytearray(path.read_bytes() if path.suffix == ".nii" else gzip.decompress(path.read_bytes()))
    data[40:56] = np.array([3, *size, *[1] * (7 - len(size))], "<i2").tobytes()
    path.write_bytes(bytes(data) if path.suffix == ".nii" else gzip.compress(bytes(data)))


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("read", [read_grid, read_volume, read_scan, read_header, read_transform])
def test_volumes_larger_than_their_file(tmp_path: Path, name: str, read: Callable[[Path], Any]):
    """137 GB, if the header were believed."""
    _promising(tmp_path / name, 32767, 32767, 32)
    with pytest.raises(DataError, match=rf"{name}: voxels cannot be read \(the header promises 137430564992 bytes"):
        read(tmp_path / name)


def test_volumes_whose_axes_cannot_be_told_apart(tmp_path: Path):
    affine = np.diag([1e6, 1e-10, 1e3, 1.0])
    affine[0, 1] = 1e6  # almost the first axis
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), affine), tmp_path / "v.nii")
    for read in (read_grid, read_scan, read_header):
        with pytest.raises(DataError, match="every axis a voxel size"):
            read(tmp_path / "v.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2), np.float32), np.eye(4)), tmp_path / "w.nii")
    with pytest.raises(DataError, match="three axes"):
        read_header(tmp_path / "w.nii")


def test_learn2reg_archives(tmp_path: Path):
    path = tmp_path / "u.npz"
    np.savez_compressed(path, np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float16))
    data = bytearray(path.read_bytes())
    data[60:70] = b"\xff" * 10  # inside the deflate stream
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"u\.npz: no readable Learn2Reg file"):
        read_transform(path, GRID, GRID)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f2", "fortran_order": False, "shape": (3, 10**4, 10**4, 9)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("arr_0.npy", stream.getvalue())
    with pytest.raises(DataError, match="no readable Learn2Reg file"):
        read_transform(path, GRID, GRID)


def test_files_that_crash_itk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """With this number of axes MetaImage overruns its arrays."""
    path = tmp_path / "u.mha"
    path.write_text("ObjectType = Image\nNDims = 99999999999999999999\nDimSize = 6 4 4\nElementDataFile = LOCAL\n")
    monkeypatch.setattr(itk_trial, "SECONDS", 10.0)  # what it overruns may as well keep it in a loop
    with pytest.raises(DataError, match=r"u\.mha: (nothing that ITK reads, or a damaged file|ITK reads it for more)"):
        read_transform(path)
    monkeypatch.setattr(itk_trial, "PROGRAM", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(DataError, match=rf"whose reader crashes on it \(signal {int(signal.SIGSEGV)}\)"):
        read_transform(path)
    monkeypatch.setattr(itk_trial, "PROGRAM", "import time; print('noise'); time.sleep(60)")
    monkeypatch.setattr(itk_trial, "SECONDS", 1.0)
    with pytest.raises(DataError, match="for more than"):
        read_transform(path)
    assert capfd.readouterr() == ("", "")


def test_text_and_matlab_transforms_that_promise_more_than_they_hold(tmp_path: Path):
    head = "#Insight Transform File V1.0\n#Transform 0\nTransform: "
    sizes = "FixedParameters: 100000 100000 100 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1\n"
    (tmp_path / "u.tfm").write_text(f"{head}DisplacementFieldTransform_double_3_3\nParameters: 0\n{sizes}")
    (tmp_path / "u.mat").write_bytes(np.array([0, 2**30, 1, 0, 27], "<i4").tobytes() + b"AffineTransform_double_3_3\0")
    for name, said in (("u.tfm", "nothing that ITK reads"), ("u.mat", "promises more numbers than it holds")):
        with pytest.raises(DataError, match=f"{name}: {said}"):
            read_transform(tmp_path / name)
    (tmp_path / "b.tfm").write_bytes(f"{head}Transform\xff_double_3_3\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"b\.tfm: nothing that ITK reads"):
        read_transform(tmp_path / "b.tfm")


def test_a_field_of_one_voxel_is_read(tmp_path: Path):
    """Its array needs no turning, and was then ITK's own, which cannot be written to."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(np.array([[[[1.0, 2.0, 3.0]]]], np.float32), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "u.mha"))
    (field,) = read_transform(tmp_path / "u.mha").parts
    assert field.vectors.flatten().tolist() == [-1.0, -2.0, 3.0]


def test_damaged_lines_of_a_log_are_left_out(tmp_path: Path):
    good = {"kind": "evaluation", "stage": 0, "mean": {"tre_mm": 2.0}, "initial": {"tre_mm": 4.0}}
    bad = [
        *('{"kind": "evaluation", "stage": 1}', '{"kind": "evaluation", "stage": [], "mean": {}, "initial": {}}'),
        *(
            '{"kind": "step", "stage": 1}',
            '{"kind": "step", "stage": 1e999, "done": 1}',
            "[" * 100_000,
            "5",
            "[]",
            "\0",
        ),
        *('{"kind": "label", "stage": 1, "done": 2}', '{"kind": "evaluation", "stage": 2, "mean": {"tre_mm": "x"}}'),
    ]
    (tmp_path / "log.jsonl").write_text("\n".join([*bad, json.dumps(good)]) + "\n")
    assert EventLog(tmp_path / "log.jsonl").evaluations() == {0: good}
    log = read_log(tmp_path / "log.jsonl")
    assert (log.stages, log.losses, log.damaged) == ([0], [], 8)


def test_csv_fields_without_end(tmp_path: Path):
    path = tmp_path / "l.csv"
    path.write_text('fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n"' + "1," * 100_000)
    with pytest.raises(DataError, match=r"l\.csv: must be a CSV file"):
        read_landmarks(path)


@pytest.mark.parametrize("text", ["a\nb", "no\nsuch=1", "\udcff=1", "features=" + "[" * 10_000, "x" * 10_000])
def test_settings_are_refused_in_one_line(text: str):
    config = load("points").config_class
    with pytest.raises(ConfigError) as caught:
        resolve("points", config, "quick", ({}, {}), None, [text])
    said = str(caught.value)
    assert said.encode().isascii() or "…" in said
    assert len(said.splitlines()) == 1
    assert len(said) < 2500
    assert TrainConfig().stages == 8


def test_label_files_that_are_no_labels(tmp_path: Path):
    """With a checksum that fits."""
    for data in (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f2',", b"", _array(np.zeros((4, 3), np.float32))):
        (tmp_path / "000000.npy").write_bytes(data)
        LabelIndex(tmp_path, "s", 1).add(0, Entry(1.0, hashlib.sha256(data).hexdigest()))
        assert PseudoLabels(1, tmp_path, "s").missing == [0]


def _array(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def test_backends_that_know_no_meta_device_are_believed(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = toy.config_class()
    network = toy.backend(config, "cpu").new_network(3)
    save_model(tmp_path / "w.safetensors", network, "toy", config.model_dump(mode="json"), {})
    made, whole = [], type(toy).backend

    def only_cpu(self: Any, config: Any, device: str) -> Any:
        made.append(device)
        if device != "cpu":
            raise ValueError(device)
        return whole(self, config, device)

    monkeypatch.setattr(type(toy), "backend", only_cpu)
    assert load_model(tmp_path / "w.safetensors", toy, "cpu").file is not None
    assert made == ["meta", "cpu"]
