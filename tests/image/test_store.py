from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from cst_core.field import Grid
from cst_image.config import ImageConfig
from cst_image.source import RawScan
from cst_image.store import Recent, Store
from cst_image.working_grid import working_grids

SHAPE = (10, 10, 10)
BYTES = 4 * 10**3


class CountingSource:
    """Scans of noise that count how often they are read."""

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], labelled: str = "", masked: str = "") -> None:
        self.grids = {id: Grid.of(shape, (2.0, 2.0, 2.0)) for id, shape in shapes.items()}
        self.labelled, self.masked = labelled, masked
        self.reads = Counter[str]()

    def name(self, id: str) -> str:
        return f"{id}.nii"

    def scan(self, id: str) -> RawScan:
        self.reads[id] += 1
        generator = torch.Generator().manual_seed(ord(id))
        volume = torch.rand(*self.grids[id].shape, generator=generator) * 500 - 200
        mask = torch.ones_like(volume, dtype=torch.bool)
        mask[0] = False
        return RawScan(volume, mask if id in self.masked else None)

    def has_labels(self, id: str) -> bool:
        return id in self.labelled

    def labels(self, id: str) -> Tensor:
        self.reads[f"{id} labels"] += 1
        return torch.full(self.grids[id].shape, ord(id), dtype=torch.uint8)


def store(source: CountingSource, names: dict[int, str] | None = None, **settings) -> Store:
    config = ImageConfig(**settings)
    return Store(source, working_grids(source.grids, config), config, "cpu", names)


def test_a_scan_is_read_once_and_shared_between_pairs():
    source = CountingSource(dict.fromkeys("abc", SHAPE))
    one = store(source)
    assert source.reads == {}
    first, second = one.pair(("a", "b")), one.pair(("b", "c"))
    assert source.reads == {"a": 1, "b": 1, "c": 1}
    assert first.moving is second.fixed
    assert one.recent.used == 3 * BYTES
    assert first.fixed.shape == (1, *SHAPE)
    assert first.fixed_mask is None
    expected = (source.scan("a").volume / 500).clamp(-0.4, 0.6)
    assert torch.equal(first.fixed[0], expected)


def test_memory_is_bounded_and_the_longest_unused_goes_first():
    source = CountingSource(dict.fromkeys("abc", SHAPE))
    one = store(source, memory_gb=2 * BYTES / 1e9)
    one.pair(("a", "b"))
    before = one.pair(("a", "c")).fixed.clone()  # a is used again, so b goes
    assert one.recent.used == 2 * BYTES
    assert source.reads == {"a": 1, "b": 1, "c": 1}
    one.volume("a")
    assert source.reads["a"] == 1
    one.volume("b")
    assert source.reads == {"a": 1, "b": 2, "c": 1}
    one.pair(("b", "c"))
    again = one.volume("a").volume
    assert source.reads["a"] == 2
    assert torch.equal(before, again)


def test_the_newest_is_kept_even_beyond_the_bound():
    recent = Recent(10)
    for _ in range(2):
        recent.get(("volume", "a"), lambda: (torch.zeros(100), None))
    assert recent.used == 400
    recent.get(("volume", "b"), lambda: (torch.zeros(1), torch.zeros(1)))
    assert recent.used == 8


def test_what_fails_is_not_kept():
    recent = Recent(100)
    with pytest.raises(ZeroDivisionError):
        recent.get(("volume", "a"), lambda: (torch.zeros(1 // 0),))
    assert recent.used == 0
    assert recent.get(("volume", "a"), lambda: (torch.ones(1),))[0] == 1


def test_label_maps_are_read_for_cases_alone_and_only_if_both_are_there():
    source = CountingSource(dict.fromkeys("abc", SHAPE), labelled="ab")
    one = store(source, {97: "left"})
    one.pair(("a", "b"))
    assert set(source.reads) == {"a", "b"}
    without = one.case(("b", "c"))
    assert (without.fixed_labels, without.moving_labels, without.label_names) == (None, None, None)
    assert set(source.reads) == {"a", "b", "c"}
    case = one.case(("a", "b"))
    assert case.id == "a_b"
    assert case.label_names == {97: "left"}
    assert case.fixed_labels is not None
    assert case.moving_labels is not None
    assert int(case.fixed_labels.unique()) == ord("a")
    assert int(case.moving_labels.unique()) == ord("b")
    one.case(("b", "a"))
    assert set(source.reads.values()) == {1}
    assert case.label_interpolation == "nearest"
    assert store(source, label_interpolation="label").case(("a", "b")).label_interpolation == "label"


def test_padding_is_air_background_and_outside_the_mask():
    source = CountingSource({"a": (10, 12, 10), "b": (12, 10, 10)}, labelled="ab", masked="b")
    case = store(source, window=(-100, 300)).case(("a", "b"))
    pair = case.pair
    assert pair.grid.shape == (12, 12, 10)
    assert pair.grid.affine[:3, 3].tolist() == [-2, 0, 0]
    assert pair.fixed_mask is not None
    assert pair.moving_mask is not None
    assert pair.fixed_mask[0, :, 0, 0].tolist() == [False] + [True] * 10 + [False]
    assert not pair.moving_mask[0, 0].any()
    for volume, mask in ((pair.fixed, pair.fixed_mask), (pair.moving, pair.moving_mask)):
        assert (volume[~mask] == -0.25).all()
    assert case.fixed_labels is not None
    assert torch.equal(case.fixed_labels > 0, pair.fixed_mask[0])


def test_the_darkest_voxel_is_remembered():
    source = CountingSource(dict.fromkeys("ab", SHAPE))
    one = store(source)
    one.pair(("a", "b"))
    assert one.darkest == min(float(source.scan(id).volume.min()) for id in "ab")
