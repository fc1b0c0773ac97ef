import json
from pathlib import Path

import pytest
import torch

from cst_core.cli_info import collect
from cst_core.environment import compilers
from cst_core.models import save_model


@pytest.fixture
def found(cst, monkeypatch):
    """What ``cst info --json`` says, with CST_DATA set to a folder or not at all."""

    def run(data: Path | None = None) -> dict:
        if data is not None:
            monkeypatch.setenv("CST_DATA", str(data))
        said = cst("info", "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    return run


def test_every_section_is_there(found):
    told = found()
    assert set(told) == {"versions", "packages", "devices", "compilers", "checks", "data", "backends", "prepare"}
    assert told["packages"]["SimpleITK"].startswith("2.")
    assert "KeOps" in told["checks"]
    assert told["data"] == {"CST_DATA": "not set: the built-in phantom"}
    assert told["backends"]["image"]["models"]["hippocampus"]["trained_on"] == "HippocampusMR"
    assert 0.7 < told["backends"]["image"]["models"]["hippocampus"]["figures"]["dice"] < 0.9
    assert told["backends"]["toy"]["models"] == {}  # a plugin without checks and recognise is no error


def test_for_people(cst, tmp_path, monkeypatch):
    monkeypatch.setenv("CST_DATA", str(tmp_path))
    said = cst("info").out
    for words in (
        "hippocampus",
        "HippocampusMR, fold 1, 60 pairs, stage 3",
        "Dice 0.796",
        "C++ compiler",
        "cst-toy 0.0.1",
    ):
        assert words in said
    assert "nothing that a backend knows" in said


def test_data_is_recognised_by_names(found, tmp_path):
    for name in ("case_1_fixed.csv", "case_1_moving.ply"):
        (tmp_path / name).write_text("no cloud")  # not read
    assert found(tmp_path)["data"]["found"] == {"points": "1 pairs of clouds"}
    (tmp_path / "case_2_fixed.csv").write_text("")
    assert "a pair needs both clouds" in found(tmp_path)["data"]["found"]["points"]
    scans = tmp_path / "scans"
    (scans / "imagesTr").mkdir(parents=True)
    (scans / "labelsTr").mkdir()
    for name in ("a", "b"):
        (scans / "imagesTr" / f"{name}.nii.gz").write_bytes(b"")
    (scans / "labelsTr" / "a.nii.gz").write_bytes(b"")
    assert found(scans)["data"]["found"] == {"image": "2 scans, 1 with label maps"}
    assert found(tmp_path / "none")["data"]["found"] == "no such folder"


def test_weights_tell_what_they_were_told(toy, tmp_path, monkeypatch):
    about = {"trained_on": "signals", "figures": {"tre_mm": 1.5}}
    save_model(tmp_path / "new.safetensors", torch.nn.Linear(2, 2), "toy", {}, about)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    files = {name: tmp_path / f"{name}.safetensors" for name in ("new", "bad")}
    monkeypatch.setattr(type(toy), "shipped", lambda _: files)
    models = collect()["backends"]["toy"]["models"]
    assert models["new"] == {"file": str(files["new"]), **about}
    assert "damaged" in models["bad"]["error"]


def test_compilers_say_what_they_are(tmp_path, monkeypatch):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho my compiler 1.0\necho more\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.delenv("CXX", raising=False)
    assert compilers()["C++ compiler"] == f"my compiler 1.0 ({compiler})"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert compilers() == {"C++ compiler": "none found", "nvcc": "none found"}


def test_version(cst):
    from cst_core.environment import version

    assert cst("--version") == (0, f"cst {version()}\n", "")
