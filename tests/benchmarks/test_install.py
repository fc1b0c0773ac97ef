"""What pip is told, and what is left where it fails."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.peers import install
from benchmarks.peers.install import REQUIREMENTS, pip_arguments
from benchmarks.peers.tools import FOLDER, TOOLS


def test_torch_is_configurable_and_only_where_it_is_needed() -> None:
    with_torch = pip_arguments("convexadam", "torch==2.13.0", "https://example.org/cpu")
    assert with_torch[-1] == "torch==2.13.0"
    assert with_torch[-4:-2] == ["--extra-index-url", "https://example.org/cpu"]
    assert "--extra-index-url" not in pip_arguments("convexadam", "torch", "")
    assert pip_arguments("greedy", "torch==2.13.0", "https://example.org/cpu")[-1] == "picsl_greedy==1.4.0.3"


def test_every_tool_has_its_adapter() -> None:
    for name, tool in TOOLS.items():
        assert (FOLDER / "adapters" / f"{tool.adapter}.py").exists(), name
        assert tool.knob.low < tool.knob.default < tool.knob.high


def test_tools_of_one_environment_need_the_same() -> None:
    for tool in TOOLS.values():
        assert REQUIREMENTS[tool.environment] == tool.requirements


def test_an_environment_without_its_packages_is_not_left_but_an_older_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(words: list[str], check: bool) -> None:
        assert check
        if "venv" in words:
            (tmp_path / "greedy" / "bin").mkdir(parents=True)
            (tmp_path / "greedy" / "bin" / "python").touch()
        else:
            raise subprocess.CalledProcessError(1, words)

    monkeypatch.setattr(install, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(subprocess.CalledProcessError):
        install.install("greedy", "torch", "")
    assert not (tmp_path / "greedy").exists()
    run(["venv"], check=True)
    with pytest.raises(subprocess.CalledProcessError):
        install.install("greedy", "torch", "")
    assert (tmp_path / "greedy" / "bin" / "python").exists()
