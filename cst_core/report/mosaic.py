"""A volume as one picture: its axial slices side by side, so that a browser can decode it in one go."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from cst_core.report.page import data_uri

QUALITIES = (78, 60, 40, 20, 5)  # of WebP


class Window(NamedTuple):
    """The values that become 0 and 255."""

    low: float
    high: float

    def bytes(self, values: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Clipped and scaled; NaN becomes ``low``."""
        scaled = (values.astype(np.float32) - self.low) * (255.0 / (self.high - self.low))
        return np.nan_to_num(np.rint(np.clip(scaled, 0, 255)), nan=0.0).astype(np.uint8)


def contrast(values: Shaped[np.ndarray, "X Y Z"]) -> Window:
    """A window in which the body shows: from the brighter half of all values, with a margin towards the dark."""
    finite = values[np.isfinite(values)].astype(np.float32)
    if not finite.size or finite.max() == finite.min():
        return Window(0.0, 1.0)
    bright = finite[finite > finite.mean()]
    low, high = np.percentile(bright, [2.0, 99.0]).tolist()
    low = max(float(finite.min()), low - 0.4 * (high - low))
    return Window(low, high if high > low else low + 1.0)


def columns(shape: tuple[int, int, int]) -> int:
    """Slices in a row, so that the picture is about square."""
    return max(1, round(math.sqrt(shape[2] * shape[1] / shape[0])))


def mosaic(values: UInt8[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "H W"]:
    """Slice k lies in row k // columns, column k % columns; x runs to the right, y down."""
    x, y, z = values.shape
    wide = columns(values.shape)
    high = -(-z // wide)
    tiles = np.zeros((high * wide, y, x), dtype=np.uint8)
    tiles[:z] = values.transpose(2, 1, 0)
    return tiles.reshape(high, wide, y, x).transpose(0, 2, 1, 3).reshape(high * y, wide * x)


def lossy(values: UInt8[np.ndarray, "X Y Z"], most: int = 1_000_000) -> str:
    """Data URI for greys that are looked at: as good as ``most`` bytes allow (before base64), noise the least."""
    picture = Image.fromarray(mosaic(values))
    data = b""
    for quality in QUALITIES:
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=quality, method=2)
        data = stream.getvalue()
        if len(data) <= most:
            break
    return data_uri(data, "image/webp")


def exact(values: UInt8[np.ndarray, "X Y Z"]) -> str:
    """Data URI for labels and masks, every value kept."""
    stream = io.BytesIO()
    Image.fromarray(mosaic(values)).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue(), "image/png")


def label_bytes(labels: Shaped[np.ndarray, "X Y Z"], known: list[int]) -> UInt8[np.ndarray, "X Y Z"]:
    """Labels as 1, 2, ... in the order of ``known`` (to which new ones are added); past 255 they share numbers."""
    result = np.zeros(labels.shape, dtype=np.uint8)
    whole = np.rint(labels).astype(np.int64)
    for label in np.unique(whole).tolist():
        if label:
            if label not in known:
                known.append(label)
            result[whole == label] = known.index(label) % 255 + 1
    return result


def lattice(
    vectors: Float[np.ndarray, "X Y Z 3"], spacing: tuple[float, float, float], most: int
) -> tuple[int, int, int]:
    """Steps between the nodes of a coarse grid, about equal in mm, of at most ``most`` nodes."""
    target = max(spacing)
    while True:
        x, y, z = (max(1, round(target / s)) for s in spacing)
        nodes = math.prod(-(-n // f) for n, f in zip(vectors.shape[:3], (x, y, z), strict=True))
        if nodes <= most:
            return x, y, z
        target *= 1.1
