from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cst_core.models import load_model
from cst_core.training import weights_digest

QUICK = ("--set", "stages=2", "--set", "iterations=4")


def events(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_help_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from cst_core.cli import main\n"
        "for verb in ([], ['train'], ['evaluate'], ['tune'], ['info'], ['prepare']):\n"
        "    try:\n        main([*verb, '--help'])\n"
        "    except SystemExit as exit:\n        assert exit.code == 0\n"
        "print(sorted(m for m in sys.modules if '.' not in m), file=sys.stderr)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(eval(said.stderr))
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "scipy", "cst_points", "cst_image", "nibabel"}
    for word in ("--preset", "--json", "--debug", "lung"):
        assert word in said.stdout


def test_package_is_lazy_and_complete():
    program = (
        "import sys, cst_core\n"
        "assert 'torch' not in sys.modules\n"
        "[getattr(cst_core, name) for name in cst_core.__all__]\n"
        "assert cst_core.self_train.__name__ == 'self_train' and cst_core.TrainConfig(stages=5).stages == 5\n"
        "assert not hasattr(cst_core, 'nonsense') and 'Run' in dir(cst_core)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.fixture(scope="module")
def finished(cst_process, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A backend from another distribution, trained without a change to core."""
    run = tmp_path_factory.mktemp("runs") / "toy"
    process = cst_process("train", "--backend", "toy", "--out", run)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    return run, out


def test_toy_learns(finished):
    run, _ = finished
    tre = {event["stage"]: event["mean"]["tre_mm"] for event in events(run) if event["kind"] == "evaluation"}
    assert list(tre) == [0, 1, 2, 3]
    initial = next(event["initial"]["tre_mm"] for event in events(run) if event["kind"] == "evaluation")
    assert tre[0] < 0.8 * initial  # random features are a start
    assert tre[1] < 0.7 * tre[0]
    assert tre[3] < 0.8 * tre[1]  # and the labels of a stage are not the limit of the next


def test_run_folder_is_complete(finished):
    run, out = finished
    assert out.splitlines()[0].startswith("Data: the built-in phantom")
    assert "stage 2: TRE 0." in out
    assert "random features 1." in out
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["phantom"] is True
    assert manifest["status"] == "finished"
    assert manifest["origin"]["data"] == "phantom"
    assert len(manifest["origin"]["fingerprint"]) == 64
    assert {"cst", "torch", "python", "started", "ended", "command"} <= set(manifest)
    assert {event["kind"] for event in events(run)} == {"label", "step", "stage", "evaluation"}
    assert [len([e for e in events(run) if e["kind"] == "label" and e["stage"] == s]) for s in (1, 2, 3)] == [12] * 3
    for name in ("config.toml", "stage-01.safetensors", "stage-03.safetensors", "figures/signal_12.png"):
        assert (run / name).stat().st_size > 0
    assert list((run / "tensorboard").iterdir())
    assert "step" in torch.load(run / "resume.pt", weights_only=True)


def test_evaluate_run(finished, cst, tmp_path: Path):
    run, _ = finished
    report, picture = tmp_path / "r.json", tmp_path / "p.png"
    said = cst("evaluate", "--backend", "toy", "--model", run, "--json", report, "--picture", picture)
    assert said.code == 0, said.err
    assert "TRE mm initial" in said.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = json.loads(report.read_text())
    assert result["backend"] == "toy"
    assert (result["fold"], result["split"], result["n_pairs"], result["device"]) == (None, "test", 4, "cpu")
    assert set(result["pairs"][0]) >= {"id", "tre_mm", "tre_mm_initial", "dice", "hd95_mm", "sdlogj", "seconds"}
    logged = [event for event in events(run) if event["kind"] == "evaluation"][-1]
    assert result["mean"]["tre_mm"] == pytest.approx(logged["mean"]["tre_mm"], rel=1e-4)
    assert "may have seen these scans" not in said.out
    seen = cst("evaluate", "--backend", "toy", "--model", run, "--split", "train")
    assert "the model was trained without a fold of data of this name: it may have seen these scans" in seen.out
    before = cst("evaluate", "--backend", "toy", "--model", "random", "--split", "train", "--json", report)
    assert (before.code, "may have seen" in before.out) == (0, False)
    assert json.loads(report.read_text())["mean"]["tre_mm"] > 2 * result["mean"]["tre_mm"]
    assert json.loads(report.read_text())["n_pairs"] == 12


def test_evaluate_against_another_result(finished, cst, tmp_path: Path):
    run, _ = finished
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    trained = ("evaluate", "--backend", "toy", "--model", run, "--split", "train")
    assert cst("evaluate", "--backend", "toy", "--model", "random", "--split", "train", "--json", before).code == 0
    said = cst(*trained, "--against", before, "--json", after)
    assert said.code == 0, said.err
    assert "12 common pairs" in said.out
    against = json.loads(after.read_text())["against"]
    assert (against["file"], against["other"], against["n_pairs"]) == (str(before), "random", 12)
    change = against["figures"]["tre_mm"]
    assert change["better"] > 9
    assert change["mean_difference"] < 0
    assert change["p"] < 0.05
    said = cst(*trained, "--against", before, "--json", before)
    assert said.code == 2
    assert "which it would replace" in said.err
    # the test pairs are others: the result is kept, the comparison refused
    after.unlink()
    said = cst("evaluate", "--backend", "toy", "--model", run, "--against", before, "--json", after)
    assert said.code == 1
    assert "no pair is in both" in said.err
    assert "against" not in json.loads(after.read_text())


def test_evaluate_with_other_settings(finished, cst, tmp_path: Path):
    run, _ = finished
    as_trained, other = tmp_path / "a.json", tmp_path / "b.json"
    command = ("evaluate", "--backend", "toy", "--model", run)
    assert cst(*command, "--json", as_trained).code == 0
    said = cst(*command, "--set", "sharpness=0.1", "--set", "toy.noise=0.6", "--json", other)
    assert said.code == 0, said.err
    assert "Set: sharpness = 0.1, noise = 0.6" in said.out
    plain, changed = (json.loads(path.read_text()) for path in (as_trained, other))
    assert plain["set"] == {}
    assert changed["set"] == {"sharpness": 0.1, "noise": 0.6}
    assert changed["fingerprint"] == plain["fingerprint"]
    assert changed["mean"]["tre_mm"] > 1.1 * plain["mean"]["tre_mm"]
    for setting, words in (
        ("sharpnes=1", ["sharpnes", "no setting of the backend 'toy'", "features, noise, sharpness"]),
        ("stages=3", ["stages", "features, noise, sharpness"]),
        ("train.seed=3", ["train.seed"]),
        ("sharpness=much", ["--set toy.sharpness", "much"]),
        ("sharpness", ["key=value"]),
        ("features=9", ["features=9", "do not fit", "stage-03.safetensors", "train with it"]),
    ):
        said = cst(*command, "--set", setting)
        assert said.code == 2
        assert len(said.err.splitlines()) == 1
        assert all(word in said.err for word in words), said.err
    # random features are made for the settings, whatever they are
    assert cst("evaluate", "--backend", "toy", "--model", "random", "--set", "features=9").code == 0


def test_finished_run_can_be_resumed_and_configuration_reused(finished, cst, tmp_path: Path):
    run, _ = finished
    before = weights_digest(load_model(run, _plugin(), "cpu").network)
    said = cst("train", "--resume", "--out", run)
    assert said.code == 0, said.err
    assert weights_digest(load_model(run, _plugin(), "cpu").network) == before
    again = tmp_path / "again"
    assert cst("train", "--backend", "toy", "--config", run / "config.toml", "--out", again, *QUICK).code == 0
    text = (run / "config.toml").read_text().replace("stages = 3", "stages = 2")
    assert (again / "config.toml").read_text() == text.replace("iterations = 100", "iterations = 4")


def _plugin():
    from cst_core import plugins

    return plugins.load("toy")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--backend", "nope"], 2, ["--backend nope", "toy"]),
        (["train"], 2, ["--backend", "toy"]),
        (["train", "--backend", "toy", "--preset", "fast"], 2, ["fast", "quick (Seconds.)", "long (For those"]),
        (["train", "--backend", "toy", "--set", "stagse=3"], 2, ["stagse", "stages", "sharpness"]),
        (["train", "--backend", "toy", "--set", "stages=0"], 2, ["--set", "train.stages", "0"]),
        (["train", "--backend", "toy", "--fold", "3"], 1, ["--fold 3", "no folds"]),
        (["train", "--backend", "toy", "--data", "/no/such"], 1, ["/no/such"]),
        (["train", "--backend", "toy", "--resume"], 2, ["--out"]),
        (["train", "--backend", "toy", "--resume", "--out", "/no/such"], 1, ["/no/such"]),
        (["evaluate", "--backend", "toy", "--model", "nope"], 1, ["nope", "random"]),
        (["evaluate", "--backend", "toy", "--model", "random", "--fold", "1"], 1, ["--fold 1"]),
        (
            ["evaluate", "--backend", "toy", "--model", "random", "--json", "none/x.json"],
            2,
            ["--json none/x.json", "none"],
        ),
        (["evaluate", "--backend", "toy", "--model", "random", "--picture", "."], 2, ["--picture .", "folder"]),
        (["tune", "--backend", "toy", "--model", "random", "--target-sdlogj", "1", "--json", "."], 1, ["toy"]),
        (["train", "--backend", "toy", "--config", "/no/such.toml"], 2, ["/no/such.toml"]),
    ],
)
def test_errors_are_one_line(cst, tmp_path: Path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    said = cst(*arguments)
    assert said.code == code
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    for word in words:
        assert word in said.err
    assert not list(tmp_path.rglob("*.*"))  # nothing half-begun is left


def test_unknown_option_is_a_usage_error(cst):
    assert cst("train", "--bakend", "toy").code == 2
    assert cst("--nonsense").code == 2


def test_cuda_without_cuda(cst, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said = cst("train", "--backend", "toy", "--device", "cuda")
    assert said.code == 1
    assert "--device cpu" in said.err


def test_debug_shows_the_traceback_wherever_it_stands():
    from cst_core.cli import main
    from cst_core.errors import CstError

    for arguments in (["--debug", "train", "--backend", "nope"], ["train", "--backend", "nope", "--debug"]):
        with pytest.raises(CstError):
            main(arguments)


def test_unexpected_error_is_one_line(cst, toy, monkeypatch, tmp_path: Path):
    def fail(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(type(toy), "read_data", fail)
    said = cst("train", "--backend", "toy", "--out", tmp_path / "run")
    assert said.code == 1
    assert said.err == "error: RuntimeError: shapes differ; run again with --debug for the place\n"


def test_cst_data_is_the_default(cst, tmp_path: Path, monkeypatch):
    (tmp_path / "seed.txt").write_text("5")
    monkeypatch.setenv("CST_DATA", str(tmp_path))
    said = cst("train", "--backend", "toy", "--out", tmp_path / "run", *QUICK)
    assert said.code == 0, said.err
    assert said.out.splitlines()[0] == f"Data: {tmp_path} (CST_DATA)"
    assert json.loads((tmp_path / "run/manifest.json").read_text())["phantom"] is False
    # weights travel: they name the data, not where it lies
    assert load_model(tmp_path / "run", _plugin(), "cpu").about["trained_on"] == tmp_path.name
    # the run's own data is the default of its evaluation, also where CST_DATA says otherwise
    monkeypatch.setenv("CST_DATA", "/elsewhere")
    said = cst("evaluate", "--backend", "toy", "--model", tmp_path / "run")
    assert said.code == 0
    assert str(tmp_path) in said.out.splitlines()[0]


def test_default_out_and_seed(cst, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cst("train", "--backend", "toy", "--seed", "7", *QUICK).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("toy-")
    assert "seed = 7" in (run / "config.toml").read_text()
    assert json.loads((run / "manifest.json").read_text())["origin"]["seed"] == 7


def test_resume_refuses_what_differs(cst, tmp_path: Path):
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    (data / "seed.txt").write_text("5")
    assert cst("train", "--backend", "toy", "--data", data, "--out", run, *QUICK).code == 0
    said = cst("train", "--backend", "toy", "--data", data, "--out", run, *QUICK)
    assert said.code == 1
    assert "--resume" in said.err
    for arguments, words in (
        (["--set", "stages=5"], "train.stages is 2, 5"),
        (["--seed", "5"], "train.seed is 0, 5"),
        (["--set", "sharpness=5"], "backend.sharpness is 10.0, 5.0"),
        (["--preset", "long"], "preset quick, not long"),
        (["--fold", "1"], "fold None, not 1"),
        (["--backend", "points"], "backend toy, not points"),
    ):
        said = cst("train", "--resume", "--out", run, *arguments)
        assert said.code == 2
        assert words in said.err
    assert (
        cst("train", "--resume", "--out", run, "--seed", "0", "--set", "stages=2").code == 0
    )  # the same is no conflict
    moved = tmp_path / "moved"
    data.rename(moved)
    assert cst("train", "--resume", "--out", run, "--data", moved).code == 0
    (moved / "seed.txt").write_text("6")
    said = cst("train", "--resume", "--out", run, "--data", moved)
    assert said.code == 1
    assert "fingerprint" in said.err


def test_not_finite_loss_stops_with_a_message(cst, tmp_path: Path):
    said = cst("train", "--backend", "toy", "--out", tmp_path / "run", *QUICK, "--set", "learning_rate=1e30")
    assert said.code == 1
    assert "learning_rate" in said.err
    assert "stage 1, step" in said.err
    assert json.loads((tmp_path / "run/manifest.json").read_text())["status"] == "failed"


def test_info(cst):
    said = cst("info", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert found["backends"]["toy"]["distribution"] == "cst-toy 0.0.1"
    assert "cpu" in found["devices"]
    assert "torch" in found["versions"]
    assert "toy" in cst("info").out


def test_prepare_is_found_and_loaded_on_demand(cst):
    assert "signals" in cst("prepare", "--help").out
    said = cst("prepare", "signals", "3")
    assert (said.code, said.out) == (0, "3 signals\n"), said.err
    assert "Count signals" in cst("prepare", "signals", "--help").out
    assert cst("prepare", "signals", "many").code == 2


def test_broken_plugin_names_its_distribution(cst, toy_folder: Path, tmp_path: Path, monkeypatch):
    information = tmp_path / "broken-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text("[cst.backends]\nbad = no_such_module:PLUGIN\nempty = json:dumps\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = cst("train", "--backend", "bad")
    assert said.code == 1
    assert "broken 1.2" in said.err
    assert "no_such_module" in said.err
    assert "no config_class" in cst("train", "--backend", "empty").err.replace("no name, ", "no ")
    assert "broken 1.2" in cst("info").out  # the others can still be seen
    (information / "entry_points.txt").write_text("[cst.backends]\ntoy = elsewhere:PLUGIN\n")
    monkeypatch.syspath_prepend(toy_folder)
    assert "both" in cst("train", "--backend", "toy").err


def test_interrupt_says_how_to_go_on(cst_process, tmp_path: Path):
    run = tmp_path / "run"
    process = cst_process("train", "--backend", "toy", "--preset", "long", "--set", "iterations=1000000", "--out", run)
    _wait_for_step(process, run, stage=1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cst train --resume --out {run}" in err
    assert len(err.splitlines()) == 1
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"


def test_killed_run_ends_with_the_same_weights(cst_process, toy, tmp_path: Path):
    options = ("--backend", "toy", "--set", "stages=2", "--set", "iterations=230")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = cst_process("train", *options, "--out", whole)
    process = cst_process("train", *options, "--out", killed)
    _wait_for_step(process, killed, stage=2)
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.communicate()
    with (killed / "log.jsonl").open("a") as log:
        log.write('{"time": "half a li')
    newest = next(path for name in ("resume.pt", "resume.previous.pt") if (path := killed / name).exists())
    snapshot = torch.load(newest, weights_only=True)
    assert snapshot["stage"] == 2, "killed too late to test anything"
    for cache in killed.glob("labels/*/*"):
        cache.unlink()
    resumed = cst_process("train", "--resume", "--out", killed)
    _, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert uninterrupted.wait(timeout=120) == 0
    uninterrupted.communicate()
    one, other = (load_model(folder, toy, "cpu") for folder in (whole, killed))
    assert weights_digest(one.network) == weights_digest(other.network)
    assert [e["stage"] for e in events(killed) if e["kind"] == "evaluation"] == [0, 1, 2]
    assert len(json.loads((killed / "manifest.json").read_text())["resumed"]) == 1


def _wait_for_step(process: subprocess.Popen[str], run: Path, stage: int) -> None:
    deadline = time.monotonic() + 300
    mark = f'"kind": "step", "stage": {stage}, '
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "log.jsonl").exists() and mark in (run / "log.jsonl").read_text():
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(process.communicate())
