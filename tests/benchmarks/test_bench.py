from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import bench
from cst_core import plugins
from cst_core.choose_supervision import offered
from cst_core.cli_options import TrainOptions, resolve_options


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
    assert [words[1] for words in others] == ([study.peers[0]] if study.peers else [])
    assert all(option(words, "--tools") for words in others)


def test_tools_are_matched_once_there_is_a_target(tmp_path: Path):
    study, file = bench.SMALL[1], tmp_path / "comparison.json"
    file.write_text(json.dumps({"rows": [], "target_sdlogj": 0.0961234567}))
    *_, last = bench.commands_of(study, "phantom", file, tmp_path, 2, ["0"])
    assert option(last, "--target-sdlogj") == ["0.0961235"]
    assert option(last, "--tools") == ["convex-mind-adam"]


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
