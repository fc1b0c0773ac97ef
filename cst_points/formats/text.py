"""CSV and XYZ: rows of numbers, one point a line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cst_core.errors import DataError
from cst_points.formats.content import damaged
from cst_points.formats.numbers import Points, is_number


def decode_csv(path: Path, data: bytes) -> Points:
    """Three columns."""
    return read_table(path, data, columns=3)


def decode_xyz(path: Path, data: bytes) -> Points:
    """Three columns or more."""
    return read_table(path, data, columns=3, surplus=True)


def read_table(path: Path, data: bytes, columns: int, surplus: bool = False) -> Points:
    """Rows of numbers from text: ``(rows, columns)``, at least one row.

    Columns are separated by commas, semicolons or white space. The first line may be a header: one in which nothing
    is or looks like a number. ``surplus`` permits further columns, which are ignored.

    Raises:
        DataError: bytes that are no text, words among the numbers, or another number of columns.
    """
    lines = [line for line in _numbered_lines(_decode(path, data)) if line[1]]
    names = None
    if lines and all(_is_name(word) for word in lines[0][1]):
        names = [word.strip('"').lower() for word in lines.pop(0)[1]]
    if not lines:
        raise DataError(f"{path}: at least one row of numbers is needed, found none; write the file again")
    table = np.array([_row(path, number, words, columns, surplus) for number, words in lines], dtype=np.float64)
    if names is not None and sorted(names) == ["x", "y", "z"]:
        table = table[:, [names.index(axis) for axis in "xyz"]]
    return table


def _decode(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        damaged(path, f"text in UTF-8 is expected, found byte {data[error.start]:#04x} at {error.start}")
    return text


def _numbered_lines(text: str) -> list[tuple[int, list[str]]]:
    """Line number (from 1) and words; comments have no words. With semicolons, a comma is no separator."""
    lines = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.lstrip().startswith("#"):
            continue
        separator = ";" if ";" in line else ","
        words = [word.strip() for word in line.split(separator)] if separator in line else line.split()
        lines.append((number, words))
    return lines


def _is_name(word: str) -> bool:
    """What may stand in a header: begins with a letter, so that ``1,5`` is a mistake in a row and not a name."""
    return word.lstrip("\"' _")[:1].isalpha() and not is_number(word)


def _row(path: Path, number: int, words: list[str], columns: int, surplus: bool) -> list[float]:
    if len(words) != columns and not (surplus and len(words) > columns):
        rule = f"at least {columns}" if surplus else str(columns)
        raise DataError(
            f"{path}: line {number} must have {rule} columns, found {len(words)}; keep the coordinates only"
        )
    wrong = next((word for word in words[:columns] if not is_number(word)), None)
    if wrong is not None:
        raise DataError(
            f"{path}: line {number} must hold numbers with a decimal point, found {wrong[:20]!r}; correct that line"
        )
    return [float(word) for word in words[:columns]]


def encode_csv(points: NDArray[np.float32]) -> bytes:
    """Separated by commas, under a header."""
    return encode_rows(points, ",", "x,y,z\n")


def encode_xyz(points: NDArray[np.float32]) -> bytes:
    """Separated by spaces, without a header."""
    return encode_rows(points, " ")


def encode_rows(points: NDArray[np.float32], separator: str, header: str = "") -> bytes:
    """Rows of any width, with the nine digits that bring single precision back exactly."""
    rows = (separator.join(f"{value:.9g}" for value in row) for row in points.tolist())
    return (header + "".join(f"{row}\n" for row in rows)).encode()
