"""h for points: sparse loopy belief propagation over candidate displacements (Sec. 3). No weights, differentiable."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cst_points.graph import MessageGraph
from cst_points.knn import nearest
from cst_points.min_convolution import min_convolution


class Candidates(NamedTuple):
    """Where each fixed keypoint may go: K moving keypoints each."""

    partner: Int[Tensor, "N K"]
    """Which moving keypoints."""
    displacement: Float[Tensor, "N K 3"]
    """From the fixed keypoint to them; normalised coordinates."""


def nearest_candidates(fixed: Float[Tensor, "N 3"], moving: Float[Tensor, "M 3"], k: int) -> Candidates:
    """The k moving keypoints nearest to each fixed one (Sec. 3: 256); all of them where the cloud has fewer."""
    partner = nearest(fixed, moving, min(k, len(moving)))
    return Candidates(partner, moving[partner] - fixed.unsqueeze(1))


def data_cost(
    fixed_features: Float[Tensor, "N C"], moving_features: Float[Tensor, "M C"], partner: Int[Tensor, "N K"]
) -> Float[Tensor, "N K"]:
    """Mean over channels of the squared feature difference (Sec. 3).

    Expanded as |f|^2 - 2 f.m + |m|^2, so that the gathered moving features are the only ``(N, K, C)`` array, and that
    one lives for a block of keypoints at a time where no gradient is asked for. Features are centred first: the
    difference does not change, but the expansion then loses no digits.
    """
    middle = moving_features.detach().mean(0)
    f, m = fixed_features - middle, moving_features - middle
    # index_select, not indexing: its gradient is summed in a fixed order, so that training repeats to the bit
    moving_squares = m.square().sum(1).index_select(0, partner.reshape(-1)).reshape(partner.shape)
    squares = f.square().sum(1).unsqueeze(1) + moving_squares
    block = len(f) if torch.is_grad_enabled() else max(1, 2**23 // (partner.shape[1] * f.shape[1]))
    products = [
        torch.bmm(m.index_select(0, at.reshape(-1)).reshape(*at.shape, -1), rows.unsqueeze(2)).squeeze(2)
        for rows, at in zip(f.split(block), partner.split(block), strict=True)
    ]
    return (squares - 2.0 * torch.cat(products)) / f.shape[1]


def beliefs(
    cost: Float[Tensor, "N K"],
    displacement: Float[Tensor, "N K 3"],
    graph: MessageGraph,
    weight: float,
    rounds: int,
) -> Float[Tensor, "N K"]:
    """Min-sum beliefs after ``rounds`` rounds of messages; lower is likelier, up to a constant a keypoint.

        m_ij(b) = min_a [ cost_i(a) + incoming_i(a) - m_ji(a) + weight |d_i(a) - d_j(b)|^2 ]

    The belief is read after the last round (the published loop reads it one round early: its 5 rounds are 4 here).
    From every message its minimum is subtracted. That changes no belief's differences, hence no gradient, but without
    it messages grow without bound and float32 drowns their differences after some ten rounds.
    """
    scaled = (displacement.detach() * weight**0.5).transpose(1, 2).contiguous()
    message = cost.new_zeros(len(graph.source), cost.shape[1])
    belief = cost
    for _ in range(rounds):
        h = belief.index_select(0, graph.source) - message.index_select(0, graph.reverse)
        message = min_convolution(h, scaled, graph.source, graph.target)
        message = message - message.detach().amin(1, keepdim=True)
        belief = cost.index_add(0, graph.target, message)
    return belief


def read_out(
    belief: Float[Tensor, "N K"], displacement: Float[Tensor, "N K 3"], sharpness: float
) -> Float[Tensor, "N 3"]:
    """The expected displacement under softmax(-sharpness * belief) (Sec. 3: 50)."""
    return torch.bmm(torch.softmax(-sharpness * belief, 1).unsqueeze(1), displacement).squeeze(1)
