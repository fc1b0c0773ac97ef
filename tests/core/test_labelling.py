"""How many pairs a stage labels where there is no room for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from cst_core.backend import Registration
from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.labelling import make_labels
from cst_core.labels import PseudoLabels
from cst_core.sampling import seeded
from cst_core.training import train_stage

SITES = 10  # a label has 3 * 10 half-precision numbers: 60 bytes


class Counting:
    """Pairs are numbers, a pair's field is its number everywhere."""

    def __init__(self, sites: Callable[[int], int] = lambda _: SITES) -> None:
        self.sites = sites
        self.registered: list[int] = []
        self.predicted: set[int] = set()

    def new_network(self, seed: int) -> nn.Module:
        del seed
        return nn.Linear(1, 1)

    def register(self, network: nn.Module, pair: int) -> Registration:
        del network
        self.registered.append(pair)
        field = torch.full((3, self.sites(pair)), float(pair))
        return Registration(field, field + 1)

    def predict(self, network: nn.Module, pairs: list[int]) -> list[torch.Tensor]:
        self.predicted |= set(pairs)
        return [network.weight * torch.ones(3, self.sites(pair)) for pair in pairs]

    def augment(self, pair: int, label: torch.Tensor | None, generator: torch.Generator):
        del generator
        assert label is not None
        assert float(label[0, 0]) == pair + 1  # the label of this pair and of no other
        return pair, label


def made(backend: Counting, n: int, gb: float | None, stage: int = 1, folder: Path | None = None, seed: int = 0):
    events: list[Event] = []
    config = TrainConfig(max_labels_gb=gb, seed=seed)
    labels = PseudoLabels(n, folder, "s")
    make_labels(backend, nn.Linear(1, 1), range(n), labels, config, stage, events.append)
    return labels, events


@pytest.mark.parametrize(("bytes_", "number"), [(60, 1), (119, 1), (120, 2), (600, 10), (1, 1)])
def test_as_many_labels_as_have_room_and_one_at_least(bytes_: int, number: int):
    labels, events = made(Counting(), 50, bytes_ * 1e-9)
    assert len(labels.pairs) == number
    assert sum(labels[pair].nbytes for pair in labels.pairs) <= max(bytes_, 60)
    assert [(event.done, event.total) for event in events] == [(i + 1, number) for i in range(number)]


def test_without_a_limit_or_with_a_wide_one_every_pair_in_order():
    for gb in (None, 1.0):
        backend = Counting()
        labels, _ = made(backend, 20, gb)
        assert labels.pairs == list(range(20))
        assert labels.missing == []
    assert backend.registered != list(range(20))  # drawn, in case there had been no room


def test_every_stage_and_seed_draws_others():
    drawn = {
        (stage, seed): tuple(made(Counting(), 1000, 6e-7, stage, seed=seed)[0].pairs)
        for stage in (1, 2)
        for seed in (0, 1)
    }
    assert len(set(drawn.values())) == 4
    assert drawn[1, 0] == tuple(made(Counting(), 1000, 6e-7)[0].pairs)


def test_labels_of_many_sizes_never_exceed_the_room():
    def sites(pair: int) -> int:
        return 5 + int(torch.randint(60, (), generator=seeded(pair)))

    labels, _ = made(Counting(sites), 200, 5e-6)
    assert 0.7 * 5000 < sum(labels[pair].nbytes for pair in labels.pairs) <= 5000


def test_a_run_that_was_killed_labels_the_same_pairs_and_only_the_rest(tmp_path: Path):
    whole = made(Counting(), 100, 6e-7)[0].pairs
    killed = Counting()

    def fuse(_: int) -> int:
        if len(killed.registered) == 5:
            raise KeyboardInterrupt
        return SITES

    killed.sites = fuse
    with pytest.raises(KeyboardInterrupt):
        made(killed, 100, 6e-7, folder=tmp_path)
    again = Counting()
    labels, events = made(again, 100, 6e-7, folder=tmp_path)
    assert labels.pairs == whole
    assert len(again.registered) == 10 - 4
    assert not set(again.registered) & set(killed.registered[:4])
    assert [event.done for event in events] == [5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("weighted", [True, False])
def test_only_labelled_pairs_are_trained_on(weighted: bool):
    backend = Counting()
    labels, _ = made(backend, 100, 6e-7)
    config = TrainConfig(epochs=6, batch_size=2, weighted_sampling=weighted)
    events: list[Event] = []
    train_stage(backend, nn.Linear(1, 1), range(100), labels, config, 1, events.append)
    assert backend.predicted <= set(labels.pairs)
    if not weighted:
        assert backend.predicted == set(labels.pairs)
    assert events[-2].total == 30  # six passes over ten pairs, by two
