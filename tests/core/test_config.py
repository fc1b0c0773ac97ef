from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from cst_core.config import Settings, TrainConfig, differences, preset_of, resolve, to_toml
from cst_core.errors import ConfigError


class Choice(Settings):
    features: int = 8
    kind: str = "a"
    seed: int = 3


def resolved(file: Path | None = None, assignments=(), preset=({}, {})):
    return resolve("toy", Choice, "quick", preset, file, assignments)


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "c.toml").write_text(text)
    return tmp_path / "c.toml"


def test_order_of_sources(tmp_path: Path):
    file = written(tmp_path, "[train]\nstages = 4\n[toy]\nfeatures = 5\n")
    preset = ({"stages": 3, "batch_size": 7}, {"features": 2, "kind": "b"})
    result = resolved(file, ["stages=6"], preset)
    assert (result.train.stages, result.train.batch_size) == (6, 7)
    assert (result.backend.features, result.backend.kind) == (5, "b")
    assert resolved(file, (), preset).train.stages == 4


def test_toml_round_trip(tmp_path: Path):
    assignments = ["epochs=60", "drops=[0.25, 0.3333333333333333]", "learning_rate=3e-4", "augment=false", "kind=Größe"]
    first = resolved(None, assignments)
    file = written(tmp_path, to_toml("toy", first))
    again = resolved(file)
    assert again == first
    assert differences(first, again) == []
    assert to_toml("toy", again) == to_toml("toy", first)
    assert preset_of(file) == "quick"
    # the file's length of a stage wins over the preset's, whichever of the two keys it uses
    assert resolved(file, (), ({"iterations": 10}, {})).train.iterations is None


def test_differences_names_both_values():
    assert differences(resolved(), resolved(None, ["stages=2", "features=1"])) == [
        "train.stages is 8, 2",
        "backend.features is 8, 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nstagse = 3\n", "train.stagse: no such key; known keys: stages"),
        ("[toy]\nfeature = 3\n", "toy.feature: no such key; known keys: features"),
        ("[tran]\nstages = 3\n", "unknown table 'tran'"),
        ("stages = 3\n", "unknown table 'stages'"),
        ("train = 3\n", "train must be a table"),
        ("[train]\nstages = 0\n", "train.stages.*got 0"),
        ("[train]\niterations = 3\nepochs = 3\n", "iterations or epochs, not both"),
        ("[train\n", "is no valid TOML"),
        ('backend = "points"\n', "is for the backend 'points'"),
    ],
)
def test_file_errors_name_file_and_key(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=rf"c\.toml: .*{message}"):
        resolved(written(tmp_path, text))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stagse=3", "--set stagse: no such key; known: .*stages"),
        ("other.stages=3", "no such key"),
        ("stages", "must be key=value"),
        ("=3", "must be key=value"),
        ("seed=1", r"is a key of train and toy; write train\.seed or toy\.seed"),
        ("stages=many", r"--set train\.stages: .*'many'"),
        ("schedule=linear", "schedule"),
    ],
)
def test_assignment_errors(tmp_path: Path, assignment: str, message: str):
    with pytest.raises(ConfigError, match=message):
        resolved(written(tmp_path, ""), [assignment])


def test_ambiguous_key_can_be_qualified():
    result = resolved(None, ["train.seed=1", "toy.seed=2"])
    assert (result.train.seed, result.backend.seed) == (1, 2)


def test_class_that_forgets_to_forbid_is_checked_too(tmp_path: Path):
    class Lax(BaseModel):
        size: int = 1

    with pytest.raises(ConfigError, match=r"toy\.sise: no such key"):
        resolve("toy", Lax, "quick", ({}, {}), written(tmp_path, "[toy]\nsise = 3\n"))


def test_steps():
    assert TrainConfig().steps(10) == 1000
    assert TrainConfig(iterations=7).steps(10) == 7
    assert TrainConfig(epochs=60, batch_size=4).steps(8) == 120
    assert TrainConfig(epochs=1, batch_size=64).steps(8) == 1


def test_margin():
    assert TrainConfig().margin == 0
    assert resolved(None, ["margin=8"]).train.margin == 8
    with pytest.raises(ConfigError, match=r"train\.margin.*got -1"):
        resolved(None, ["margin=-1"])
