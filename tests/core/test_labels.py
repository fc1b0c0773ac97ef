from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from cst_core.errors import CheckpointError
from cst_core.label_index import INDEX
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
    (tmp_path / INDEX).write_text(index)
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
    assert (tmp_path / INDEX).stat().st_size < 1000  # not a line for every pair there is


def test_more_labels_than_a_process_may_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cst_core.files.sync", lambda _: None)
    monkeypatch.setattr("os.fsync", lambda _: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        labels = PseudoLabels(100, tmp_path, "s")
        for pair in labels.missing:
            labels.put(pair, field(4, float(pair)), float(pair))
        drawn = [labels[pair] for pair in (3, 99)]
        again = PseudoLabels(100, tmp_path, "s")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [float(label[0, 0]) for label in drawn] == [3.0, 99.0]
    assert again.missing == []


def test_the_index_grows_by_a_line_a_label(tmp_path: Path):
    """To write it anew for each of n labels would write n^2 / 2 lines."""
    labels = PseudoLabels(3, tmp_path, "s")
    labels.put(0, field(4), 0.5)
    node = (tmp_path / INDEX).stat().st_ino
    before = (tmp_path / INDEX).read_bytes()
    again = PseudoLabels(3, tmp_path, "s")  # a run that goes on appends as well
    for writer, pair in ((labels, 1), (again, 2)):
        writer.put(pair, field(4), 0.5)
    assert (tmp_path / INDEX).stat().st_ino == node
    assert (tmp_path / INDEX).read_bytes().startswith(before)
    assert PseudoLabels(3, tmp_path, "s").missing == []


def test_every_flipped_bit_of_the_index_is_found(tmp_path: Path):
    labels = filled(tmp_path)
    data = (tmp_path / INDEX).read_bytes()
    for at in range(0, len(data), 3):
        (tmp_path / INDEX).write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        found = PseudoLabels(3, tmp_path, "s")
        assert found.missing, "a flipped bit costs at least one label"
        assert all(found.difficulty(pair) == labels.difficulty(pair) for pair in found.pairs)


def test_a_line_that_a_kill_cut_short_is_made_again(tmp_path: Path):
    filled(tmp_path)
    data = (tmp_path / INDEX).read_bytes()
    for length in (len(data) - 1, len(data) - 30):
        (tmp_path / INDEX).write_bytes(data[:length])
        labels = PseudoLabels(3, tmp_path, "s")
        assert labels.missing == [2]
        labels.put(2, field(6, 2.5), 2.0)
        assert (tmp_path / INDEX).read_bytes() == data


def test_labels_that_vanish_in_use_are_told(tmp_path: Path):
    labels = filled(tmp_path)
    (tmp_path / "000001.npy").unlink()
    with pytest.raises(CheckpointError, match=r"000001\.npy: was removed or damaged .* go on with --resume"):
        labels[1]
