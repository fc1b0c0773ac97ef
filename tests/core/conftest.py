"""The toy backend as an installed distribution of its own, and `cst` in and out of this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

TOY = Path(__file__).parents[1] / "toy"


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip install --target`` makes of tests/toy, without needing pip: the package and its metadata."""
    target = tmp_path_factory.mktemp("site")
    project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
    for package in ("cst_toy",):
        shutil.copytree(TOY / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    information = target / f"cst_toy-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in groups[group].items()) for group in groups]
    (information / "entry_points.txt").write_text("\n".join(lines))
    return target


@pytest.fixture
def toy(toy_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The toy's plugin, found as `cst` finds it."""
    from cst_core import plugins

    monkeypatch.syspath_prepend(toy_folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its tensors are so small that threads only wait for one another
    yield plugins.load("toy")
    torch.set_num_threads(threads)


@pytest.fixture
def cst(toy_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run `cst` in this process, with the toy among its backends."""
    from cst_core.cli import main

    monkeypatch.syspath_prepend(toy_folder)
    monkeypatch.delenv("CST_DATA", raising=False)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(int(exit_.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def cst_process(toy_folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `cst` in a process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if key != "CST_DATA"}
        environment |= {"PYTHONPATH": str(toy_folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "cst_core.cli", *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # where the tests themselves run in the background of a script, the shell has interrupts ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start
