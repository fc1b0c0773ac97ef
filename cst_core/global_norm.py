"""Batch normalisation over the batch of all processes, on any device (torch's own needs a GPU)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cst_core.team import Team


@contextmanager
def global_statistics(network: nn.Module, team: Team) -> Iterator[None]:
    """Inside, the batch norms of ``network`` in training mode use mean and variance over all processes' batches.

    Their running statistics are then the same in all processes. These must call the network equally often, with batches
    of one size. Weights and buffers keep their names and types; in evaluation mode nothing changes.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)] if team.size > 1 else []
    for norm in norms:
        vars(norm)["forward"] = partial(_forward, norm, norm.forward, team)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]  # what is left is the class's own


def _forward(norm: _BatchNorm, own: Callable[[Tensor], Tensor], team: Team, x: Tensor) -> Tensor:
    if not norm.training:
        return own(x)
    y, mean, variance, count = _GlobalNorm.apply(x, norm.weight, norm.bias, norm.eps, team)
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        factor = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, factor)
        norm.running_var.lerp_(variance * (count / (count - 1)), factor)  # torch keeps the unbiased one
    return y


class _GlobalNorm(torch.autograd.Function):
    """Ioffe & Szegedy 2015, with sums over processes; ``x`` is ``(B, C, ...)``.

    Means and variances of the shares are combined as Chan et al. 1979 do: no difference of large sums.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, team: Team) -> Any:
        values = _full(x)
        over = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(values, over, correction=0)
        # every process fills its row, and the sum is all rows: one message
        rows = values.new_zeros(team.size, 2 * len(mean) + 1)
        count = values.numel() / len(mean)
        rows[team.rank] = torch.cat([mean, variance, values.new_tensor([count])])
        rows = team.sum(rows)
        means, variances, counts = rows[:, : len(mean)], rows[:, len(mean) : -1], rows[:, -1:]
        total = counts.sum()
        mean = (means * counts).sum(0) / total
        variance = ((variances + (means - mean).square()) * counts).sum(0) / total
        scale = (variance + eps).rsqrt()
        standard = (values - _wide(mean, x)) * _wide(scale, x)
        y = standard if weight is None else standard * _wide(weight, x)
        y = y if bias is None else y + _wide(bias, x)
        ctx.save_for_backward(x, weight, mean, scale, total)
        ctx.team = team
        ctx.mark_non_differentiable(mean, variance, total)
        return y.to(x.dtype), mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, mean, scale, total = ctx.saved_tensors
        gradient = _full(gradients[0])
        over = [0, *range(2, x.ndim)]
        standard = (_full(x) - _wide(mean, x)) * _wide(scale, x)
        of_bias, of_weight = gradient.sum(over), (gradient * standard).sum(over)
        # the statistics depend on every process's share, so their gradients are summed; the parameters' are later
        both = ctx.team.sum(torch.stack([of_bias, of_weight]) / total)
        inner = gradient - _wide(both[0], x) - standard * _wide(both[1], x)
        of_x = inner * _wide(scale if weight is None else scale * weight, x)
        wanted = ctx.needs_input_grad
        return of_x.to(x.dtype), of_weight if wanted[1] else None, of_bias if wanted[2] else None, None, None


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # half precision under autocast


def _wide(channels: Tensor, like: Tensor) -> Tensor:
    return channels.reshape(1, -1, *[1] * (like.ndim - 2))
