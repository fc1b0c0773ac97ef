"""Cyclical self-training (Sec. 2.2): the whole loop on one page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from cst_core.backend import Backend, Pair
from cst_core.config import TrainConfig
from cst_core.event import Event
from cst_core.global_norm import global_statistics
from cst_core.labelling import make_labels
from cst_core.labels import PseudoLabels
from cst_core.sampling import difficulty_weights, epoch_batch, seeded, weighted_batch
from cst_core.schedule import cosine, step_decay
from cst_core.snapshots import Memory, Snapshot
from cst_core.supervision import SelfTraining, Supervision
from cst_core.team import Alone, Team, agree, check_batch, sum_gradients

LOSS_EVERY = 20  # steps between two reads of the loss: each read waits for the device
_REMEDY = "finished stages are intact; start a new run with a lower learning_rate"


class TrainResult(NamedTuple):
    """A trained g, and the last loss of every stage, mm for fields (NaN for stages that a resumed run found done)."""

    network: nn.Module
    losses: list[float]


class NotFiniteError(ArithmeticError):
    """A loss was NaN or infinite: training stopped, the last snapshot is intact."""


def self_train(
    backend: Backend[Pair],
    pairs: Sequence[Pair],
    config: TrainConfig,
    *,
    supervision: Supervision[Pair] | None = None,
    first: nn.Module | None = None,
    after_stage: Callable[[int, nn.Module], None] | None = None,
    watch: Callable[[Event], None] = lambda _: None,
    memory: Memory | None = None,
    save_every: int = 25,
    labels_folder: Path | None = None,
    source: str = "",
    team: Team | None = None,
) -> TrainResult:
    """Train a feature extractor on unlabelled pairs.

    Args:
        backend: The four verbs of one modality.
        pairs: Training pairs, at least one, on the backend's device.
        config: Stages, steps, learning rate and the switches of the ablations.
        supervision: What teaches g; default self-training. Others skip the labels and share all the rest.
        first: g_0, the untrained network whose features make the first labels; default ``backend.new_network(seed)``.
        after_stage: Called with (0, g_0) before training and (t, g_t) after each stage: evaluation goes here.
        watch: Receives progress events.
        memory: Snapshots go there every ``save_every`` steps and after each stage, and training continues from the
            one it holds. A run that was killed at any moment ends with the same weights as one that was not.
        labels_folder: Cache of the labels on disk; may be deleted at any time. None: in memory.
        source: Digest of data and configuration; a cache with another one is not used.
        team: The processes that train together, each with these arguments. `after_stage`, `watch` and `memory` are
            used by process 0 alone; `labels_folder` must be the same for all.

    Returns:
        The network after the last stage, in evaluation mode, and the losses.

    Raises:
        ValueError: no pairs.
        ConfigError: the batch cannot be divided among the processes.
        NotFiniteError: a loss was NaN or infinite.
    """
    if not pairs:
        raise ValueError("pairs: need at least one pair to train on, got none")
    team = team or Alone()
    check_batch(config.batch_size, team)
    if team.rank:
        after_stage, memory, watch = None, None, lambda _: None
    teaching = supervision or SelfTraining[Pair](config.margin)
    # g_1 starts from new random weights, not from g_0's.
    teacher = first if first is not None else backend.new_network(config.seed)
    network = backend.new_network(config.seed + 1)
    state = team.broadcast(memory.load() if memory else None)
    if state is None and after_stage:
        after_stage(0, teacher.eval())
    losses = [float("nan")] * config.stages
    for stage in range(state.stage if state else 1, config.stages + 1):
        resumed = state if state and state.stage == stage else None
        if resumed and resumed.teacher is not None:
            teacher = backend.new_network(config.seed)
            teacher.load_state_dict(resumed.teacher)
        labels = None
        if teaching.labelled:
            folder = labels_folder / f"stage-{stage:02d}" if labels_folder else None
            digest = f"{source}-{stage}-{weights_digest(teacher)}-{config.refine}"
            kept = PseudoLabels(len(pairs), folder, digest, team.rank)
            labels = make_labels(backend, teacher, pairs, kept, config, stage, watch, team)
        # The teacher is frozen while its student, which may start from the same weights, moves away from it.
        frozen = _detached(teacher) if stage > 1 else None
        save = _saver(memory, stage, frozen)
        with global_statistics(network, team):
            losses[stage - 1] = train_stage(
                backend, network, pairs, labels, config, stage, watch, save, save_every, resumed, teaching, team
            )
        agree(network, team)
        teacher = backend.new_network(config.seed)
        teacher.load_state_dict(network.state_dict())
        if after_stage:
            after_stage(stage, network.eval())
        if memory:
            memory.save(Snapshot(stage + 1, 0, _detached(network), _detached(network), {}))
    if state and state.stage > config.stages:
        network.load_state_dict(state.network)
    return TrainResult(network.eval(), losses)


def train_stage(
    backend: Backend[Pair],
    network: nn.Module,
    pairs: Sequence[Pair],
    labels: PseudoLabels | None,
    config: TrainConfig,
    stage: int,
    watch: Callable[[Event], None] = lambda _: None,
    save: Callable[[int, nn.Module, Optimizer], None] = lambda *_: None,
    save_every: int = 25,
    resumed: Snapshot | None = None,
    supervision: Supervision[Pair] | None = None,
    team: Team | None = None,
) -> float:
    """Train g_t on the stage's labels (Eq. 2), or as another ``supervision`` says; returns the last loss read.

    Adam and the learning rate start anew. Without labels there is no difficulty to sample by. All randomness is a
    function of (seed, stage, step, place in the batch), so that every process of ``team`` can take its places alone.
    """
    team = team or Alone()
    teaching = supervision or SelfTraining[Pair](config.margin)
    unit = "mm" if teaching.fields else ""
    available = range(len(pairs)) if labels is None else labels.pairs
    steps = config.steps(len(available))
    optimizer = Adam(network.parameters(), lr=config.learning_rate)
    start = 0
    if resumed:
        network.load_state_dict(resumed.network)
        if resumed.step:
            optimizer.load_state_dict(resumed.optimizer)
        start = resumed.step
    weights = difficulty_weights(labels.difficulties) if labels is not None and config.weighted_sampling else None
    network.train()
    last = float("nan")
    for step in range(start, steps):
        key = (config.seed, stage, step)
        # 1. draw pairs, easy ones more often
        if weights is not None:
            places = weighted_batch(weights, config.batch_size, key)
        else:
            places = epoch_batch(len(available), config.batch_size, key)
        batch = [available[place] for place in places]
        # 2. label to device (the only copy), the example made of both, augmented
        drawn = []
        for place, i in list(enumerate(batch))[team.rank :: team.size]:
            generator = seeded(*key, 1 + place)
            label = labels[i].to(_device(network), torch.float32) if labels is not None else None
            made = teaching.example(i, pairs[i], label, generator)
            drawn.append(
                backend.augment(made.pair, made.target, generator) if config.augment else (made.pair, made.target)
            )
        # 3. h(g(pair)), Eq. 2, Adam
        rate = _learning_rate(config, step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        predicted = backend.predict(network, [pair for pair, _ in drawn])
        losses = [teaching.loss(pair, u, target) for (pair, target), u in zip(drawn, predicted, strict=True)]
        loss = torch.stack(losses).mean() / team.size
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = sum_gradients(network, loss, team)
        optimizer.step()
        # 4. the loss is read seldom; weights are checked before anything is made from them
        saving = (step + 1) % save_every == 0
        if saving or (step + 1) % LOSS_EVERY == 0 or step + 1 == steps:
            last = _finite(loss, stage, step, batch)
            watch(Event("step", stage, step + 1, steps, last, rate, unit))
        if saving or step + 1 == steps:
            _check_weights(network, stage, step, batch)
        if saving and step + 1 < steps:
            save(step + 1, network, optimizer)
    watch(Event("stage", stage, stage, config.stages, last, unit=unit))
    return last


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over a network's weights and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    if config.schedule == "cosine":
        return cosine(step, steps, config.learning_rate, config.final_learning_rate)
    return step_decay(step, steps, config.learning_rate, config.drops)


def _finite(loss: Tensor, stage: int, step: int, batch: Sequence[int]) -> float:
    value = float(loss.detach())
    if value - value != 0.0:
        raise NotFiniteError(f"stage {stage}, step {step + 1}, pairs {list(batch)}: the loss is {value}; {_REMEDY}")
    return value


def _check_weights(network: nn.Module, stage: int, step: int, batch: Sequence[int]) -> None:
    # a finite loss can have a gradient that is not, and the loss is that of the weights before the step
    if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
        where = f"stage {stage}, step {step + 1}, pairs {list(batch)}"
        raise NotFiniteError(f"{where}: the loss is finite, but not all weights are; {_REMEDY}")


def _detached(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _saver(
    memory: Memory | None, stage: int, teacher: dict[str, Tensor] | None
) -> Callable[[int, nn.Module, Optimizer], None]:
    def save(step: int, network: nn.Module, optimizer: Optimizer) -> None:
        if memory:
            memory.save(Snapshot(stage, step, teacher, _detached(network), deepcopy(optimizer.state_dict())))

    return save


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
