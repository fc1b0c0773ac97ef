"""What a GPU does: agreement with the CPU, seconds a pair, the paper's abdomen schedule, a fold of the lungs.

    python -m benchmarks.gpu --runs runs/gpu --json benchmarks/results/gpu.json --abdomen FOLDER --lungs FOLDER
    python -m benchmarks.gpu ... --piece abdomen --minutes 9

Goes through the pieces that are not done until the minutes are over, and can be called again until all are: a training
that has no more time is interrupted and resumed by the next call. Without folders the phantoms serve. A piece's seconds
are wall time over all calls, starts of Python and reading included, and steps taken twice after an interruption. To try
it without a GPU:

    python -m benchmarks.gpu --runs R --json R.json --device cpu --shape 48x40x64 --image-set stages=1 ...
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.pairs import image_pair, points_pair
from benchmarks.record import circumstances, write
from cst_core.eventlog import EventLog

_STOPPING = 30.0  # seconds that an interrupted training may take to end
_LEAST = 20.0  # seconds, below which no further piece is begun
_CST = "from cst_core.cli import main; main()"


def main() -> None:
    """Do what time allows, and write it down after every piece."""
    options = parsed()
    end = time.monotonic() + 60.0 * options.minutes
    result: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {"pieces": {}}
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    if result.setdefault("device", name) != name:
        raise SystemExit(f"{options.json}: is of {result['device']}, this is {name}; choose another --json")
    for piece in [options.piece] if options.piece else list(PIECES):
        found = result["pieces"].get(piece, {"done": False, "seconds": 0.0})
        left = end - time.monotonic()
        if found["done"] or left < _LEAST:
            continue
        begin = time.monotonic()
        found |= PIECES[piece](options, left)
        found["seconds"] += time.monotonic() - begin
        result["pieces"][piece] = found
        write(result | {"circumstances": circumstances(torch.get_num_threads())}, options.json)
        print(f"{piece}: {'done' if found['done'] else 'to be continued'}, {found['seconds']:.1f} s", flush=True)
    waiting = [piece for piece in PIECES if not result["pieces"].get(piece, {}).get("done")]
    print(f"To do: {', '.join(waiting)}; call again" if waiting else f"All done: {options.json}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="run folders are kept here")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--abdomen", default="phantom", help="Learn2Reg's AbdomenCTCT")
    parser.add_argument("--lungs", default="phantom", help="the public keypoint release")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call")
    parser.add_argument("--piece", choices=PIECES, help="only this one")
    parser.add_argument("--shape", default="192x160x256", help="voxels of the pair that is timed")
    parser.add_argument("--image-set", nargs="*", default=[], metavar="KEY=VALUE", help="of the abdomen's training")
    parser.add_argument("--points-set", nargs="*", default=[], metavar="KEY=VALUE", help="of the fold's training")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is none; pass --device cpu to try the pieces")
    return options


def agreement(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The tests that need a GPU."""
    del options
    # only modules with such tests: to collect all takes minutes
    files = [str(file) for file in sorted(Path("tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"done": False}
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"done": True, "exit_code": done.returncode, "said": lines[-1] if lines else "", "failed": failed}


def pair_of_volumes(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Seconds to register two volumes at test time."""
    del seconds
    x, y, z = map(int, options.shape.split("x"))
    return {"done": True, **image_pair((x, y, z), options.device)}


def pair_of_clouds(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Seconds to register two clouds at test time."""
    del seconds
    return {"done": True, **points_pair(options.lungs, options.device)}


def abdomen(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The paper's schedule: 8 stages of 1000 iterations."""
    return trained(options, "abdomen", ["image", options.abdomen, "paper"], options.image_set, seconds)


def fold(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One COPD fold."""
    return trained(options, "fold", ["points", options.lungs, "best"], options.points_set, seconds, ["--fold", "1"])


def trained(
    options: argparse.Namespace,
    name: str,
    what: Sequence[str],
    settings: Sequence[str],
    seconds: float,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """``cst train``, begun or resumed, for as many seconds; what its log says."""
    run: Path = options.runs / name
    if (run / "manifest.json").exists():
        command = ["train", "--resume", "--out", str(run)]
    else:
        backend, data, preset = what
        command = ["train", "--backend", backend, "--data", data, "--preset", preset, *more, "--out", str(run)]
        command += [word for setting in settings for word in ("--set", setting)]
    ended = interrupted_after([sys.executable, "-c", _CST, *command, "--device", options.device], seconds - _STOPPING)
    if ended not in (0, None):
        raise SystemExit(f"cst {' '.join(command)}: failed with exit code {ended}")
    return {"done": ended == 0, **told_by(run / "log.jsonl")}


def interrupted_after(command: Sequence[str], seconds: float) -> int | None:
    """The exit code; None if it had to be interrupted."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
    return None


def told_by(log: Path) -> dict[str, Any]:
    """Means over the test pairs by stage, and the last step of which the loss was read."""
    steps = [event for event in EventLog(log).read() if event["kind"] == "step"]
    means = {stage: event["mean"] for stage, event in EventLog(log).evaluations().items()}
    return {"stages": means, "last_step": {key: steps[-1].get(key) for key in ("stage", "done")} if steps else None}


PIECES: dict[str, Callable[[argparse.Namespace, float], dict[str, Any]]] = {
    "agreement": agreement,
    "pair-image": pair_of_volumes,
    "pair-points": pair_of_clouds,
    "fold": fold,
    "abdomen": abdomen,
}


if __name__ == "__main__":
    main()
