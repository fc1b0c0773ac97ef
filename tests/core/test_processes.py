"""Several gloo processes do what one does: labels to the bit, weights up to the order of sums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from team_processes import Training, in_processes, label, normalise, train

from cst_core.team import Alone

SETTINGS = {"stages": 2, "iterations": 10, "batch_size": 4, "learning_rate": 0.002}


def labels_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.load(path) for path in sorted(folder.glob("*.npy"))}


def whole(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The toy's weights, but for a bias before a batch norm: it cancels out, and its gradient is rounding alone."""
    return torch.cat([state[name].reshape(-1) for name in ("0.weight", "1.weight", "1.bias", "1.running_var")])


@pytest.fixture
def training(toy, tmp_path: Path) -> Training:
    config = toy.config_class()
    pairs = [case.pair for case in toy.read_data("phantom", None, config, "cpu").train[:6]]
    return Training(toy.backend(config, "cpu"), pairs, SETTINGS, tmp_path / "alone")


@pytest.mark.parametrize("size", [2, 4])
def test_training_is_that_of_one_process(size: int, training: Training, tmp_path: Path):
    alone = train(Alone(), training)
    one, *others = in_processes(size, train, training._replace(folder=tmp_path / "team"), tmp_path)
    # 1. all have the same weights, and they are those of one process, by a thousandth of how far they went
    for other in others:
        assert all(torch.equal(other.state[name], one.state[name]) for name in one.state)
    begin, end, ours = (
        whole(state) for state in (training.backend.new_network(1).state_dict(), alone.state, one.state)
    )
    assert (ours - end).norm() < 1e-3 * (end - begin).norm()
    # 2. the labels of random features are the same to the bit, the others as far as the weights are
    for stage, tolerance in (("stage-01", 0.0), ("stage-02", 0.02)):
        made, expected = labels_of(tmp_path / "team" / stage), labels_of(tmp_path / "alone" / stage)
        assert len(made) == 6
        assert made.keys() == expected.keys()
        for name, field in made.items():
            assert np.abs(field.astype(float) - expected[name].astype(float)).max() <= tolerance
    # 3. each process wrote its own, and its own index
    told = {path.name: path.read_text().splitlines()[1:] for path in (tmp_path / "team" / "stage-02").glob("*.jsonl")}
    assert set(told) == {"index.jsonl", *(f"index-{rank}.jsonl" for rank in range(1, size))}
    assert sorted(json.loads(line)["pair"] for lines in told.values() for line in lines) == list(range(6))


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("gb", [None, 2e-6, 5e-9])
def test_labels_in_shares(gb: float | None, on_disk: bool, tmp_path: Path):
    alone, difficulties, registered, told = label(Alone(), (gb, None))
    said = in_processes(3, label, (gb, tmp_path / "labels" if on_disk else None), tmp_path)
    for found, hardness, _, _ in said:
        assert found == alone
        assert hardness == difficulties
    assert said[0][3] == told  # process 0 tells of all
    everyone = [pair for _, _, share, _ in said for pair in share]
    assert len(everyone) == len(set(everyone))  # each made once
    # where there is room for some, up to two are made that then have none
    assert set(registered) <= set(everyone)
    assert len(everyone) - len(registered) <= 2
    assert max(len(share) for _, _, share, _ in said) <= -(-len(everyone) // 3)


def test_labels_that_are_there_are_not_made_again(tmp_path: Path):
    first = in_processes(2, label, (2e-6, tmp_path / "labels"), tmp_path)
    (tmp_path / "labels" / "index-1.jsonl").write_text("damaged")
    again = in_processes(3, label, (2e-6, tmp_path / "labels"), tmp_path)
    assert [found for found, *_ in again] == [first[0][0]] * 3
    made = {pair for _, _, share, _ in again for pair in share} & set(first[0][0])
    assert made == set(first[1][2]) & set(first[0][0])  # those of the damaged index


def test_batch_norm_over_two_processes(tmp_path: Path):
    volumes = torch.randn(8, 3, 4, 2, 5, generator=torch.Generator().manual_seed(0)) * 2 + 7
    alone = normalise(Alone(), volumes)
    shares: list[dict[str, Any]] = in_processes(2, normalise, volumes, tmp_path)
    for name in ("y", "gradient", "evaluated"):
        assert torch.allclose(torch.cat([share[name] for share in shares]), alone[name], atol=2e-4, rtol=1e-5), name
    for share in shares:
        assert torch.allclose(share["loss"], alone["loss"], rtol=1e-5)
        assert share["half"] == torch.bfloat16
        for one, other in zip(share["parameters"], alone["parameters"], strict=True):
            assert torch.allclose(one, other, rtol=1e-4)
    for name, tensor in shares[0]["state"].items():
        assert torch.equal(tensor, shares[1]["state"][name])
