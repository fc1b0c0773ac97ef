from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cst_core import plugins

SHARPNESS = 10.0  # the toy's own


@pytest.fixture
def tunable(toy, monkeypatch: pytest.MonkeyPatch):
    """The toy with a figure in closed form: SDlogJ = 1 / sharpness."""
    kind = type(toy)
    score = kind.score

    def scored(self, backend, network, case):
        return replace(score(self, backend, network, case), sdlogj_l2r=1.0 / backend.config.sharpness)

    monkeypatch.setattr(kind, "score", scored)
    monkeypatch.setattr(kind, "regularisation", "sharpness", raising=False)
    return toy


TUNE = ("tune", "--backend", "toy", "--model", "random")


@pytest.mark.usefixtures("tunable")
def test_finds_the_setting(cst, tmp_path):
    file = tmp_path / "tuned.json"
    said = cst(*TUNE, "--target-sdlogj", "0.04", "--tolerance", "0.001", "--json", file)
    assert said.code == 0, said.err
    result = json.loads(file.read_text())
    assert result["weight"] == pytest.approx(25.0, rel=1e-3)
    assert result["setting"] == f"sharpness={result['weight']:g}"
    lines = said.out.splitlines()
    assert lines[2].startswith("sharpness 10          SDlogJ 0.1000  TRE mm ")
    assert lines[-1].endswith(f"with: --set {result['setting']}")
    assert [trial["weight"] for trial in result["trials"]][:3] == [10.0, 100.0, 31.62]
    assert sum(line.startswith("sharpness ") for line in lines) == len(result["trials"])
    assert result["n_pairs"] == len(result["pairs"]) == 4
    assert result["broken"] is None
    # what it says is what cst evaluate finds under that setting, and its file can be compared with
    again = tmp_path / "again.json"
    said = cst("evaluate", *TUNE[1:], "--set", result["setting"], "--json", again, "--against", file)
    assert said.code == 0, said.err
    compared = json.loads(again.read_text())
    assert compared["mean"]["tre_mm"] == result["mean"]["tre_mm"]
    assert compared["against"]["figures"]["sdlogj_l2r"]["mean_difference"] == 0.0


@pytest.mark.usefixtures("tunable")
def test_begins_with_what_is_set_and_takes_fewer_pairs(cst):
    said = cst(*TUNE, "--target-sdlogj", "0.05", "--set", "sharpness=20", "--pairs", "2", "--split", "train")
    assert said.code == 0, said.err
    assert "2 train pairs" in said.out
    assert said.out.count("sharpness 20 ") == 1
    assert said.out.splitlines()[-1] == "SDlogJ (L2R) 0.0500 with: --set sharpness=20"


@pytest.mark.usefixtures("tunable")
def test_out_of_reach(cst):
    said = cst(*TUNE, "--target-sdlogj", "1e-9", "--pairs", "1")
    assert said.code == 1
    assert "--target-sdlogj, by sharpness: target 1e-09: cannot be reached" in said.err
    assert "gave from 1e-06 to 0.1" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.usefixtures("toy")
def test_a_backend_that_does_not_say(cst, monkeypatch: pytest.MonkeyPatch):
    said = cst(*TUNE, "--target-sdlogj", "0.1")
    assert said.code == 1
    assert "--backend toy: does not say which of its settings regularises" in said.err
    monkeypatch.setattr(type(plugins.load("toy")), "regularisation", "smoothness", raising=False)
    assert "has no such setting" in cst(*TUNE, "--target-sdlogj", "0.1").err
    monkeypatch.setattr(type(plugins.load("toy")), "regularisation", "sharpness", raising=False)
    assert "its scores have no sdlogj_l2r" in cst(*TUNE, "--target-sdlogj", "0.1").err


@pytest.mark.parametrize(
    ("option", "value"), [("--target-sdlogj", "0"), ("--tolerance", "-1"), ("--pairs", "0"), ("--set", "nothing=1")]
)
@pytest.mark.usefixtures("tunable")
def test_impossible_options(cst, option: str, value: str):
    given = [] if option == "--target-sdlogj" else ["--target-sdlogj", "0.1"]
    said = cst(*TUNE, *given, option, value)
    assert said.code == 2
    assert option in said.err


@pytest.mark.parametrize("backend", ["image", "points"])
def test_our_backends_say(backend: str):
    from cst_core.cli_tune import regularisation_of

    plugin = plugins.load(backend)
    key = regularisation_of(plugin)
    assert plugin.config_class(**{key: 1e5}) != plugin.config_class()
