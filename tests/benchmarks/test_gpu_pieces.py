"""The pieces of the GPU benchmark as far as they need none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as gpu


def call(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> dict:
    made = ["gpu", "--runs", str(folder / "runs"), "--json", str(folder / "r.json"), "--device", "cpu", *more]
    monkeypatch.setattr(sys, "argv", made)
    gpu.main()
    return json.loads((folder / "r.json").read_text())["pieces"]


def test_what_is_done_is_left_alone_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    called: list[str] = []

    def piece(name: str, calls: int):
        def run(options, seconds):
            assert seconds <= 60 * options.minutes
            called.append(name)
            return {"done": called.count(name) >= calls}

        return run

    monkeypatch.setattr(gpu, "PIECES", {"a": piece("a", 1), "b": piece("b", 2), "c": piece("c", 1)})
    assert call(monkeypatch, tmp_path, "--piece", "a") == {"a": {"done": True, "seconds": pytest.approx(0, abs=1)}}
    assert "To do: b, c; call again" in capsys.readouterr().out
    assert not call(monkeypatch, tmp_path)["b"]["done"]
    assert all(found["done"] for found in call(monkeypatch, tmp_path).values())
    assert called == ["a", "b", "c", "b"]
    assert "All done" in capsys.readouterr().out
    called.clear()
    call(monkeypatch, tmp_path, "--minutes", "0")
    assert called == []


def test_a_program_that_takes_too_long_is_interrupted_in_peace():
    polite = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass"
    assert gpu.interrupted_after([sys.executable, "-c", polite], 0.5) is None
    assert gpu.interrupted_after([sys.executable, "-c", "raise SystemExit(4)"], 30) == 4
