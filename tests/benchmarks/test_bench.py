from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import bench
from cst_core import plugins
from cst_core.choose_supervision import offered
from cst_core.cli_options import TrainOptions, resolve_options
from cst_core.models import load_model


def option(words: list[str], name: str) -> list[str]:
    """All values of one option."""
    found = words[words.index(name) + 1 :]
    return found[: next((i for i, word in enumerate(found) if word.startswith("--")), len(found))]


@pytest.mark.parametrize("study", [*bench.SMALL, *bench.FULL], ids=lambda study: study.name)
def test_a_study_asks_for_what_there_is(study: bench.Study, tmp_path: Path):
    file = tmp_path / "comparison.json"
    first, *others = list(bench.commands_of(study, "there", file, tmp_path / "runs", 2, ["0", "1"]))
    plugin = plugins.load(study.backend)
    names = option(first, "--supervision")
    assert names[0] == "self"
    assert set(names) <= set(offered(plugin))
    assert study.rivals is not None or set(names) == set(offered(plugin))
    settings = [word for before, word in pairwise(first) if before == "--set"]
    preset = option(first, "--preset")[0]
    resolve_options(plugin, TrainOptions(study.backend, None, None, None, preset, None, settings, "cpu", False))
    modules = ["benchmarks.model_row"] if study.shipped else []
    assert [words[1] for words in others] == modules + ([study.peers[0]] if study.peers else [])
    assert all(option(words, "--tools") for words in others[len(modules) :])
    for words in others[: len(modules)]:
        for fold in study.folds:
            load_model(option(words, "--model")[0].replace("{fold}", fold), plugin, "cpu")


def test_all_are_matched_once_there_is_a_target(tmp_path: Path):
    study, file = bench.FULL[1], tmp_path / "comparison.json"
    file.write_text(json.dumps({"rows": [], "target_sdlogj": 0.0941234567}))
    found = list(bench.commands_of(study, "there", file, tmp_path, 2, ["0"]))
    told = [(words[1], option(words, "--target-sdlogj")) for words in found if "--target-sdlogj" in words]
    assert told == [
        ("benchmarks.supervisions", ["0.094"]),
        ("benchmarks.model_row", ["0.0941235"]),
        ("benchmarks.peers.compare_images", ["0.0941235"]),
    ]
    assert all(option(words, "--fold") == ["1"] for words in found)


def test_a_part_is_run_and_its_rows_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "HippocampusMR").mkdir()
    (tmp_path / "AbdomenCTCT").mkdir()
    there = ["--data", str(tmp_path), "--results", str(tmp_path)]
    chosen = ["--studies", "abdomen", "--seeds", "4", "--rivals", "mind", "--tools", "greedy"]
    monkeypatch.setattr("sys.argv", ["bench", "full", *there, *chosen])
    asked = []

    def commands_of(study: bench.Study, data: str, file: Path, *others: object):
        asked.append((study.name, study.rivals, study.tools, data, others[-1]))
        file.write_text("{}")
        return [["-c", "pass"]]

    monkeypatch.setattr(bench, "commands_of", commands_of)
    shown = []
    monkeypatch.setattr(bench, "finish", lambda files, published: shown.append((files, published)))
    with pytest.raises(SystemExit) as end:
        bench.main()
    assert end.value.code == 0
    assert asked == [("abdomen", ["mind"], ["greedy"], str(tmp_path / "AbdomenCTCT"), ["4"])]
    assert shown == [([tmp_path / "comparison_abdomen.json"], False)]


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench", "full", "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        bench.main()
    assert "must be a folder with any of LungKeypoints, HippocampusMR, AbdomenCTCT" in capsys.readouterr().err
    (tmp_path / "HippocampusMR").mkdir()
    monkeypatch.setattr(bench, "commands_of", lambda *_: [["-c", "raise SystemExit(3)"], ["-c", "pass"]])
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    with pytest.raises(SystemExit) as end:
        bench.main()
    said = capsys.readouterr().out
    assert end.value.code == 1
    assert f"lungs: there is no {tmp_path / 'LungKeypoints'}; left out" in said
    assert "failed, at least in part: python -c 'raise SystemExit(3)'" in said
    assert "$ python -c pass" in said
