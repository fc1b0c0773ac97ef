"""Scans on the working grid and on the device: each once, however many pairs it is in, within a bound of memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxtyping import Bool, Float, Integer
from torch import Tensor

from cst_core.field import Grid
from cst_image.case import ImageCase
from cst_image.config import ImageConfig
from cst_image.intensity import lowest, map_intensities
from cst_image.pair import ImagePair
from cst_image.placement import place
from cst_image.source import Source


class Recent:
    """Tensors that were used last, up to a number of bytes; what was used longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self._items = OrderedDict[tuple[str, str], tuple[Tensor | None, ...]]()

    @property
    def used(self) -> int:
        """Bytes kept."""
        return self._bytes

    def get(self, key: tuple[str, str], make: Callable[[], tuple[Tensor | None, ...]]) -> tuple[Tensor | None, ...]:
        """What is kept under ``key``; made, and kept, if nothing is. The newest is kept even beyond the limit."""
        if key not in self._items:
            self._items[key] = make()
            self._bytes += _size(self._items[key])
            while self._bytes > self._limit and len(self._items) > 1:
                self._bytes -= _size(self._items.popitem(last=False)[1])
        self._items.move_to_end(key)
        return self._items[key]


class Working(NamedTuple):
    """A scan as pairs have it."""

    volume: Float[Tensor, "1 X Y Z"]
    mask: Bool[Tensor, "1 X Y Z"] | None


class Store:
    """Volumes, label maps, pairs and cases by the ids of scans; read when first needed, and again if they had to go."""

    def __init__(
        self,
        source: Source,
        targets: Mapping[str, Grid],
        config: ImageConfig,
        device: str,
        label_names: Mapping[int, str] | None = None,
    ) -> None:
        """
        Args:
            source: of the scans.
            targets: the working grid of every scan, all of one shape.
            config: how intensities are mapped, and `memory_gb`.
            device: where tensors are kept.
            label_names: told to every case with labels.
        """
        self._source, self._targets, self._config, self._device = source, targets, config, device
        self._label_names = label_names
        self._grids = source.grids
        self.recent = Recent(int(config.memory_gb * 1e9))
        self.darkest = math.inf
        """The lowest intensity of all scans read so far, as their files have it."""

    def volume(self, id: str) -> Working:
        """A scan, mapped and on its working grid; DataError if its file cannot be used."""
        volume, mask = self.recent.get(("volume", id), lambda: self._read(id))
        assert volume is not None
        return Working(volume, mask)

    def labels(self, id: str) -> Integer[Tensor, "X Y Z"]:
        """The label map of a scan that has one, on its working grid; DataError if its file cannot be used."""
        (labels,) = self.recent.get(("labels", id), lambda: self._read_labels(id))
        assert labels is not None
        return labels

    def pair(self, ids: tuple[str, str]) -> ImagePair:
        """Fixed and moving scan; the tensors are those of every other pair of these scans."""
        (fixed, fixed_mask), (moving, moving_mask) = (self.volume(id) for id in ids)
        return ImagePair(fixed, moving, self._targets[ids[0]], fixed_mask, moving_mask)

    def case(self, ids: tuple[str, str]) -> ImageCase:
        """A pair, ``<fixed>_<moving>``, with its label maps if both scans have one."""
        name, pair = "_".join(ids), self.pair(ids)
        if not all(self._source.has_labels(id) for id in ids):
            return ImageCase(name, pair)
        fixed, moving = (self.labels(id) for id in ids)
        return ImageCase(
            name,
            pair,
            fixed_labels=fixed,
            moving_labels=moving,
            label_names=self._label_names,
            label_interpolation=self._config.label_interpolation,
        )

    def _read(self, id: str) -> tuple[Tensor | None, ...]:
        raw = self._source.scan(id)
        self.darkest = min(self.darkest, float(raw.volume.min()))
        mapped = map_intensities(raw.volume, self._config, raw.mask, self._source.name(id))
        # what no scanner saw looks like what it sees least of: air
        placed = place(mapped, self._grids[id], self._targets[id], mask=raw.mask, fill=lowest(self._config))
        mask = None if placed.mask is None else placed.mask[None].to(self._device)
        return placed.volume[None].to(self._device), mask

    def _read_labels(self, id: str) -> tuple[Tensor | None, ...]:
        labels = self._source.labels(id)
        placed = place(labels, self._grids[id], self._targets[id], "nearest")
        return (placed.volume.to(self._device),)


def _size(tensors: tuple[Tensor | None, ...]) -> int:
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
