"""What of the Dice of two labels is lost at their outer surface, and what where one goes over into the other.

    python -m benchmarks.division --data HippocampusMR --model hippocampus --fold 1 [--tool greedy] [--json FILE]

Head and body of the hippocampus meet somewhere along its axis. Random pairs of the test scans are registered; said are
Dice of the labels, Dice of the two as one, and how far apart, along the axis, the two ends and the division lie before
and after. Where the ends come together and the division does not, it is asked whether its shift is a number of the
moving scan less one of the fixed scan. If so, it belongs to scans, as labels drawn by hand would have it, and not to
single registrations; a method that never moved the division would find the same: see how far it lay apart before.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.peers.tool_method import ToolMethod
from benchmarks.record import circumstances, write
from cst_core.field import DisplacementField, Grid
from cst_core.metrics import dice
from cst_core.models import load_model
from cst_image.case import ImageCase
from cst_image.overlap import mean, overlap
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN, at_test

PLACES = ("lower end", "division", "upper end")
_END = 0.02  # of a label's voxels lie beyond what counts as its end: a single one means nothing
_EDGE = 0.05  # the same at the division, where the two labels overlap along the axis


class Scan(NamedTuple):
    """One side of a pair."""

    volume: Tensor
    mask: Tensor | None
    labels: Tensor


def main() -> None:
    """Register, print the table, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True, help="whose configuration reads the data, and which registers it")
    parser.add_argument("--tool", help="what registers in the model's place: a tool of benchmarks.peers")
    parser.add_argument("--fold", type=int)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--json", type=Path, help="by method; what it holds of others stays")
    options = parser.parse_args()
    model = load_model(options.model, PLUGIN, "cpu")
    backend = at_test(model.backend)  # type: ignore[arg-type]
    tool = ToolMethod(options.tool, "small", torch.get_num_threads()) if options.tool else None
    test = PLUGIN.read_data(options.data, options.fold, model.config, "cpu").test  # type: ignore[arg-type]
    scans, axis = test_scans(test), axis_of([case.fixed_labels for case in test])  # type: ignore[attr-defined]
    rows, draw = [], random.Random(0)
    for _ in range(options.pairs):
        fixed, moving = draw.sample(sorted(scans), 2)
        case = paired(test[0].pair.grid, scans[fixed], scans[moving])
        field = tool.register(case.pair, None).field if tool else backend.displacement(model.network, case.pair)
        rows.append({"fixed": fixed, "moving": moving, **one_pair(case, field, axis)})
        print(f"{fixed} {moving}  Dice {rows[-1]['dice']:.3f}, as one {rows[-1]['dice_as_one']:.3f}", flush=True)
    found = {"data": Path(options.data).name, "fold": options.fold, "method": options.tool or options.model}
    found |= {"scans": len(scans), **summary(rows)}
    for name, value in found.items():
        print(f"{name}: {value}")
    found |= circumstances(torch.get_num_threads()) | {"pairs": rows}
    before = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    write(before | {found["method"]: found}, options.json)


def test_scans(cases: Any) -> dict[str, Scan]:
    """By its id, every scan of the test pairs; `cst_core.lazy.LazyCases` know the ids."""
    scans: dict[str, Scan] = {}
    for (fixed, moving), case in zip(cases.keys, cases, strict=True):
        scans[fixed] = Scan(case.pair.fixed, case.pair.fixed_mask, case.fixed_labels)
        scans[moving] = Scan(case.pair.moving, case.pair.moving_mask, case.moving_labels)
    return scans


def paired(grid: Grid, fixed: Scan, moving: Scan) -> ImageCase:
    """The case of two scans that share a grid."""
    pair = ImagePair(fixed.volume, moving.volume, grid, fixed.mask, moving.mask)
    return ImageCase("", pair, fixed_labels=fixed.labels, moving_labels=moving.labels)


def one_pair(case: ImageCase, field: DisplacementField, axis: int) -> dict[str, Any]:
    """Dice of the labels and of both as one; how far the moving scan's places lie above the fixed one's, mm."""
    found = overlap(case, field)
    assert found is not None
    step, fixed = field.grid.spacing[axis], places(found.fixed, axis)
    before, after = (step * (places(labels, axis) - fixed) for labels in (found.moving, found.warped))
    return {
        "dice": mean(found.after),
        "dice_as_one": dice((found.fixed > 0).int(), (found.warped > 0).int())[1],
        "before_mm": before.tolist(),
        "after_mm": after.tolist(),
    }


def axis_of(labels: Sequence[Tensor]) -> int:
    """Along which the centres of labels 1 and 2 lie farthest apart."""
    apart = [(one == 1).nonzero().double().mean(0) - (one == 2).nonzero().double().mean(0) for one in labels]
    return int(torch.stack(apart).mean(0).abs().argmax())


def places(labels: Tensor, axis: int) -> NDArray[np.float64]:
    """`PLACES` of a label map along the axis, voxels."""
    along = {label: np.nonzero((labels == label).numpy())[axis] for label in (1, 2)}
    lower, upper = sorted(along.values(), key=lambda values: float(values.mean()))
    every = np.concatenate([lower, upper])
    division = (np.quantile(lower, 1 - _EDGE) + np.quantile(upper, _EDGE)) / 2
    return np.array([np.quantile(every, _END), division, np.quantile(every, 1 - _END)])


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of Dice; root mean squares of shifts, and the share of the division's that belongs to scans."""
    shifts = {when: np.array([row[f"{when}_mm"] for row in rows]) for when in ("before", "after")}
    rms = {when: np.sqrt((values**2).mean(0)) for when, values in shifts.items()}
    return {
        "dice": fmean(row["dice"] for row in rows),
        "dice_as_one": fmean(row["dice_as_one"] for row in rows),
        "rms_mm": {place: {when: float(values[k]) for when, values in rms.items()} for k, place in enumerate(PLACES)},
        "division_share_of_scans": share_of_scans(
            [(row["fixed"], row["moving"]) for row in rows], shifts["after"][:, 1]
        ),
    }


def share_of_scans(pairs: Sequence[tuple[str, str]], shifts: NDArray[np.float64]) -> float | None:
    """How much of the shifts' mean square is a number of the moving scan less one of the fixed scan (adjusted R^2).

    1: all of it, whatever is registered; 0 or less: no more than as many numbers would fit by chance. None: there are
    too few pairs to tell.
    """
    ids = sorted({id for pair in pairs for id in pair})
    signs = np.zeros((len(pairs), len(ids)))
    for row, (fixed, moving) in zip(signs, pairs, strict=True):
        row[ids.index(fixed)], row[ids.index(moving)] = -1.0, 1.0
    free = len(pairs) - int(np.linalg.matrix_rank(signs))
    if free < 1:
        return None
    left = shifts - signs @ np.linalg.lstsq(signs, shifts, rcond=None)[0]
    return float(1.0 - (left @ left / free) / (shifts @ shifts / len(pairs)))


if __name__ == "__main__":
    main()
