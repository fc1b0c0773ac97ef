"""A wrong command line."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.faults.scene import Fault, Outcome, Scene

_TOY = ("train", "--backend", "toy", "--out", "RUN")


def _typed(*arguments: str) -> Callable[[Scene], Outcome]:
    def provoke(scene: Scene) -> Outcome:
        said = scene.cst(*arguments)
        return Outcome(said, {}, scene.strangers())

    return provoke


COMMANDS = (
    Fault(
        "unknown-key",
        "A setting that does not exist.",
        2,
        ("--set iteration: no such key", "known: "),
        _typed(*_TOY, "--set", "iteration=50"),
    ),
    Fault(
        "wrong-value",
        "A word in the place of a number.",
        2,
        ("iterations", "many"),
        _typed(*_TOY, "--set", "iterations=many"),
    ),
    Fault("out-of-range", "A number that cannot be.", 2, ("stages", "0"), _typed(*_TOY, "--set", "stages=0")),
    Fault(
        "unknown-preset",
        "A preset that does not exist.",
        2,
        ("--preset fast: no such preset", "known: quick"),
        _typed(*_TOY, "--preset", "fast"),
    ),
    Fault(
        "unknown-fold",
        "A fold of data that has none.",
        1,
        ("fold", "9", "leave the fold out"),
        _typed("train", "--backend", "image", "--data", "phantom", "--fold", "9", "--out", "RUN"),
    ),
    Fault(
        "unknown-backend",
        "A backend that does not exist.",
        2,
        ("--backend", "images", "found: "),
        _typed("train", "--backend", "images", "--out", "RUN"),
    ),
    Fault(
        "unknown-model",
        "A model that does not exist.",
        1,
        ("--model hippocampos: no such run folder or weights file", "hippocampus"),
        _typed("evaluate", "--backend", "image", "--model", "hippocampos"),
    ),
    Fault(
        "no-such-run",
        "`--resume` without a run.",
        1,
        ("--resume: there is no run folder RUN", "leave --resume out"),
        _typed("train", "--resume", "--out", "RUN"),
    ),
    Fault(
        "no-such-data",
        "A data folder that does not exist.",
        1,
        ("DATA: must be 'phantom' or a folder", "check the path"),
        _typed("train", "--backend", "image", "--data", "DATA", "--out", "RUN"),
    ),
)
