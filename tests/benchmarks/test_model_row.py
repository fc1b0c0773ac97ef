"""Rows of models that exist already: all folds together, at their defaults and at a chosen SDlogJ."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks import model_row
from benchmarks.comparison_rows import rows_of
from cst_core.evaluation import evaluate
from cst_core.models import load_model, save_model


@pytest.fixture
def weights(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folds' models, whose registrations differ; a fold of the toy's data: signals of a seed of its own."""
    read = type(toy).read_data

    def of_fold(self, source: str, fold: int | None, config, device: str):
        del source
        folder = tmp_path / f"signals-{fold}"
        folder.mkdir(exist_ok=True)
        (folder / "seed.txt").write_text(f"{fold}000")
        return read(self, str(folder), None, config, device)

    monkeypatch.setattr(type(toy), "read_data", of_fold)
    for fold, seed in ((1, 4), (2, 5)):
        model = load_model("random", toy, "cpu", [])
        network = model.backend.new_network(seed)
        about = {"supervision": "truth"}
        save_model(tmp_path / f"fold{fold}.safetensors", network, toy.name, model.config.model_dump(mode="json"), about)
    return tmp_path / "fold{fold}.safetensors"


def row(monkeypatch: pytest.MonkeyPatch, file: Path, model: object, *more: object) -> dict:
    arguments = ("--backend", "toy", "--model", model, "--method", "mine", "--data", "phantom", "--json", file, *more)
    monkeypatch.setattr(sys, "argv", ["model_row", *map(str, arguments)])
    model_row.main()
    return rows_of(file)["mine", "matched" if "--target-sdlogj" in more else "default", None]


@pytest.mark.usefixtures("smooth")
def test_the_pairs_of_all_folds_are_in_one_row(toy, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = row(monkeypatch, tmp_path / "rows.json", weights, "--fold", 1, 2)
    expected = []
    for fold in (1, 2):
        model = load_model(str(weights).replace("{fold}", str(fold)), toy, "cpu", [])
        cases = toy.read_data("phantom", fold, model.config, "cpu").test
        expected += evaluate(toy, model.backend, model.network, cases)
    assert [pair["tre_mm"] for pair in made["pairs"]] == [score.tre_mm for score in expected]
    assert len({pair["tre_mm"] for pair in made["pairs"]}) == len(made["pairs"])
    assert made["mean"]["tre_mm"] == pytest.approx(fmean(score.tre_mm for score in expected))
    assert (made["settings"]["supervision"], made["settings"]["at_test"]) == ("truth", [])


@pytest.mark.usefixtures("smooth")
def test_every_fold_is_matched_by_its_own_strength(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "rows.json"
    default = row(monkeypatch, file, weights, "--fold", 1, 2)
    matched = row(monkeypatch, file, weights, "--fold", 1, 2, "--target-sdlogj", 0.04)
    assert default["mean"]["sdlogj_l2r"] == pytest.approx(0.1)
    assert matched["mean"]["sdlogj_l2r"] == pytest.approx(0.04, rel=0.02)
    assert [setting.split("=")[0] for setting in matched["settings"]["at_test"]] == ["sharpness", "sharpness"]
    assert set(rows_of(file)) == {("mine", "default", None), ("mine", "matched", None)}


@pytest.mark.usefixtures("smooth")
def test_nobody_taught_random_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert row(monkeypatch, tmp_path / "rows.json", "random")["settings"]["supervision"] is None
