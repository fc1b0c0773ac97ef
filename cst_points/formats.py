"""Point clouds and landmarks in files: CSV, PLY, XYZ, NPZ and legacy VTK; millimetres throughout.

Readers take arbitrary bytes and raise nothing but `DataError`. A count that a header claims is compared with the size
of the file before anything of that size is allocated.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from cst_core.errors import DataError
from cst_core.files import replace_atomically
from cst_core.plugin import Landmarks

Points = NDArray[np.float64]

MAX_ARRAY_BYTES = 1 << 28
"""An unpacked NPZ member may have this size (22 million points in single precision); more is no keypoint cloud."""
DEFLATE_LIMIT = 1032
"""A deflate stream cannot unpack to more than this many times its size (zlib's technical notes)."""
LARGEST = float(np.finfo(np.float32).max)

PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
PLY_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
VTK_TYPES = {"float": ">f4", "double": ">f8", "int": ">i4", "short": ">i2"}


def read_cloud(path: str | Path) -> Float[Tensor, "N 3"]:
    """The points of one file, ``(N, 3)``, float32, in the file's order, axes and unit (mm by convention).

    - ``.csv``: three columns, separated by commas, semicolons or white space; a header line is optional, and one that
      names ``x``, ``y``, ``z`` in another order is obeyed; lines that begin with ``#`` are skipped.
    - ``.xyz``: the same without a header; columns after the third (normals, colours, intensities) are ignored.
    - ``.ply``: ASCII or binary of either byte order; only the vertices' ``x y z`` are read.
    - ``.npz``: the array ``points`` or ``xyz``, or the only array; shape ``(N, 3)``.
    - ``.vtk``: legacy POLYDATA, ASCII or binary; only ``POINTS`` is read. XML files (``.vtp``) are not read.

    Raises:
        DataError: a file that is missing, empty, damaged, of another format, without points or with NaN or infinity.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        _refuse_extension(path)
    return torch.from_numpy(_single_precision(path, reader(path, read_bytes(path))))


def read_landmarks(path: str | Path) -> Landmarks:
    """Corresponding points of a CSV file: six columns, fixed x y z then moving x y z, mm; a header is optional.

    Raises:
        DataError: as `read_cloud`; also when a row has not six columns.
    """
    path = Path(path)
    both = torch.from_numpy(_single_precision(path, read_table(path, read_bytes(path), columns=6)))
    return Landmarks(both[:, :3].contiguous(), both[:, 3:].contiguous())


def write_cloud(path: str | Path, points: Tensor) -> None:
    """Write ``(N, 3)`` points, mm, in the format that the extension names; the file appears only when complete.

    PLY is written binary little-endian, VTK as binary legacy POLYDATA, both in single precision; text has the nine
    digits that single precision needs to come back exactly.

    Raises:
        DataError: an unsupported extension, a missing folder, no points, or NaN or infinity among them.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        _refuse_extension(path)
    write_bytes(path, writer(_writable(path, points, 3)))


def write_landmarks(path: str | Path, landmarks: Landmarks) -> None:
    """Write landmarks, mm, as a CSV file that `read_landmarks` reads.

    Raises:
        DataError: as `write_cloud`; also when fixed and moving differ in number.
    """
    path = Path(path)
    if landmarks.fixed.shape != landmarks.moving.shape:
        shapes = f"{tuple(landmarks.fixed.shape)} and {tuple(landmarks.moving.shape)}"
        raise DataError(f"{path}: fixed and moving landmarks must be as many, found {shapes}; give them in pairs")
    both = _writable(path, torch.cat([landmarks.fixed, landmarks.moving], dim=1), 6)
    write_bytes(path, _text(both, ",", "fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n"))


def read_bytes(path: Path) -> bytes:
    """The content of a file; `DataError` if it is missing, unreadable or empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder where a file is expected; name a file in it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); check the path and its permissions") from None
    if not data:
        raise DataError(f"{path}: the file is empty (0 bytes); write or copy it again")
    return data


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
        _damaged(path, f"text in UTF-8 is expected, found byte {data[error.start]:#04x} at {error.start}")
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
    return word.lstrip("\"' _")[:1].isalpha() and not _is_number(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _row(path: Path, number: int, words: list[str], columns: int, surplus: bool) -> list[float]:
    if len(words) != columns and not (surplus and len(words) > columns):
        rule = f"at least {columns}" if surplus else str(columns)
        raise DataError(
            f"{path}: line {number} must have {rule} columns, found {len(words)}; keep the coordinates only"
        )
    wrong = next((word for word in words[:columns] if not _is_number(word)), None)
    if wrong is not None:
        raise DataError(
            f"{path}: line {number} must hold numbers with a decimal point, found {wrong[:20]!r}; correct that line"
        )
    return [float(word) for word in words[:columns]]


def _single_precision(path: Path, table: Points) -> NDArray[np.float32]:
    """Finite values only, at least one row; the shape's second entry is the reader's affair."""
    if len(table) == 0:
        raise DataError(f"{path}: at least one point is needed, found 0; write the file again")
    wrong = np.flatnonzero(~(np.abs(table) <= LARGEST).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{path}: coordinates must be finite, found {_words(table[wrong[0]])} in point {wrong[0] + 1} "
            f"({len(wrong)} such of {len(table)}); remove those points"
        )
    return table.astype(np.float32)


def _words(row: NDArray[Any]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in row) + ")"


def _refuse_extension(path: Path) -> NoReturn:
    known = ", ".join(READERS)
    hint = "; XML VTK files are not read, save it as legacy .vtk" if path.suffix.lower() == ".vtp" else ""
    raise DataError(f"{path}: the extension must be one of {known}, found '{path.suffix}'; convert the file{hint}")


def _damaged(path: Path, what: str) -> NoReturn:
    raise DataError(f"{path}: {what}; the file is damaged or of another format, write or copy it again")


def _read_csv(path: Path, data: bytes) -> Points:
    return read_table(path, data, columns=3)


def _read_xyz(path: Path, data: bytes) -> Points:
    return read_table(path, data, columns=3, surplus=True)


class _PlyElement(NamedTuple):
    name: str
    number: int
    properties: list[tuple[str, str]]
    """Name and numpy type without byte order; the type is ``list`` for a list."""


def _read_ply(path: Path, data: bytes) -> Points:
    """Vertices of a PLY file (Turk 1994): the elements before them are skipped, those after are not looked at."""
    head = re.match(rb"ply[ \t]*\r?\n(.*?)end_header[ \t]*(?:\r\n|\r(?!\n)|\n)", data, re.DOTALL)
    if head is None:
        _damaged(path, "a PLY header from 'ply' to 'end_header' is expected, found none")
    encoding, elements = _ply_header(path, head[1].decode("ascii", "replace"))
    index = next((i for i, element in enumerate(elements) if element.name == "vertex"), None)
    if index is None:
        _damaged(path, "an element 'vertex' is needed, found none")
    vertex, body = elements[index], memoryview(data)[head.end() :]
    names = [name for name, _ in vertex.properties]
    if any(names.count(axis) != 1 for axis in "xyz"):
        _damaged(path, f"vertices need the properties x, y, z once each, found {' '.join(names)[:80] or 'none'}")
    if any(kind == "list" for element in elements[: index + 1] for _, kind in element.properties):
        raise DataError(f"{path}: no lists may stand in or before the vertices; save the cloud without faces")
    if encoding == "ascii":
        return _ply_text(path, bytes(body), vertex, sum(element.number for element in elements[:index]))
    return _ply_binary(path, body, elements[:index], vertex, PLY_BYTE_ORDERS[encoding])


def _ply_header(path: Path, header: str) -> tuple[str, list[_PlyElement]]:
    encoding, elements = "", list[_PlyElement]()
    for line in header.splitlines():
        match line.split():
            case ["format", ("ascii" | "binary_little_endian" | "binary_big_endian") as encoding, "1.0"]:
                pass
            case ["element", name, count] if re.fullmatch(r"[0-9]{1,18}", count):
                elements.append(_PlyElement(name, int(count), []))
            case ["property", "list", _, _, name] if elements:
                elements[-1].properties.append((name, "list"))
            case ["property", kind, name] if elements and kind in PLY_TYPES:
                elements[-1].properties.append((name, PLY_TYPES[kind]))
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case _:
                _damaged(path, f"the PLY header has the line {line[:60]!r}, which is not understood")
    if not encoding:
        _damaged(path, "the PLY header must name its format, found none")
    return encoding, elements


def _ply_text(path: Path, body: bytes, vertex: _PlyElement, skip: int) -> Points:
    lines = [line.split() for line in body.splitlines() if line.strip()][skip : skip + vertex.number]
    if len(lines) < vertex.number:
        _damaged(path, f"the header promises {vertex.number} vertices, found {len(lines)} (truncated)")
    width = len(vertex.properties)
    names = [name for name, _ in vertex.properties]
    wrong = next((i for i, line in enumerate(lines) if len(line) != width), None)
    if wrong is not None:
        _damaged(path, f"vertex {wrong + 1} must have {width} columns, found {len(lines[wrong])}")
    return _numbers(path, [line[names.index(axis)] for line in lines for axis in "xyz"])


def _ply_binary(path: Path, body: memoryview, before: list[_PlyElement], vertex: _PlyElement, order: str) -> Points:
    def size(element: _PlyElement) -> int:
        return sum(np.dtype(kind).itemsize for _, kind in element.properties)

    start = sum(element.number * size(element) for element in before)
    needed = start + vertex.number * size(vertex)
    if len(body) < needed:
        _damaged(
            path, f"the header promises {needed} bytes for {vertex.number} vertices, found {len(body)} (truncated)"
        )
    names = [name for name, _ in vertex.properties]
    kinds = [kind for _, kind in vertex.properties]
    offsets = [sum(np.dtype(kind).itemsize for kind in kinds[: names.index(axis)]) for axis in "xyz"]
    formats = [order + kinds[names.index(axis)] for axis in "xyz"]
    record = np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": size(vertex)})
    rows = np.frombuffer(body[start:needed], dtype=record)
    return np.stack([_double(rows[axis]) for axis in "xyz"], axis=1)


def _double(values: NDArray[Any]) -> Points:
    """As double precision; a signalling NaN among damaged bytes must not become a warning."""
    with np.errstate(all="ignore"):
        return values.astype(np.float64)


def _numbers(path: Path, words: list[bytes]) -> Points:
    """``(n, 3)`` from ``3 n`` words."""
    try:
        return np.array([float(word) for word in words], dtype=np.float64).reshape(-1, 3)
    except ValueError:
        wrong = next(word for word in words if not _is_number(word.decode("latin-1")))
        _damaged(path, f"coordinates must be numbers, found {wrong[:20].decode('latin-1')!r}")


def _read_npz(path: Path, data: bytes) -> Points:
    # zipfile and numpy raise a dozen unrelated types on damaged bytes; numpy also warns of headers from Python 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = _npz_array(path, data)
    except DataError:
        raise
    except Exception as error:
        _damaged(path, f"an NPZ archive of arrays is expected, found none that can be read ({type(error).__name__})")
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        _damaged(path, f"the array must have the shape (N, 3) and hold numbers, found {array.shape} of {array.dtype}")
    return _double(array)


def _npz_array(path: Path, data: bytes) -> NDArray[Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        key = next((key for key in ("points", "xyz") if key in members), None)
        if key is None and len(members) == 1:
            key = next(iter(members))
        if key is None:
            found = ", ".join(members)[:80] or "none"
            _damaged(path, f"an array named 'points' or 'xyz', or a single array, is needed, found {found}")
        info = archive.getinfo(members[key])
        ceiling = min(MAX_ARRAY_BYTES, DEFLATE_LIMIT * min(info.compress_size, len(data)) + 64)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > ceiling:
            _damaged(path, f"array '{key[:40]}' must unpack to at most {ceiling} bytes, promises {info.file_size}")
        content = archive.read(info)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    count, body = int(np.prod([int(n) for n in shape], dtype=object)), content[stream.tell() :]
    if dtype.hasobject or count < 0 or count * dtype.itemsize > len(body):
        _damaged(path, f"array '{key[:40]}' promises {shape} of {dtype}, found {len(body)} bytes (truncated)")
    return np.frombuffer(body, dtype=dtype, count=count).reshape(shape, order="F" if fortran else "C")


def _read_vtk(path: Path, data: bytes) -> Points:
    """``POINTS`` of a legacy VTK file (VTK File Formats, "Simple Legacy Formats"); binary is big-endian."""
    if data.lstrip()[:1] == b"<":
        raise DataError(f"{path}: XML VTK files are not read, found one; save it as legacy .vtk")
    head = re.match(
        rb"# vtk DataFile[^\n]*\n[^\n]*\n\s*(ASCII|BINARY)\s*\n\s*DATASET[ \t]+(\w+)\s*?\n", data, re.IGNORECASE
    )
    if head is None:
        _damaged(path, "a legacy VTK header ('# vtk DataFile', ASCII or BINARY, DATASET) is expected, found none")
    if head[2].upper() != b"POLYDATA":
        raise DataError(f"{path}: DATASET must be POLYDATA, found {head[2][:40].decode()}; save it as polygonal data")
    points = re.compile(rb"^[ \t]*POINTS[ \t]+([0-9]{1,18})[ \t]+(\w+)[ \t]*\r?\n", re.MULTILINE | re.IGNORECASE)
    line = points.search(data, head.end())
    if line is None:
        _damaged(path, "a line 'POINTS number type' is needed, found none")
    count, body = int(line[1]), data[line.end() :]
    if head[1].upper() == b"ASCII":
        words = body.split(maxsplit=min(3 * count, len(body)))[: 3 * count]
        if len(words) < 3 * count:
            _damaged(path, f"POINTS promises {3 * count} numbers, found {len(words)} (truncated)")
        return _numbers(path, words)
    kind = VTK_TYPES.get(line[2].decode().lower())
    if kind is None:
        _damaged(path, f"POINTS must be of {', '.join(VTK_TYPES)}, found {line[2][:40].decode()}")
    needed = 3 * count * np.dtype(kind).itemsize
    if len(body) < needed:
        _damaged(path, f"POINTS promises {needed} bytes, found {len(body)} (truncated)")
    return _double(np.frombuffer(body[:needed], dtype=kind).reshape(-1, 3))


def _writable(path: Path, points: Tensor, columns: int) -> NDArray[np.float32]:
    if points.ndim != 2 or points.shape[1] != columns:
        raise DataError(f"{path}: points must have the shape (N, {columns}), found {tuple(points.shape)}; reshape")
    return _single_precision(path, points.detach().cpu().double().numpy())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file under its name once it is complete; `DataError` if the folder is missing or refuses it."""
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder must exist, found none at {path.parent}; create it first")
    try:
        with replace_atomically(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error}); check the folder's permissions and space") from None


