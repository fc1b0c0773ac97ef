"""A teacher that follows its student: a moving average of the weights, which labels each pair when it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from cst_core.backend import Backend, Pair


class MovingTeacher:
    """The average of a network's weights over about 1 / (1 - ``decay``) steps, beginning with those it has."""

    def __init__(self, network: nn.Module, decay: float, weights: Mapping[str, Tensor] | None = None) -> None:
        """``weights``: of the average so far, where training is resumed."""
        self.network, self._decay = deepcopy(network).requires_grad_(False), decay
        if weights is not None:
            self.network.load_state_dict(weights)

    @torch.no_grad()
    def label(self, backend: Backend[Pair], pair: Pair, refine: bool) -> Tensor:
        """Of a pair, ``(3, *sites)`` mm."""
        found = backend.register(self.network.eval(), pair)
        return found.refined if refine else found.predicted

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """One step; what is counted and not averaged is taken over."""
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1.0 - self._decay)
            else:
                mine.copy_(theirs)
