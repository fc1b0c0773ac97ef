"""Supervisions on the toy: what each makes of a pair, what it minimises, and that all of them teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cst_core.choose_supervision import check_supervision, make_supervision, taught_by
from cst_core.config import TrainConfig
from cst_core.errors import ConfigError
from cst_core.event import Event
from cst_core.loss import field_error
from cst_core.sampling import seeded
from cst_core.supervision import Combined, GivenFields, Metric, SelfTraining
from cst_core.training import self_train, weights_digest

SHORT = TrainConfig(stages=2, iterations=60, batch_size=4, learning_rate=0.02)


@pytest.fixture
def data(toy):
    return toy.read_data("phantom", None, toy.config_class(), "cpu")


def trained(toy: Any, data: Any, config: TrainConfig, **options: Any):
    backend = toy.backend(toy.config_class(), "cpu")
    teaching = make_supervision(toy, backend, config, data.train)
    return backend, self_train(backend, [case.pair for case in data.train], config, supervision=teaching, **options)


def error(toy: Any, data: Any, backend: Any, network: torch.nn.Module) -> float:
    return sum(toy.score(backend, network, case).tre_mm for case in data.test) / len(data.test)


def test_self_training_asks_for_labels_and_gives_equation_2():
    teaching = SelfTraining[str](margin=1)
    label = torch.zeros(3, 4, 4, 4)
    made = teaching.example(7, "pair", label, seeded(0))
    assert (made.pair, made.target) == ("pair", label)
    predicted = torch.randn(3, 4, 4, 4, generator=seeded(1))
    assert torch.equal(teaching.loss("pair", predicted, label), field_error(predicted, label, 1))
    with pytest.raises(ValueError, match="needs a pseudo label"):
        teaching.loss("pair", predicted, None)


def test_given_fields_are_those_of_the_pair_and_need_no_labels():
    fields = [torch.full((3, 5), float(i)) for i in range(3)]
    teaching = GivenFields[str](fields)
    assert not teaching.labelled
    assert teaching.example(2, "pair", None, seeded(0)).target is fields[2]


def test_a_combination_adds_the_weighted_metric_to_the_labels():
    metric = Metric[str](lambda _, field: field.square().mean())
    both = Combined(SelfTraining[str](), metric, 0.25)
    assert both.labelled
    assert not both.fields
    predicted, label = torch.full((3, 5), 2.0), torch.zeros(3, 5)
    assert float(both.loss("pair", predicted, label)) == pytest.approx(2.0 * 3.0**0.5 + 0.25 * 4.0)
    assert both.example(0, "pair", label, seeded(0)).target is label


@pytest.mark.parametrize("name", ["self", "truth", "mismatch"])
def test_every_supervision_teaches(toy, data, name: str):
    config = SHORT.model_copy(update={"supervision": name})
    events: list[Event] = []
    backend, result = trained(toy, data, config, watch=events.append)
    random = error(toy, data, backend, toy.untrained(backend, 0))
    assert error(toy, data, backend, result.network) < 0.7 * random
    assert any(event.kind == "label" for event in events) == (name == "self")
    assert {event.unit for event in events if event.kind == "step"} == {"" if name == "mismatch" else "mm"}


def test_given_fields_turn_with_the_augmented_pair(toy, data):
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watching(GivenFields[Any]):
        def loss(self, pair: Any, predicted: torch.Tensor, target: torch.Tensor | None) -> torch.Tensor:
            seen.append((pair.fixed, target))
            return super().loss(pair, predicted, target)

    backend = toy.backend(toy.config_class(), "cpu")
    pairs = [case.pair for case in data.train]
    teaching = Watching([case.field for case in data.train])
    self_train(backend, pairs, TrainConfig(stages=1, iterations=2), supervision=teaching)
    for fixed, target in seen:
        turns = [
            (i, turn)
            for i, pair in enumerate(pairs)
            for turn in range(fixed.shape[-1])
            if torch.equal(pair.fixed.roll(turn, -1), fixed)
        ]
        assert len(turns) == 1
        pair, turn = turns[0]
        assert torch.equal(target, data.train[pair].field.roll(turn, -1))


def test_a_metric_changes_what_is_learned_and_zero_weight_is_refused(toy, data):
    config = SHORT.model_copy(update={"stages": 1, "iterations": 5})
    alone = trained(toy, data, config)[1].network
    combined = config.model_copy(update={"metric": "mismatch", "metric_weight": 3.0})
    both = trained(toy, data, combined)[1].network
    assert weights_digest(alone) != weights_digest(both)
    assert taught_by(combined) == "self + 3 mismatch"
    with pytest.raises(ValueError, match="greater than 0"):
        TrainConfig(metric_weight=0.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"supervision": "mind"}, r"--supervision mind: no such supervision of 'toy'; known: self .*; truth .*; mism"),
        ({"metric": "mind"}, r"--set metric=mind: no such supervision"),
        ({"supervision": "mismatch", "metric": "mismatch"}, "is the supervision already"),
    ],
)
def test_a_supervision_that_is_not_there_is_refused(toy, changes: dict[str, str], words: str):
    with pytest.raises(ConfigError, match=words):
        check_supervision(toy, TrainConfig(**changes))


def test_a_metric_must_be_one(toy, data):
    config = TrainConfig(metric="truth")
    with pytest.raises(ConfigError, match="metric=truth: compares with a field"):
        make_supervision(toy, toy.backend(toy.config_class(), "cpu"), config, data.train)


def test_from_the_command_line(cst, tmp_path: Path):
    run = tmp_path / "run"
    short = ["--set", "iterations=4", "--set", "stages=1"]
    done = cst("train", "--backend", "toy", "--supervision", "mismatch", "--out", str(run), *short)
    assert done.code == 0, done.err
    assert "Supervision: mismatch, not self-training alone" in done.out
    assert 'supervision = "mismatch"' in (run / "config.toml").read_text()
    assert not (run / "labels").exists() or not any((run / "labels").iterdir())
    assert "by mismatch)" in cst("evaluate", "--backend", "toy", "--model", str(run)).out
    report = (run / "report.html").read_text()
    assert "there are no pseudo labels" in report
    refused = cst("train", "--backend", "toy", "--supervision", "landmarks", "--out", str(tmp_path / "no"))
    assert refused.code == 2
    assert "no such supervision" in refused.err
    assert not (tmp_path / "no").exists()


def test_a_resumed_metric_run_ends_with_the_same_weights(toy, data):
    from copy import deepcopy

    class Killed(Exception):  # noqa: N818
        pass

    class Memory:
        held, fuse = None, 4

        def save(self, snapshot: Any) -> None:
            self.held, self.fuse = deepcopy(snapshot), self.fuse - 1
            if not self.fuse:
                raise Killed

        def load(self) -> Any:
            return self.held

    config = TrainConfig(stages=2, iterations=8, supervision="mismatch")
    memory = Memory()
    with pytest.raises(Killed):
        trained(toy, data, config, memory=memory, save_every=3)
    assert (memory.held.stage, memory.held.step) == (2, 3)
    again = trained(toy, data, config, memory=memory, save_every=3)[1].network
    assert weights_digest(again) == weights_digest(trained(toy, data, config)[1].network)
