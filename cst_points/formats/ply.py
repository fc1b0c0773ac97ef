"""PLY (Turk 1994): ASCII or binary of either byte order is read, binary little-endian is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cst_core.errors import DataError
from cst_points.formats.content import damaged
from cst_points.formats.numbers import Points, double, parsed

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


class _Element(NamedTuple):
    name: str
    number: int
    properties: list[tuple[str, str]]
    """Name and numpy type without byte order; the type is ``list`` for a list."""


def decode(path: Path, data: bytes) -> Points:
    """The vertices' ``x y z``: the elements before them are skipped, those after are not looked at."""
    head = re.match(rb"ply[ \t]*\r?\n(.*?)end_header[ \t]*(?:\r\n|\r(?!\n)|\n)", data, re.DOTALL)
    if head is None:
        damaged(path, "a PLY header from 'ply' to 'end_header' is expected, found none")
    encoding, elements = _header(path, head[1].decode("ascii", "replace"))
    index = next((i for i, element in enumerate(elements) if element.name == "vertex"), None)
    if index is None:
        damaged(path, "an element 'vertex' is needed, found none")
    vertex, body = elements[index], memoryview(data)[head.end() :]
    names = [name for name, _ in vertex.properties]
    if any(names.count(axis) != 1 for axis in "xyz"):
        damaged(path, f"vertices need the properties x, y, z once each, found {' '.join(names)[:80] or 'none'}")
    if any(kind == "list" for element in elements[: index + 1] for _, kind in element.properties):
        raise DataError(f"{path}: no lists may stand in or before the vertices; save the cloud without faces")
    if encoding == "ascii":
        return _text_rows(path, bytes(body), vertex, sum(element.number for element in elements[:index]))
    return _binary_rows(path, body, elements[:index], vertex, BYTE_ORDERS[encoding])


def _header(path: Path, header: str) -> tuple[str, list[_Element]]:
    encoding, elements = "", list[_Element]()
    for line in header.splitlines():
        match line.split():
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as encoding, "1.0"]:
                pass
            case ["element", name, count] if re.fullmatch(r"[0-9]{1,18}", count):
                elements.append(_Element(name, int(count), []))
            case ["property", "list", _, _, name] if elements:
                elements[-1].properties.append((name, "list"))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append((name, TYPES[kind]))
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case _:
                damaged(path, f"the PLY header has the line {line[:60]!r}, which is not understood")
    if not encoding:
        damaged(path, "the PLY header must name its format, found none")
    return encoding, elements


def _text_rows(path: Path, body: bytes, vertex: _Element, skip: int) -> Points:
    lines = [line.split() for line in body.splitlines() if line.strip()][skip : skip + vertex.number]
    if len(lines) < vertex.number:
        damaged(path, f"the header promises {vertex.number} vertices, found {len(lines)} (truncated)")
    width = len(vertex.properties)
    names = [name for name, _ in vertex.properties]
    wrong = next((i for i, line in enumerate(lines) if len(line) != width), None)
    if wrong is not None:
        damaged(path, f"vertex {wrong + 1} must have {width} columns, found {len(lines[wrong])}")
    return parsed(path, [line[names.index(axis)] for line in lines for axis in "xyz"])


def _binary_rows(path: Path, body: memoryview, before: list[_Element], vertex: _Element, order: str) -> Points:
    def size(element: _Element) -> int:
        return sum(np.dtype(kind).itemsize for _, kind in element.properties)

    start = sum(element.number * size(element) for element in before)
    needed = start + vertex.number * size(vertex)
    if len(body) < needed:
        damaged(path, f"the header promises {needed} bytes for {vertex.number} vertices, found {len(body)} (truncated)")
    names = [name for name, _ in vertex.properties]
    kinds = [kind for _, kind in vertex.properties]
    offsets = [sum(np.dtype(kind).itemsize for kind in kinds[: names.index(axis)]) for axis in "xyz"]
    formats = [order + kinds[names.index(axis)] for axis in "xyz"]
    record = np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": size(vertex)})
    rows = np.frombuffer(body[start:needed], dtype=record)
    return np.stack([double(rows[axis]) for axis in "xyz"], axis=1)


def encode(points: NDArray[np.float32]) -> bytes:
    """Binary little-endian, single precision."""
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    return header.encode() + points.astype("<f4").tobytes()
