"""The moving teacher: its average, that it labels what is drawn, and that training with it resumes exactly."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from cst_core.config import TrainConfig
from cst_core.moving_teacher import MovingTeacher
from cst_core.snapshots import Snapshot
from cst_core.training import self_train, weights_digest

CONFIG = TrainConfig(stages=2, iterations=6, batch_size=2, learning_rate=0.02, teacher_decay=0.9)


@pytest.fixture
def backend(toy) -> Any:
    return toy.backend(toy.config_class(), "cpu")


@pytest.fixture
def pairs(toy) -> list[Any]:
    return [case.pair for case in toy.read_data("phantom", None, toy.config_class(), "cpu").train]


def test_it_is_the_average_of_what_it_followed():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        teacher = MovingTeacher(network, 0.75)
        for value in (2.0, 4.0):
            network[0].weight.fill_(value)
            network[1].num_batches_tracked.add_(1)
            teacher.follow(network)
    assert teacher.network[0].weight.item() == pytest.approx(0.75 * (0.75 * 1.0 + 0.25 * 2.0) + 0.25 * 4.0)
    assert teacher.network[1].num_batches_tracked == 2
    assert not any(p.requires_grad for p in teacher.network.parameters())
    again = MovingTeacher(network, 0.75, teacher.network.state_dict())
    assert weights_digest(again.network) == weights_digest(teacher.network)


def test_every_drawn_pair_is_labelled_anew(backend, pairs, monkeypatch):
    seen: list[str] = []
    real = backend.register
    monkeypatch.setattr(
        type(backend), "register", lambda _, network, pair: seen.append(weights_digest(network)) or real(network, pair)
    )
    self_train(backend, pairs, CONFIG)
    anew = seen[len(pairs) : len(pairs) + 12]
    assert len(seen) == 2 * (len(pairs) + 12)
    assert [a == b for a, b in pairwise(anew)] == [True, False] * 5 + [True]
    # the first is made by the student as it begins
    assert anew[0] == weights_digest(backend.new_network(CONFIG.seed + 1))


@pytest.mark.parametrize("saved", [1, 2, 4])
def test_a_resumed_run_ends_with_the_same_weights(backend, pairs, saved):
    class Memory:
        held: Snapshot | None = None
        left = 99

        def save(self, snapshot: Snapshot) -> None:
            self.held, self.left = snapshot, self.left - 1
            if not self.left:
                raise KeyboardInterrupt

        def load(self) -> Snapshot | None:
            return self.held

    whole = weights_digest(self_train(backend, pairs, CONFIG).network)
    memory = Memory()
    memory.left = saved
    with pytest.raises(KeyboardInterrupt):
        self_train(backend, pairs, CONFIG, memory=memory, save_every=2)
    assert weights_digest(self_train(backend, pairs, CONFIG, memory=memory, save_every=2).network) == whole
