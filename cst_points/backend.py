"""The four verbs for clouds. One pair, from file to loss: cloud, graph, features, candidates, messages, read-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from cst_core.affine import augment_label_cloud, draw_similarity, in_mm
from cst_core.backend import Registration
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.graph import message_graph
from cst_points.lbp import beliefs, data_cost, nearest_candidates, read_out
from cst_points.network import GraphCNN, cloud_graph
from cst_points.refine import refine


class Effort(NamedTuple):
    """How hard h works at one solution."""

    candidates: int
    weight: float
    rounds: int


class Solution(NamedTuple):
    """What h believes of every candidate."""

    belief: Float[Tensor, "N K"]
    """Lower is likelier."""
    displacement: Float[Tensor, "N K 3"]
    """Normalised coordinates; from where the prior puts the keypoint, if there is one."""


class PointsBackend:
    """Graph CNN and sparse loopy belief propagation on keypoints (Sec. 3); fields are ``(3, N)`` in mm."""

    def __init__(self, config: PointsConfig | None = None, device: str = "cpu") -> None:
        self.config = config or PointsConfig()
        self.device = device

    def new_network(self, seed: int) -> GraphCNN:
        """A trainable g with weights from ``seed`` alone."""
        return self._network(seed, self.config.towers)

    def untrained(self, seed: int) -> GraphCNN:
        """g_0: `first_towers` random networks side by side, whose features make the first labels."""
        return self._network(seed, self.config.first_towers)

    def predict(self, network: nn.Module, pairs: Sequence[CloudPair]) -> list[Float[Tensor, "3 N"]]:
        """h(g(pair)) at the fixed keypoints, mm, differentiable (Eq. 1)."""
        features = self.features(network, pairs)
        config = self.config
        effort = Effort(config.candidates, config.training_weight, config.training_rounds)
        return [self.solve(pair, *feature, effort) for pair, feature in zip(pairs, features, strict=True)]

    @torch.no_grad()
    def register(self, network: nn.Module, pair: CloudPair) -> Registration:
        """Label stream and test time: h's field, and the same refined."""
        network.eval()
        (features,) = self.features(network, [pair])
        predicted = self.solve(pair, *features, self.effort)
        return Registration(predicted, refine(self, network, pair, features, predicted))

    def augment(
        self, pair: CloudPair, label: Float[Tensor, "3 N"] | None, generator: Generator
    ) -> tuple[CloudPair, Float[Tensor, "3 N"] | None]:
        """One random similarity of normalised coordinates for both clouds; the label turns and scales with them."""
        config = self.config
        drawn = draw_similarity(generator, config.max_degrees, config.max_translation, config.max_scale)
        both = in_mm(drawn, pair.origin.cpu(), pair.half_extent.cpu())
        moved = CloudPair(both.apply(pair.fixed), both.apply(pair.moving), pair.origin, pair.half_extent)
        return moved, None if label is None else augment_label_cloud(label, both)

    @property
    def effort(self) -> Effort:
        """Of the label stream and at test time."""
        return Effort(self.config.candidates, self.config.weight, self.config.rounds)

    def features(self, network: nn.Module, pairs: Sequence[CloudPair]) -> list[tuple[Tensor, Tensor]]:
        """g of both clouds of every pair: ``(N, C)`` and ``(M, C)``."""
        clouds = [pair.normalised() for pair in pairs]
        of_fixed = network([cloud_graph(fixed, self.config.neighbours_fixed) for fixed, _ in clouds])
        of_moving = network([cloud_graph(moving, self.config.neighbours_moving) for _, moving in clouds])
        return list(zip(of_fixed, of_moving, strict=True))

    def solve(
        self,
        pair: CloudPair,
        fixed_features: Float[Tensor, "N C"],
        moving_features: Float[Tensor, "M C"],
        effort: Effort,
        prior: Float[Tensor, "3 N"] | None = None,
    ) -> Float[Tensor, "3 N"]:
        """h: candidates, data cost, messages, read-out; mm.

        With a ``prior`` (mm), the fixed keypoints stand where it puts them, and only the rest is searched and
        regularised: a large smooth motion then costs nothing.
        """
        solution = self.solution(pair, fixed_features, moving_features, effort, prior)
        rest = (read_out(solution.belief, solution.displacement, self.config.sharpness) * pair.half_extent).T
        return rest if prior is None else prior + rest

    def solution(
        self,
        pair: CloudPair,
        fixed_features: Float[Tensor, "N C"],
        moving_features: Float[Tensor, "M C"],
        effort: Effort,
        prior: Float[Tensor, "3 N"] | None = None,
    ) -> Solution:
        """h before its read-out, as in `solve`."""
        fixed, moving = pair.normalised()
        there = fixed if prior is None else fixed + prior.T / pair.half_extent
        candidates = nearest_candidates(there, moving, effort.candidates)
        cost = data_cost(fixed_features, moving_features, candidates.partner)
        graph = message_graph(fixed, self.config.graph_neighbours)
        belief = beliefs(cost, candidates.displacement, graph, effort.weight, effort.rounds)
        return Solution(belief, candidates.displacement)

    def _network(self, seed: int, towers: int) -> GraphCNN:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return GraphCNN(self.config.features, towers=towers).to(self.device)
