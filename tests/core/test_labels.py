from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cst_core.labels import PseudoLabels


def field(size: int, value: float = 1.25) -> torch.Tensor:
    return torch.full((3, size), value)


def filled(folder: Path | None, source: str = "s") -> PseudoLabels:
    labels = PseudoLabels(3, folder, source)
    for pair in labels.missing:
        labels.put(pair, field(4 + pair, pair + 0.5), float(pair))
    return labels


@pytest.mark.parametrize("on_disk", [False, True])
def test_labels_are_half_precision_fields_of_any_size(tmp_path: Path, on_disk: bool):
    labels = filled(tmp_path / "l" if on_disk else None)
    assert len(labels) == 3
    assert labels.missing == []
    assert labels.difficulties == [0.0, 1.0, 2.0]
    assert labels[2].dtype == torch.float16
    assert torch.equal(labels[2].float(), field(6, 2.5))


def test_made_once(tmp_path: Path):
    filled(tmp_path)
    again = PseudoLabels(3, tmp_path, "s")
    assert again.missing == []
    assert again.difficulties == [0.0, 1.0, 2.0]
    assert torch.equal(again[1].float(), field(5, 1.5))


def test_other_source_or_number_is_not_used(tmp_path: Path):
    filled(tmp_path)
    assert PseudoLabels(3, tmp_path, "t").missing == [0, 1, 2]
    assert PseudoLabels(4, tmp_path, "s").missing == [0, 1, 2, 3]


def test_damaged_or_missing_file_is_made_again(tmp_path: Path):
    filled(tmp_path)
    (tmp_path / "000000.npy").unlink()
    data = bytearray((tmp_path / "000002.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "000002.npy").write_bytes(data)
    assert PseudoLabels(3, tmp_path, "s").missing == [0, 2]


@pytest.mark.parametrize("index", ["", "{", "[]", json.dumps({"source": "s", "sha256": 3}), '{"source": "s"}'])
def test_damaged_index_costs_only_time(tmp_path: Path, index: str):
    filled(tmp_path)
    (tmp_path / "index.json").write_text(index)
    assert PseudoLabels(3, tmp_path, "s").missing == [0, 1, 2]
    assert filled(tmp_path).missing == []


def test_not_finite_is_refused():
    labels = PseudoLabels(2)
    with pytest.raises(ValueError, match="label of pair 1: every displacement must be finite"):
        labels.put(1, field(4, float("nan")), 0.0)
    with pytest.raises(ValueError, match="finite"):  # finite, but not in half precision
        labels.put(1, field(4, 1e5), 0.0)
    assert labels.missing == [0, 1]
    with pytest.raises(KeyError, match="pair 0"):
        labels[0]


def test_what_is_drawn_cannot_change_the_file(tmp_path: Path):
    labels = filled(tmp_path)
    labels[0].mul_(2)
    assert PseudoLabels(3, tmp_path, "s").missing == []


def test_some_pairs_may_stay_without_a_label(tmp_path: Path):
    labels = PseudoLabels(100_000, tmp_path, "s")
    for pair in (77_777, 5):
        labels.put(pair, field(4, float(pair % 7)), float(pair))
    again = PseudoLabels(100_000, tmp_path, "s")
    assert len(again) == 100_000
    assert again.pairs == [5, 77_777]
    assert again.difficulties == [5.0, 77_777.0]
    assert 5 in again
    assert 6 not in again
    assert again.difficulty(77_777) == 77_777.0
    assert (tmp_path / "index.json").stat().st_size < 1000  # not a line for every pair there is
