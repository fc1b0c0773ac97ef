"""The two scans of ``cst register`` as they are read, with what is known about them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jaxtyping import Bool, Float, Integer
from torch import Tensor

from cst_core.formats.landmark_files import read_landmarks
from cst_core.plugin import Landmarks, RegisterRequest
from cst_image.config import ImageConfig
from cst_image.intensity import map_intensities
from cst_image.registration.prealignment import Scan
from cst_image.scan import Header, inspect, read_labels, read_mask, read_volume


class ScanFile(NamedTuple):
    """One scan and its mask and labels, all on the scan's voxels, turned to right, anterior, superior."""

    header: Header
    volume: Float[Tensor, "X Y Z"]
    """As the scanner gave it."""
    mask: Bool[Tensor, "X Y Z"] | None
    labels: Integer[Tensor, "X Y Z"] | None

    def mapped(self, config: ImageConfig) -> Scan:
        """With the intensities that the method sees."""
        volume = map_intensities(self.volume, config, self.mask, str(self.header.path))
        return Scan(volume, self.header.grid, self.mask)


class FilePair(NamedTuple):
    """What a request names, read and checked."""

    fixed: ScanFile
    moving: ScanFile
    landmarks: Landmarks | None


def read_pair(request: RegisterRequest) -> FilePair:
    """All files of a request; small ones first, so that what is wrong is said early.

    Raises:
        DataError: one of them cannot be used.
    """
    landmarks = None if request.landmarks is None else read_landmarks(request.landmarks)
    headers = inspect(request.fixed), inspect(request.moving)
    fixed = _read(headers[0], request.fixed_mask, request.fixed_labels)
    return FilePair(fixed, _read(headers[1], request.moving_mask, request.moving_labels), landmarks)


def _read(header: Header, mask: Path | None, labels: Path | None) -> ScanFile:
    return ScanFile(
        header,
        read_volume(header.path),
        None if mask is None else read_mask(mask, header),
        None if labels is None else read_labels(labels, header),
    )
