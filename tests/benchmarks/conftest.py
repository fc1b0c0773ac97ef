"""The toy backend among the backends, and `cst` commands of benchmarks in this process."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from benchmarks.supervisions import runs as supervision_runs
from benchmarks.supervisions.runs import CommandError, Done
from cst_core import plugins
from cst_core.cli import main

TOY = Path(__file__).parents[1] / "toy"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch):
    """Found as an installed backend is."""
    found = plugins.found
    entry = EntryPoint("toy", "cst_toy.plugin:PLUGIN", plugins.BACKENDS)
    monkeypatch.setattr(plugins, "found", lambda group: found(group) | ({"toy": entry} if group == entry.group else {}))
    monkeypatch.syspath_prepend(TOY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield plugins.load("toy")
    torch.set_num_threads(threads)


@pytest.fixture
def smooth(toy, monkeypatch: pytest.MonkeyPatch):
    """The toy with SDlogJ = 1 / sharpness, so 0.1 by default."""
    kind, score = type(toy), type(toy).score
    figure = lambda self, backend, network, case: replace(  # noqa: E731
        score(self, backend, network, case), sdlogj_l2r=1.0 / backend.config.sharpness
    )
    monkeypatch.setattr(kind, "score", figure)
    monkeypatch.setattr(kind, "regularisation", "sharpness", raising=False)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would be started in processes is run here, and noted."""
    said: list[list[str]] = []

    def run(arguments, threads: int, output: Path) -> Done:
        del threads
        said.append(list(arguments))
        output.parent.mkdir(parents=True, exist_ok=True)
        with (
            output.open("a") as stream,
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
            pytest.raises(SystemExit) as end,
        ):
            main(list(arguments))
        if end.value.code:
            raise CommandError(output.read_text().splitlines()[-1])
        return Done(1.0, 100.0)

    monkeypatch.setattr(supervision_runs, "run", run)
    monkeypatch.setattr("benchmarks.supervisions.scores.run", run)
    return said
