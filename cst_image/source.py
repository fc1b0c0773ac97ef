"""Where scans come from: files that are read when needed, or arrays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from jaxtyping import Bool, Float, Integer
from torch import Tensor

from cst_core.field import Grid
from cst_image.folder import Folder
from cst_image.scan import Header, check_grid, inspect, read_labels, read_mask, read_volume


class RawScan(NamedTuple):
    """A scan as its file has it, along RAS axes, on the CPU."""

    volume: Float[Tensor, "X Y Z"]
    mask: Bool[Tensor, "X Y Z"] | None
    """Where it has data; None: everywhere."""


class Source(Protocol):
    """Scans by id."""

    @property
    def grids(self) -> Mapping[str, Grid]:
        """Of all scans; no voxel is read for it."""
        ...

    def name(self, id: str) -> str:
        """What errors call a scan."""
        ...

    def scan(self, id: str) -> RawScan:
        """Read a scan; `cst_core.errors.DataError` if it cannot be used."""
        ...

    def has_labels(self, id: str) -> bool:
        """Whether there is a label map."""
        ...

    def labels(self, id: str) -> Integer[Tensor, "X Y Z"]:
        """Read its label map; `cst_core.errors.DataError` if it cannot be used."""
        ...


class FileSource:
    """The scans of a folder. Opening it reads the headers of all images, label maps and masks, and compares them.

    Raises:
        DataError: as `cst_image.scan.inspect` and `cst_image.scan.check_grid`.
    """

    def __init__(self, folder: Folder, ids: Sequence[str]) -> None:
        self._description = folder.description.path if folder.description else None
        self._files = {id: folder.scans[id] for id in ids}
        self.headers: dict[str, Header] = {id: inspect(files.image) for id, files in self._files.items()}
        for id, files in self._files.items():
            for other in (files.labels, files.mask):
                if other is not None:
                    check_grid(inspect(other), self.headers[id])

    @property
    def grids(self) -> Mapping[str, Grid]:
        return {id: header.grid for id, header in self.headers.items()}

    def name(self, id: str) -> str:
        return str(self._files[id].image)

    def scan(self, id: str) -> RawScan:
        files = self._files[id]
        mask = read_mask(files.mask, self.headers[id]) if files.mask else None
        return RawScan(read_volume(files.image), mask)

    def has_labels(self, id: str) -> bool:
        return self._files[id].labels is not None

    def labels(self, id: str) -> Integer[Tensor, "X Y Z"]:
        path = self._files[id].labels
        if path is None:
            raise KeyError(f"{id} has no label map")
        return read_labels(path, self.headers[id])

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over ids and the bytes of all files and of the folder's description."""
        digest = hashlib.sha256(self._description.read_bytes() if self._description else b"")
        for id, files in self._files.items():
            for role, path in (("image", files.image), ("labels", files.labels), ("mask", files.mask)):
                digest.update(f"{id}\0{role}\0{path.stat().st_size if path else None}\0".encode())
                if path:
                    with path.open("rb") as stream:
                        digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


class Subject(Protocol):
    """A scan of a phantom: what `ArraySource` needs of it."""

    @property
    def id(self) -> str: ...
    @property
    def volume(self) -> Float[Tensor, "X Y Z"]: ...
    @property
    def labels(self) -> Integer[Tensor, "X Y Z"]: ...
    @property
    def grid(self) -> Grid: ...


class ArraySource:
    """Scans that are in memory already, all with label maps."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = {subject.id: subject for subject in subjects}

    @property
    def grids(self) -> Mapping[str, Grid]:
        return {id: subject.grid for id, subject in self._subjects.items()}

    def name(self, id: str) -> str:
        return id

    def scan(self, id: str) -> RawScan:
        return RawScan(self._subjects[id].volume, None)

    def has_labels(self, id: str) -> bool:
        return id in self._subjects

    def labels(self, id: str) -> Integer[Tensor, "X Y Z"]:
        return self._subjects[id].labels

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over ids, grids, intensities and labels."""
        digest = hashlib.sha256()
        for id, subject in self._subjects.items():
            digest.update(f"{id}\0{subject.grid.shape}\0{subject.grid.affine.tolist()}\0".encode())
            for tensor, kind in ((subject.volume, "<f4"), (subject.labels, "<i4")):
                digest.update(tensor.cpu().contiguous().numpy().astype(kind).tobytes())
        return digest.hexdigest()
