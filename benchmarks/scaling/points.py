"""One point of `benchmarks.scaling`, in a process of its own: measures, and prints one JSON object.

    python -m benchmarks.scaling.points scans FOLDER        # of NIfTI volumes: open, label some pairs, train
    python -m benchmarks.scaling.points clouds FOLDER       # the same, of pairs of clouds
    python -m benchmarks.scaling.points side 128            # register one pair of volumes of 128^3 voxels
    python -m benchmarks.scaling.points store 4000          # keep so many tiny labels on disk

Peak memory is the kernel's ``VmHWM``; ``start_mb`` is that of this process before it begins. Seconds are
the processor's, on one thread, so that other work on the machine counts less.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.field import Grid, warp
from cst_core.labels import PseudoLabels
from cst_core.lazy import pairs_of
from cst_core.plugin import BackendPlugin
from cst_core.training import self_train
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.folder import read_folder
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN as IMAGE
from cst_image.split import split_pairs
from cst_points.config import PointsConfig
from cst_points.plugin import PLUGIN as POINTS

LABELS, STEPS = 10, 20
"""As many of each at every number of scans."""
SPACING = (2.0, 2.0, 2.0)
SMALL = ImageConfig(
    intensity="mr",
    channels=(8, 8, 16, 16),
    strides=(2, 1, 2, 1),
    first_towers=1,
    adam_steps=10,
    max_train_pairs=None,
    memory_gb=0.002,  # a dozen of the volumes: the others are read when needed
)
NARROW = PointsConfig(first_towers=1, candidates=64, rounds=4, views=1)


def main() -> None:
    """Measure one point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("what")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = resident_mb()
    found = PARTS[options.part](options.what)
    print(json.dumps({"start_mb": start, **found, "peak_mb": resident_mb()}))


def scans(folder: str) -> dict[str, Any]:
    """All pairs of a folder of scans; what a pair costs in memory before anything is read of it."""
    found = training(IMAGE, SMALL, folder)
    listed = read_folder(folder)
    tracemalloc.start()
    split = split_pairs(listed, None, SMALL)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return found | {"bytes_a_pair": held / len(split.train)}


def clouds(folder: str) -> dict[str, Any]:
    """Pairs of clouds."""
    return training(POINTS, NARROW, folder)


def training(plugin: BackendPlugin[Any], config: Any, folder: str) -> dict[str, Any]:
    """Open a data set, and train one short stage on labels of a bounded number of its pairs."""
    begin, before = time.process_time(), resident_mb()
    data = plugin.read_data(folder, None, config, "cpu")
    opened, held = time.process_time() - begin, resident_mb()
    backend = plugin.backend(config, "cpu")
    pairs = pairs_of(data.train)
    # the size of a label, and whatever is compiled at the first call
    made = backend.register(plugin.untrained(backend, 0), pairs[0]).refined
    room = (LABELS + 0.5) * made.numel() * 2 / 1e9
    train = TrainConfig(stages=1, iterations=STEPS, batch_size=2, max_labels_gb=room)
    times: dict[str, list[float]] = {"begin": [time.process_time()], "label": [], "step": []}

    def watch(event: Event) -> None:
        times.setdefault(event.kind, []).append(time.process_time())

    with tempfile.TemporaryDirectory() as name:
        self_train(
            backend,
            pairs,
            train,
            first=plugin.untrained(backend, 0),
            watch=watch,
            labels_folder=Path(name, "labels"),
        )
    return {
        "pairs": len(pairs),
        "open_s": opened,
        "open_mb": held - before,
        "label_s": (times["label"][-1] - times["begin"][0]) / len(times["label"]),
        "labels": len(times["label"]),
        "step_s": (times["step"][-1] - times["label"][-1]) / STEPS,
    }


def side(voxels: str) -> dict[str, Any]:
    """One registration by the paper's network, untrained; two warps and Adam."""
    n = int(voxels)
    backend = ImageBackend(ImageConfig(first_towers=1))
    network, pair = backend.untrained(0).eval(), volumes((n, n, n))
    small = volumes((64, 64, 64))
    backend.register(network, small)  # compiles
    begin = time.process_time()
    backend.register(network, pair)
    return {"voxels": n**3, "pair_s": time.process_time() - begin}


def store(labels: str) -> dict[str, Any]:
    """Write so many tiny labels and find them again; what the index has written and holds."""
    n, field = int(labels), torch.zeros(3, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "labels")
        kept = PseudoLabels(n, folder, "0" * 64)
        begin, written = time.process_time(), io_bytes()[1]
        for pair in range(n):
            kept.put(pair, field, 1.0)
        put, written = time.process_time() - begin, io_bytes()[1] - written
        begin = time.process_time()
        found = PseudoLabels(n, folder, "0" * 64)
        opened = time.process_time() - begin
        assert not found.missing
        index = (folder / "index.jsonl").stat().st_size
    return {"put_s": put / n, "open_s": opened, "index_bytes": index / n, "written_bytes": written / n}


def volumes(shape: tuple[int, int, int]) -> ImagePair:
    """A smooth random volume of two grains, and the same deformed by up to 10 mm."""
    volume = (0.3 * smooth(shape, 1, 24) + 0.15 * smooth(shape, 1, 6)).clamp(-0.4, 0.6)
    field = smooth(shape, 3, 40)
    return ImagePair(volume, warp(volume, 10.0 * field / field.abs().max(), SPACING), Grid.of(shape, SPACING))


def smooth(shape: tuple[int, int, int], channels: int, voxels: int, seed: int = 0) -> torch.Tensor:
    """Standard normal values every so many voxels, linear between them."""
    nodes = [-(-n // voxels) + 1 for n in shape]
    coarse = torch.randn(1, channels, *nodes, generator=torch.Generator().manual_seed(1000 * seed + voxels))
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]


def resident_mb() -> float:
    """The highest so far, 10^6 bytes, of this program alone: getrusage's begins with what the parent held."""
    told = Path("/proc/self/status")
    if not told.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3
    return next(int(line.split()[1]) for line in told.read_text().splitlines() if line.startswith("VmHWM")) * 1.024e-3


def io_bytes() -> tuple[int, int]:
    """Read and written by this process so far, as it asked for it; 0 where the kernel does not say."""
    told = Path("/proc/self/io")
    lines = dict(line.split(": ") for line in told.read_text().splitlines()) if told.exists() else {}
    return int(lines.get("rchar", 0)), int(lines.get("wchar", 0))


PARTS: dict[str, Callable[[str], dict[str, Any]]] = {"scans": scans, "clouds": clouds, "side": side, "store": store}


if __name__ == "__main__":
    main()
