"""The processes that train one network together; by default one, alone.

Every process draws the same batches, as all randomness is a function of seed, stage, step and place in the batch, and
takes its share of each. Gradients and batch statistics are those of the whole batch, so the weights are those of one
process, up to the order in which sums are taken.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from cst_core.errors import ConfigError

Value = TypeVar("Value")


class Team(Protocol):
    """What training needs of the processes. Each of them must make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Of this process, from 0. Process 0 owns the run folder, evaluates and speaks."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def broadcast(self, value: Value) -> Value:
        """Process 0's value, for all."""
        ...

    def gather(self, value: Value) -> list[Value]:
        """The values of all, by rank, for all; also the place where they wait for one another."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise over processes, the same for all to the bit; the argument may be overwritten."""
        ...


class Alone:
    """One process: nothing to wait for, nothing to add."""

    rank = 0
    size = 1

    def broadcast(self, value: Value) -> Value:
        """Itself."""
        return value

    def gather(self, value: Value) -> list[Value]:
        """It alone."""
        return [value]

    def sum(self, values: Tensor) -> Tensor:
        """Themselves."""
        return values


def check_batch(batch_size: int, team: Team) -> None:
    """That every process gets as many pairs of a batch as every other.

    Raises:
        ConfigError: it does not.
    """
    if batch_size % team.size:
        fits = -(-batch_size // team.size) * team.size
        raise ConfigError(
            f"train.batch_size: must be a multiple of the number of processes, {team.size}, got {batch_size}; "
            f"start fewer processes, or --set batch_size={fits}, which trains another network"
        )


def sum_gradients(network: nn.Module, loss: Tensor, team: Team) -> Tensor:
    """Give every parameter the sum of its gradients over processes; returns that of ``loss``, a scalar."""
    if team.size == 1:
        return loss
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in parameters]
    flat = team.sum(torch.cat([*parts, loss.detach().reshape(1)]))  # one message instead of one a parameter
    *summed, total = flat.split([*(part.numel() for part in parts), 1])
    for parameter, gradient in zip(parameters, summed, strict=True):
        parameter.grad = gradient.view_as(parameter)
    return total[0]


def agree(network: nn.Module, team: Team) -> None:
    """Give every process the weights and buffers of process 0, to the bit, whatever their devices are."""
    if team.size > 1:
        network.load_state_dict(team.broadcast({name: t.detach().cpu() for name, t in network.state_dict().items()}))
