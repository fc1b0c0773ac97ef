"""The four verbs for cyclic signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from cst_core.backend import Registration
from cst_core.config import Settings

REACH = 6
"""Candidate displacements are -REACH..REACH sites of 1 mm."""
CHANNELS = 4


class ToyConfig(Settings):
    """All that can be set."""

    sharpness: float = 10.0
    """Of the soft-argmin."""
    features: int = 8
    noise: float = 0.6
    """Standard deviation of the channels that tell nothing."""


@dataclass(frozen=True)
class SignalPair:
    """Two cyclic signals ``(CHANNELS, sites)``."""

    fixed: Tensor
    moving: Tensor


class ToyBackend:
    """g mixes channels, h takes the shift that fits best, refinement smooths."""

    def __init__(self, config: ToyConfig) -> None:
        self.config = config

    def new_network(self, seed: int) -> nn.Module:
        """A 1x1 convolution, batch norm and tanh."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            mix = nn.Conv1d(CHANNELS, self.config.features, 1)
        return nn.Sequential(mix, nn.BatchNorm1d(self.config.features), nn.Tanh())

    def predict(self, network: nn.Module, pairs: Sequence[SignalPair]) -> list[Tensor]:
        """h(g(pair)); ``(3, sites)``, the shift along the first axis."""
        fixed = network(torch.stack([pair.fixed for pair in pairs]))
        moving = network(torch.stack([pair.moving for pair in pairs]))
        shifts = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
        costs = torch.stack([(fixed - moving.roll(-int(d), -1)).square().mean(1) for d in shifts])
        costs = sum(costs.roll(r, -1) for r in range(-3, 4))
        shift = torch.einsum("d,dbx->bx", shifts, (-self.config.sharpness * costs).softmax(0))
        return [torch.stack([u, torch.zeros_like(u), torch.zeros_like(u)]) for u in shift]

    @torch.no_grad()
    def register(self, network: nn.Module, pair: SignalPair) -> Registration:
        """The field, and its mean over nine sites."""
        network.eval()
        (field,) = self.predict(network, [pair])
        return Registration(field, torch.stack([field.roll(r, -1) for r in range(-4, 5)]).mean(0))

    def augment(self, pair: SignalPair, label: Tensor | None, generator: Generator) -> tuple[SignalPair, Tensor | None]:
        """Both signals and the label, turned by the same number of sites: exact, as they are cyclic."""
        turn = int(torch.randint(pair.fixed.shape[-1], (), generator=generator))
        turned = SignalPair(pair.fixed.roll(turn, -1), pair.moving.roll(turn, -1))
        return turned, None if label is None else label.roll(turn, -1)


def mismatch(pair: SignalPair, field: Tensor) -> Tensor:
    """Mean squared difference of the first channels, moving read linearly at x + u(x); and a little roughness."""
    sites = pair.fixed.shape[-1]
    there = torch.arange(sites) + field[0]
    below = there.detach().floor()
    part = there - below
    left, right = (pair.moving[0][(below.long() + i) % sites] for i in (0, 1))
    found = (1 - part) * left + part * right
    return (found - pair.fixed[0]).square().mean() + 0.1 * (field - field.roll(1, -1)).square().mean()


def make_case(seed: int, sites: int, noise: float) -> tuple[SignalPair, Tensor]:
    """A pair and its true displacement ``(3, sites)``: fixed(x) = moving(x + u(x)) in the first channel."""
    generator = Generator().manual_seed(seed)
    x = torch.arange(sites, dtype=torch.float32)
    turn = 2 * torch.pi / sites
    phase, size = torch.rand(2, generator=generator)
    u = (1.0 + 3.0 * size) * torch.sin(turn * x + 2 * torch.pi * phase)
    waves = torch.arange(3, 14)
    heights, phases = torch.randn(11, generator=generator), 2 * torch.pi * torch.rand(11, generator=generator)

    def signal(at: Tensor) -> Tensor:
        return (heights[:, None] * torch.sin(turn * waves[:, None] * at + phases[:, None])).sum(0) / 2.5

    def channels(first: Tensor) -> Tensor:
        return torch.cat([first[None], noise * torch.randn(CHANNELS - 1, sites, generator=generator)])

    pair = SignalPair(channels(signal(x + u)), channels(signal(x)))
    return pair, torch.stack([u, torch.zeros(sites), torch.zeros(sites)])