def _text(points: NDArray[np.float32], separator: str, header: str = "") -> bytes:
    rows = (separator.join(f"{value:.9g}" for value in row) for row in points.tolist())
    return (header + "".join(f"{row}\n" for row in rows)).encode()


def _csv(points: NDArray[np.float32]) -> bytes:
    return _text(points, ",", "x,y,z\n")


def _xyz(points: NDArray[np.float32]) -> bytes:
    return _text(points, " ")


def _ply(points: NDArray[np.float32]) -> bytes:
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    return header.encode() + points.astype("<f4").tobytes()


def _npz(points: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, points=points)
    return stream.getvalue()


def _vtk(points: NDArray[np.float32]) -> bytes:
    header = f"# vtk DataFile Version 3.0\npoints, mm\nBINARY\nDATASET POLYDATA\nPOINTS {len(points)} float\n"
    return header.encode() + points.astype(">f4").tobytes() + b"\n"


READERS: dict[str, Callable[[Path, bytes], Points]] = {
    ".csv": _read_csv,
    ".ply": _read_ply,
    ".xyz": _read_xyz,
    ".npz": _read_npz,
    ".vtk": _read_vtk,
}
WRITERS: dict[str, Callable[[NDArray[np.float32]], bytes]] = {
    ".csv": _csv,
    ".ply": _ply,
    ".xyz": _xyz,
    ".npz": _npz,
    ".vtk": _vtk,
}
