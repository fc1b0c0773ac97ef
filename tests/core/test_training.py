"""The loop, on the toy: what is frozen, what starts anew, what each switch changes, and what a kill leaves."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from cst_core.backend import Registration
from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.snapshots import Snapshot
from cst_core.training import NotFiniteError, self_train, weights_digest

CONFIG = TrainConfig(stages=3, iterations=6, batch_size=2, learning_rate=0.02)


class Recorder:
    """The toy's four verbs, and a note of every call."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.registered: list[tuple[str, bool, int]] = []  # weights, training mode, pair
        self.predicted: list[tuple[str, bool, list[int]]] = []
        self.augmented = 0
        self.refinement = 0.0

    def new_network(self, seed: int) -> torch.nn.Module:
        return self.backend.new_network(seed)

    def predict(self, network: torch.nn.Module, pairs: Any) -> list[torch.Tensor]:
        self.predicted.append((weights_digest(network), network.training, [id(pair) for pair in pairs]))
        return self.backend.predict(network, pairs)

    def register(self, network: torch.nn.Module, pair: Any) -> Registration:
        assert not torch.is_grad_enabled()
        self.registered.append((weights_digest(network), network.training, id(pair)))
        predicted, refined = self.backend.register(network, pair)
        return Registration(predicted, refined + self.refinement)

    def augment(self, pair: Any, label: torch.Tensor, generator: torch.Generator) -> tuple[Any, torch.Tensor]:
        self.augmented += 1
        return self.backend.augment(pair, label, generator)


class Memory:
    """Snapshots in memory; raises `Killed` after ``fuse`` saves."""

    def __init__(self, fuse: int = -1) -> None:
        self.held: Snapshot | None = None
        self.fuse = fuse

    def save(self, snapshot: Snapshot) -> None:
        self.held = snapshot
        self.fuse -= 1
        if self.fuse == 0:
            raise Killed

    def load(self) -> Snapshot | None:
        return self.held


class Killed(Exception):  # noqa: N818
    pass


@pytest.fixture
def pairs(toy) -> list[Any]:
    return [case.pair for case in toy.read_data("phantom", None, toy.config_class(), "cpu").train[:5]]


@pytest.fixture
def recorder(toy) -> Recorder:
    return Recorder(toy.backend(toy.config_class(), "cpu"))


def weights_of_stages(recorder: Recorder, pairs: list[Any], config: TrainConfig = CONFIG, **options: Any) -> list[str]:
    digests: list[str] = []
    self_train(
        recorder, pairs, config, after_stage=lambda _, network: digests.append(weights_digest(network)), **options
    )
    return digests


def test_labels_are_made_once_a_stage_by_the_frozen_teacher(recorder: Recorder, pairs: list[Any]):
    stages = weights_of_stages(recorder, pairs)
    assert len(recorder.registered) == 3 * len(pairs)
    for stage in range(3):
        made = recorder.registered[stage * len(pairs) : (stage + 1) * len(pairs)]
        assert [pair for *_, pair in made] == [id(pair) for pair in pairs]
        assert {digest for digest, *_ in made} == {stages[stage]}  # all by g_t as it was when its stage ended
        assert not any(training for _, training, _ in made)
    assert all(training for _, training, _ in recorder.predicted)
    assert len(set(stages)) == 4


def test_students(recorder: Recorder, pairs: list[Any]):
    stages = weights_of_stages(recorder, pairs)
    first = [recorder.predicted[stage * CONFIG.iterations][0] for stage in range(3)]
    assert stages[0] == weights_digest(recorder.new_network(CONFIG.seed))
    assert first[0] == weights_digest(recorder.new_network(CONFIG.seed + 1)) != stages[0]  # g_1 is not g_0
    assert first[1:] == stages[1:3]  # g_{t+1} starts from g_t


def test_given_first_network_makes_the_first_labels(recorder: Recorder, pairs: list[Any]):
    first = recorder.new_network(99)
    stages = weights_of_stages(recorder, pairs, first=first)
    assert stages[0] == recorder.registered[0][0] == weights_digest(first)
    assert recorder.predicted[0][0] == weights_digest(recorder.new_network(CONFIG.seed + 1))


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_adam_and_learning_rate_start_anew_every_stage(
    recorder: Recorder, pairs: list[Any], monkeypatch: pytest.MonkeyPatch, schedule: str
):
    steps: list[tuple[float, float]] = []
    real = torch.optim.Adam.step

    def step(adam: Any, *arguments: Any) -> Any:
        result = real(adam, *arguments)
        steps.append((float(next(iter(adam.state.values()))["step"]), adam.param_groups[0]["lr"]))
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    self_train(recorder, pairs, CONFIG.model_copy(update={"schedule": schedule}))
    assert [count for count, _ in steps] == [1, 2, 3, 4, 5, 6] * 3
    rates = [rate for _, rate in steps]
    assert rates[:6] == rates[6:12] == rates[12:]
    assert rates[0] == CONFIG.learning_rate
    assert rates[5] < 0.1 * rates[0]


def test_without_augmentation(recorder: Recorder, pairs: list[Any]):
    on = weights_of_stages(recorder, pairs)
    assert recorder.augmented == 3 * 6 * 2
    recorder.augmented = 0
    recorder.predicted.clear()
    assert weights_of_stages(recorder, pairs, CONFIG.model_copy(update={"augment": False}))[1:] != on[1:]
    assert recorder.augmented == 0
    assert {pair for *_, batch in recorder.predicted for pair in batch} <= {id(pair) for pair in pairs}


