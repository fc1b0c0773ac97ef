"""Landmarks of a pair in a CSV file: six columns with a header, world mm (RAS)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError
from cst_core.files import write_atomically
from cst_core.plugin import Landmarks

COLUMNS = ("fixed_x", "fixed_y", "fixed_z", "moving_x", "moving_y", "moving_z")
MOVED = (*COLUMNS, "moved_x", "moved_y", "moved_z", "error_mm")


def read_landmarks(path: Path) -> Landmarks:
    """Points that correspond, RAS mm, float64.

    Raises:
        DataError: another header, a row that is not six finite numbers, or no row.
    """
    header, *rows = _rows(path)
    if tuple(word.strip().lower() for word in header) != COLUMNS:
        raise DataError(
            f"{path}: the first line must be {','.join(COLUMNS)}, found {','.join(header)[:80]!r}; "
            "add or correct the header"
        )
    values = torch.tensor([_numbers(path, line, row) for line, row in enumerate(rows, start=2)], dtype=torch.float64)
    if not len(values):
        raise DataError(f"{path}: at least one landmark is needed, found none; write the file again")
    return Landmarks(values[:, :3], values[:, 3:])


def write_moved(path: Path, landmarks: Landmarks, moved: Float[Tensor, "L 3"], errors: Float[Tensor, "L"]) -> None:
    """The landmarks with a third place each: where the registration takes the fixed one, and its error, mm."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MOVED)
    table = torch.cat([landmarks.fixed, landmarks.moving, moved, errors[:, None]], dim=1)
    writer.writerows([f"{value:.4f}" for value in row] for row in table.tolist())
    write_atomically(path, text.getvalue().encode())


def landmark_figures(initial: Float[Tensor, "L"], errors: Float[Tensor, "L"]) -> dict[str, object]:
    """``landmarks`` of register.json: mean and deviation of the errors, and each, mm."""
    return {
        "tre_mm_initial": _mean_and_sd(initial),
        "tre_mm": _mean_and_sd(errors),
        "errors_mm_initial": initial.tolist(),
        "errors_mm": errors.tolist(),
    }


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: must be text in UTF-8 ({error.reason} at byte {error.start}); save it as CSV"
        ) from None
    try:
        return [row for row in csv.reader(text.splitlines()) if any(word.strip() for word in row)] or [[]]
    except csv.Error as error:
        raise DataError(f"{path}: must be a CSV file ({error}); save it again") from None


def _numbers(path: Path, line: int, row: Sequence[str]) -> list[float]:
    try:
        values = [float(word) for word in row]
    except ValueError:
        values = []
    if len(values) != len(COLUMNS) or not all(map(math.isfinite, values)):
        raise DataError(f"{path}: row {line} must be six finite numbers, found {','.join(row)[:80]!r}; correct it")
    return values


def _mean_and_sd(errors: Tensor) -> dict[str, float]:
    return {"mean": float(errors.mean()), "sd": float(errors.std(correction=0))}
