from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cst_core.errors import CheckpointError
from cst_core.models import load_model, save_model
from cst_core.training import weights_digest

ABOUT = {"trained_on": "the built-in phantom", "figures": {"tre_mm": 2.5}}


@pytest.fixture
def file(toy, tmp_path: Path) -> Path:
    config = toy.config_class(sharpness=7.0)
    network = toy.backend(config, "cpu").new_network(3)
    network[1].running_mean += 1.0  # a buffer, not a parameter
    save_model(tmp_path / "w.safetensors", network, "toy", config.model_dump(mode="json"), ABOUT)
    return tmp_path / "w.safetensors"


def rewritten(file: Path, **changes: str) -> Path:
    with safe_open(file, "pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        metadata = stream.metadata() | changes
    save_file(tensors, file, metadata)
    return file


def test_stored_in_half_precision_only_what_it_holds_exactly(toy, tmp_path: Path):
    config = toy.config_class()
    network, told = toy.backend(config, "cpu").new_network(3), config.model_dump(mode="json")
    with pytest.raises(ValueError, match="round it first"):
        save_model(tmp_path / "w.safetensors", network, "toy", told, ABOUT, stored=torch.float16)
    network = network.half().float()
    save_model(tmp_path / "w.safetensors", network, "toy", told, ABOUT, stored=torch.float16)
    with safe_open(tmp_path / "w.safetensors", "pt") as stream:
        assert stream.get_tensor("0.weight").dtype == torch.float16
        assert stream.get_tensor("1.num_batches_tracked").dtype == torch.int64  # counts are left alone
    loaded = load_model(tmp_path / "w.safetensors", toy, "cpu").network.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())
    assert all(value.dtype == network.state_dict()[name].dtype for name, value in loaded.items())


def test_round_trip(toy, file: Path):
    model = load_model(file, toy, "cpu")
    assert model.config.sharpness == model.backend.config.sharpness == 7.0
    expected = model.backend.new_network(3).state_dict() | {"1.running_mean": torch.ones(8)}
    assert all(torch.equal(value, expected[name]) for name, value in model.network.state_dict().items())
    assert not model.network.training
    assert dict(model.about) == ABOUT
    assert model.file == file
    assert "phantom" in model.description


def test_random_is_the_untrained_network(toy):
    model = load_model("random", toy, "cpu")
    assert weights_digest(model.network) == weights_digest(toy.untrained(model.backend, 0))
    assert model.config == toy.config_class()
    assert model.file is None
    assert not model.network.training


def test_run_folder_means_its_last_stage(toy, file: Path, tmp_path: Path):
    for stage in ("09", "10", "100"):
        (tmp_path / f"stage-{stage}.safetensors").write_bytes(file.read_bytes())
    assert load_model(tmp_path, toy, "cpu").file == tmp_path / "stage-100.safetensors"
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no finished stage.*--resume"):
        load_model(tmp_path / "empty", toy, "cpu")


def test_shipped_name_comes_before_a_folder(toy, file: Path, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(type(toy), "shipped", lambda _: {"lung": file})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lung").mkdir()
    assert load_model("lung", toy, "cpu").file == file
    with pytest.raises(CheckpointError, match=r"nothing: no such.*\(lung, random\)"):
        load_model("nothing", toy, "cpu")


@pytest.mark.parametrize("place", [0.5, 0.02])
def test_truncated(toy, file: Path, place: float):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * place)])
    with pytest.raises(CheckpointError, match=r"w\.safetensors: is damaged.*again"):
        load_model(file, toy, "cpu")


def test_flipped_bit_in_a_weight(toy, file: Path):
    data = bytearray(file.read_bytes())
    data[-20] ^= 1  # the tensors come last: still a valid file
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"w\.safetensors: is damaged \(its checksum"):
        load_model(file, toy, "cpu")


def test_changed_configuration(toy, file: Path):
    rewritten(file, config=json.dumps({"sharpness": 3.0}))
    with pytest.raises(CheckpointError, match="checksum"):
        load_model(file, toy, "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "points"}, "belongs to the backend 'points'.*--backend points"),
        ({"config": '{"smoothness": 1}'}, "does not know.*smoothness|smoothness.*does not know|configuration"),
        ({"config": '{"features": 5}'}, "do not fit the network"),
        ({"format": "other-3"}, "not written by this program"),
    ],
)
def test_foreign(toy, file: Path, changes: dict[str, str], message: str):
    rewritten(file, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_model(file, toy, "cpu")


def test_pickles_and_others_are_refused(toy, tmp_path: Path):
    pickled = tmp_path / "w.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), pickled)
    with pytest.raises(CheckpointError, match=r"w\.pt: is damaged or no safetensors"):
        load_model(pickled, toy, "cpu")
    save_file({"w": torch.zeros(3)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="not written by this program"):
        load_model(tmp_path / "plain.safetensors", toy, "cpu")


def test_random_features_of_any_preset(toy):
    assert load_model("random:long", toy, "cpu").file is None
    with pytest.raises(CheckpointError, match="no such preset"):
        load_model("random:nothing", toy, "cpu")