def test_without_refinement(recorder: Recorder, pairs: list[Any]):
    off = CONFIG.model_copy(update={"refine": False, "weighted_sampling": False})
    on = CONFIG.model_copy(update={"weighted_sampling": False})
    plain = [weights_of_stages(recorder, pairs, config) for config in (off, on)]
    recorder.refinement = 3.0
    shifted = [weights_of_stages(recorder, pairs, config) for config in (off, on)]
    assert shifted[0] == plain[0]  # the refined field is not looked at
    assert shifted[1][1:] != plain[1][1:]


def test_without_weighted_sampling_every_pair_once_a_pass(recorder: Recorder, pairs: list[Any]):
    config = TrainConfig(stages=1, iterations=5, batch_size=1, augment=False, weighted_sampling=False)
    self_train(recorder, pairs, config)
    assert sorted(pair for *_, batch in recorder.predicted for pair in batch) == sorted(map(id, pairs))


def test_weighted_sampling_prefers_easy_pairs(recorder: Recorder, pairs: list[Any]):
    config = TrainConfig(stages=1, iterations=60, batch_size=1, augment=False)
    hardness: dict[int, float] = {}

    def watch(event: Event) -> None:
        if event.kind == "label":
            hardness[id(pairs[event.done - 1])] = event.value

    self_train(recorder, pairs, config, watch=watch)
    drawn = [pair for *_, batch in recorder.predicted for pair in batch]
    easy, *_, hard = sorted(hardness, key=lambda pair: hardness[pair])
    assert drawn.count(easy) > 5
    assert drawn.count(hard) <= 2  # its weight is sigmoid(-5)


@pytest.mark.parametrize("fuse", [1, 2, 3, 4, 6])
def test_resumed_run_ends_with_the_same_weights(recorder: Recorder, pairs: list[Any], fuse: int, tmp_path: Path):
    def run(memory: Memory) -> str:
        result = self_train(
            recorder, pairs, CONFIG, memory=memory, save_every=4, labels_folder=tmp_path / str(memory.fuse > 0)
        )
        assert not result.network.training
        return weights_digest(result.network)

    memory = Memory(fuse)
    with pytest.raises(Killed):
        run(memory)
    before = deepcopy(memory.held)
    labelled = len(recorder.registered)
    assert run(memory) == run(Memory())
    assert before is not None
    # labels that were on the disk were not made again
    assert len(recorder.registered) - labelled < 2 * 3 * len(pairs)


def test_snapshot_does_not_change_while_training_goes_on(recorder: Recorder, pairs: list[Any]):
    copies: list[tuple[Snapshot, Snapshot]] = []

    class Keeper(Memory):
        def save(self, snapshot: Snapshot) -> None:
            copies.append((snapshot, deepcopy(snapshot)))

    self_train(recorder, pairs, CONFIG, memory=Keeper(), save_every=2)
    moments = [
        (one.optimizer["state"][0]["exp_avg"], other.optimizer["state"][0]["exp_avg"])
        for one, other in copies
        if one.optimizer
    ]
    assert len(moments) == 6
    assert all(torch.equal(one, other) for one, other in moments)
    assert all(torch.equal(one.network["0.weight"], other.network["0.weight"]) for one, other in copies)


def _spoiled(recorder: Recorder, how: Callable[[torch.Tensor], torch.Tensor]) -> Recorder:
    real = recorder.predict
    recorder.predict = lambda network, pairs: [how(field) for field in real(network, pairs)]  # type: ignore[method-assign]
    return recorder


def test_nan_loss_stops_before_anything_is_made_from_it(recorder: Recorder, pairs: list[Any]):
    memory = Memory()
    with pytest.raises(NotFiniteError, match=r"stage 1, step 6, pairs \[.*the loss is nan.*lower learning_rate"):
        self_train(_spoiled(recorder, lambda field: field * float("nan")), pairs, CONFIG, memory=memory)
    assert memory.held is None


def test_nan_gradient_of_a_finite_loss_stops(recorder: Recorder, pairs: list[Any]):
    memory = Memory()
    config = CONFIG.model_copy(update={"iterations": 1})  # the only loss that is read comes before the only step
    with pytest.raises(NotFiniteError, match=r"pairs \[.*\]: the loss is finite, but not all weights are"):
        self_train(_spoiled(recorder, lambda u: u + (u * 0).abs().sqrt()), pairs, config, memory=memory)
    assert memory.held is None


def test_no_pairs(recorder: Recorder):
    with pytest.raises(ValueError, match="pairs: need at least one"):
        self_train(recorder, [], CONFIG)


def test_events(recorder: Recorder, pairs: list[Any]):
    # the loss is read every 20 steps, before every snapshot (25) and at the end
    events: list[Event] = []
    result = self_train(recorder, pairs, TrainConfig(stages=2, iterations=45, batch_size=1), watch=events.append)
    assert [(e.stage, e.done) for e in events if e.kind == "label"] == [(s, i) for s in (1, 2) for i in range(1, 6)]
    assert [(e.stage, e.done, e.total) for e in events if e.kind == "step"] == [
        (stage, done, 45) for stage in (1, 2) for done in (20, 25, 40, 45)
    ]
    assert [event.value for event in events if event.kind == "stage"] == result.losses
