"""Faults of a training: damaged files, two at once, signals, a loss that is no number, a clock that jumps."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.scene import SAME, TOY, Fault, NotTriedError, Outcome, Scene, damage_by_bit, damage_by_cut

_RESUME = ("train", "--resume", "--out", "RUN")
_BOTH = ("resume.pt", "resume.previous.pt")
Damage = Callable[[Path], None]


def _damaged(damage: Damage, pattern: str) -> Callable[[Scene], Outcome]:
    def provoke(scene: Scene) -> Outcome:
        for file in scene.stopped_run().glob(pattern):
            damage(file)
        said = scene.cst(*_RESUME)
        return Outcome(said, {f"this same command {SAME}": scene.same()}, scene.half_written())

    return provoke


def _both_checkpoints(scene: Scene) -> Outcome:
    run = scene.stopped_run()
    for name in _BOTH:
        damage_by_cut(run / name)
    said = scene.cst(*_RESUME)
    stage = scene.cst("evaluate", "--backend", "toy", "--model", "RUN/stage-01.safetensors")
    return Outcome(said, {"the finished stage can be used: `cst evaluate --model RUN/stage-01...`": stage.code == 0})


def _weights(damage: Damage) -> Callable[[Scene], Outcome]:
    def provoke(scene: Scene) -> Outcome:
        whole = (file := scene.stopped_run() / "stage-01.safetensors").read_bytes()
        damage(file)
        asked = ("evaluate", "--backend", "toy", "--model", "RUN/stage-01.safetensors")
        said = scene.cst(*asked)
        file.write_bytes(whole)
        return Outcome(said, {"copied again, it is read": scene.cst(*asked).code == 0})

    return provoke


def _two_at_once(*second: str) -> Callable[[Scene], Outcome]:
    def provoke(scene: Scene) -> Outcome:
        first = scene.start("train", *TOY, "--out", "RUN")
        scene.wait_for_step(first, 1, 1)
        os.kill(first.pid, signal.SIGSTOP)  # so that it is still there
        said = scene.cst(*second)
        os.kill(first.pid, signal.SIGCONT)
        ended = scene.heard(first, "train", *TOY, "--out", "RUN")
        return Outcome(said, {f"the first run {SAME}": ended.code == 0 and scene.same()}, scene.half_written())

    return provoke


def _signalled(number: signal.Signals) -> Callable[[Scene], Outcome]:
    def provoke(scene: Scene) -> Outcome:
        said = scene.interrupted(number, "train", *TOY, "--out", "RUN")
        left = scene.half_written()
        noted = '"status": "interrupted"' in (scene.run / "manifest.json").read_text()
        return Outcome(said, {"the manifest says `interrupted`": noted} | scene.resumed(), left)

    return provoke


def _nan_at_once(scene: Scene) -> Outcome:
    said = scene.cst("train", *TOY, "--set", "learning_rate=1e30", "--out", "RUN")
    again = scene.cst("train", *TOY, "--out", "AGAIN")
    return Outcome(said, {"a new run with a lower rate ends": again.code == 0}, scene.half_written())


def _nan_later(scene: Scene) -> Outcome:
    config = scene.stopped_run() / "config.toml"
    good, kept = config.read_text(), [scene.run / name for name in (*_BOTH, "stage-01.safetensors")]
    before = [file.read_bytes() for file in kept]
    config.write_text(good.replace("\nlearning_rate = 0.02", "\nlearning_rate = 1e30"))
    said = scene.cst(*_RESUME)
    after = {
        "checkpoints and the finished stage are as they were": before == [file.read_bytes() for file in kept],
    }
    left = scene.half_written()
    config.write_text(good)
    return Outcome(said, after | {f"with the old rate {k}": v for k, v in scene.resumed().items()}, left)


def _clock(seconds: int) -> Callable[[Scene], Outcome]:
    def provoke(scene: Scene) -> Outcome:
        for path in (run := scene.stopped_run(), *run.rglob("*")):
            os.utime(path, (seconds, seconds))
        said = scene.cst(*_RESUME)
        return Outcome(said, {f"this same command {SAME}": scene.same()}, scene.half_written())

    return provoke


def _clock_of_another_time(scene: Scene) -> Outcome:
    if shutil.which("faketime") is None:
        raise NotTriedError("no faketime, which shows a program another clock")
    scene.stopped_run()
    said = scene.cst(*_RESUME, before=["faketime", "-f", "-40y"])
    return Outcome(said, {f"this same command {SAME}": scene.same()}, scene.half_written())


_GOES_ON = ("RUN/resume.pt: is damaged", "going on from the one before it, stage ")
_WEIGHTS = ("RUN/stage-01.safetensors: is damaged", "copy it again, or train again")
_HOW = ("interrupted", "cst train --resume --out RUN")
_IN_USE = ("RUN: is in use by another process (pid ", "wait for it, or choose another --out")
TRAINING = (
    Fault("checkpoint-cut", "Half of the checkpoint is lost.", 0, _GOES_ON, _damaged(damage_by_cut, "resume.pt")),
    Fault("checkpoint-bit", "One bit of the checkpoint flips.", 0, _GOES_ON, _damaged(damage_by_bit, "resume.pt")),
    Fault(
        "checkpoints-both",
        "Both checkpoints are cut.",
        1,
        (
            "RUN/resume.previous.pt: is damaged",
            "and so is resume.pt",
            "finished stages (stage-*.safetensors) can be used with --model",
            "start a new run",
        ),
        _both_checkpoints,
    ),
    Fault("label-cut", "Every label of the second stage is cut.", 0, (), _damaged(damage_by_cut, "labels/*/*.npy")),
    Fault("label-bit", "One bit of every label flips.", 0, (), _damaged(damage_by_bit, "labels/*/*.npy")),
    Fault("label-index-cut", "The index of the labels is cut.", 0, (), _damaged(damage_by_cut, "labels/*/index*")),
    Fault("label-index-bit", "One bit of the index flips.", 0, (), _damaged(damage_by_bit, "labels/*/index*")),
    Fault("weights-cut", "Weights that are given to `--model` are cut.", 1, _WEIGHTS, _weights(damage_by_cut)),
    Fault("weights-bit", "One bit of weights given to `--model` flips.", 1, _WEIGHTS, _weights(damage_by_bit)),
    Fault(
        "two-runs",
        "A second run begins in the folder of one that is running.",
        1,
        ("--out RUN: is not empty", "--resume, or choose another --out"),
        _two_at_once("train", *TOY, "--out", "RUN"),
    ),
    Fault("resume-running", "A run that is running is resumed.", 1, _IN_USE, _two_at_once(*_RESUME)),
    Fault("ctrl-c", "Ctrl-C (SIGINT) in the second stage.", 1, _HOW, _signalled(signal.SIGINT)),
    Fault("sigterm", "SIGTERM in the second stage, as a cluster sends it.", 1, _HOW, _signalled(signal.SIGTERM)),
    Fault(
        "nan-at-once",
        "The learning rate is absurd from the beginning.",
        1,
        ("stage 1, step ", "pairs [", "start a new run with a lower learning_rate"),
        _nan_at_once,
    ),
    Fault(
        "nan-later",
        "Weights become NaN in the second stage, as the rate in the run's `config.toml` was made absurd.",
        1,
        ("stage 2, step ", "pairs [", "finished stages are intact; start a new run with a lower learning_rate"),
        _nan_later,
    ),
    Fault("clock-2106", "Every file of a run is of the year 2106.", 0, (), _clock(2**32)),
    Fault("clock-1970", "Every file of a run is of the year 1970.", 0, (), _clock(0)),
    Fault("clock-back", "The clock goes back by forty years before a run is resumed.", 0, (), _clock_of_another_time),
)
