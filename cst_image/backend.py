"""The four verbs for volumes. One pair, from file to loss: volumes, features, correlation, coupled convex, field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from cst_core.affine import Affine, augment_label_image, draw_image_affines, for_grid, warp_image
from cst_core.backend import Registration
from cst_core.field import DisplacementField, Grid
from cst_core.replay import Replay
from cst_image.config import ImageConfig
from cst_image.correlation import candidate_displacements, matching_cost
from cst_image.coupled_convex import coupled_convex, upsampled
from cst_image.instance import instance_optimisation
from cst_image.lattice import box_means, double, lattice_grid, lattice_shape
from cst_image.mind_features import MindFeatures
from cst_image.network import FeatureCNN
from cst_image.pair import ImagePair
from cst_image.refine import EPSILON, refine


class PairFeatures(NamedTuple):
    """g of both volumes of a pair, standardised if the configuration says so."""

    fixed: Float[Tensor, "C x y z"]
    moving: Float[Tensor, "C x y z"]
    fixed_instance: Float[Tensor, "D X Y Z"]
    moving_instance: Float[Tensor, "D X Y Z"]


class ImageBackend:
    """3D CNN and coupled convex optimisation (Sec. 3); fields ``(3, X, Y, Z)`` in mm on the label lattice."""

    def __init__(self, config: ImageConfig | None = None, device: str = "cpu") -> None:
        self.config = config or ImageConfig()
        self.device = device
        self.optimise = Replay(instance_optimisation)

    def new_network(self, seed: int) -> FeatureCNN:
        """A trainable g with weights from ``seed`` alone."""
        return self._network(seed, self.config.towers)

    def untrained(self, seed: int) -> FeatureCNN | MindFeatures:
        """g_0, whose features make the first labels: `first_towers` random networks side by side, or MIND-SSC."""
        config = self.config
        if config.first_features == "mind":
            return self._mind()
        return self._network(seed, self.config.first_towers)

    def predict(self, network: nn.Module, pairs: Sequence[ImagePair]) -> list[Float[Tensor, "3 X Y Z"]]:
        """h(g(pair)) on the label lattice, mm, differentiable (Eq. 1)."""
        return [
            self.to_label_lattice(pair, self.solve(pair, features.fixed, features.moving))
            for pair, features in zip(pairs, self.features(network, pairs), strict=True)
        ]

    @torch.no_grad()
    def register(self, network: nn.Module, pair: ImagePair) -> Registration:
        """Label stream and test time: h's field, and the same refined; mm on the label lattice."""
        network.eval()
        (features,) = self.features(network, [pair])
        features = features._replace(
            fixed_instance=self._beside(network, features.fixed_instance, pair.fixed),
            moving_instance=self._beside(network, features.moving_instance, pair.moving),
        )
        solved = self.solve(pair, features.fixed, features.moving)
        return Registration(self.to_label_lattice(pair, solved), refine(self, network, pair, features, solved))

    def augment(
        self, pair: ImagePair, label: Float[Tensor, "3 X Y Z"] | None, generator: Generator
    ) -> tuple[ImagePair, Float[Tensor, "3 X Y Z"] | None]:
        """fixed∘A1, moving∘A2 and the exact label (Sec. 3)."""
        config = self.config
        drawn = draw_image_affines(generator, config.sigma_first, config.sigma_second)
        fixed, moving = (for_grid(affine, pair.grid) for affine in drawn)
        # The lattice has the grid mm of the volume, so the same maps hold on both.
        moved = ImagePair(
            warp_image(pair.fixed, fixed, pair.grid),
            warp_image(pair.moving, moving, pair.grid),
            pair.grid,
            _moved_mask(pair.fixed_mask, fixed, pair),
            _moved_mask(pair.moving_mask, moving, pair),
        )
        if label is None:
            return moved, None
        return moved, augment_label_image(label, fixed, moving, lattice_grid(pair.grid, config.label_stride))

    def displacement(self, network: nn.Module, pair: ImagePair) -> DisplacementField:
        """The refined field at every voxel of the pair's grid: what a user of the registration wants."""
        return self.dense(pair, self.register(network, pair).refined)

    @torch.no_grad()
    def dense(self, pair: ImagePair, refined: Float[Tensor, "3 X Y Z"]) -> DisplacementField:
        """A field of the label lattice at every voxel of the pair's grid, smoothed once more (published code)."""
        vectors = box_means(self.on_grid(pair, refined), self.config.final_smoothing)
        return DisplacementField(vectors, pair.grid)

    def on_grid(self, pair: ImagePair, field: Float[Tensor, "3 x y z"]) -> Float[Tensor, "3 X Y Z"]:
        """A field of the label lattice at every voxel, linear."""
        stride = self.config.label_stride
        while stride > 1:
            stride //= 2
            field = double(field, lattice_shape(pair.grid.shape, stride))
        return field

    def features(self, network: nn.Module, pairs: Sequence[ImagePair]) -> list[PairFeatures]:
        """g of all volumes of a batch at once, where they are of one size."""
        if len({pair.grid.shape for pair in pairs}) > 1:
            return [features for pair in pairs for features in self.features(network, [pair])]
        volumes = torch.stack([volume for pair in pairs for volume in (pair.fixed, pair.moving)])
        with self._precision(volumes):
            last, instance = network(volumes)
        made = []
        for place, pair in enumerate(pairs):
            fixed, moving = 2 * place, 2 * place + 1
            made.append(
                PairFeatures(
                    self.standardised(last[fixed].float(), pair.fixed_mask, self.config.stride),
                    self.standardised(last[moving].float(), pair.moving_mask, self.config.stride),
                    instance[fixed].detach(),
                    instance[moving].detach(),
                )
            )
        return made

    def matched_features(
        self, network: nn.Module, volume: Float[Tensor, "1 X Y Z"], mask: Bool[Tensor, "1 X Y Z"] | None
    ) -> Float[Tensor, "C x y z"]:
        """g of one volume, as h matches it."""
        with self._precision(volume):
            last = network(volume[None])[0]
        return self.standardised(last[0].float(), mask, self.config.stride)

    def instance_features(self, network: nn.Module, volume: Float[Tensor, "1 X Y Z"]) -> Float[Tensor, "D x y z"]:
        """Features of one volume for instance optimisation."""
        with self._precision(volume):
            if isinstance(network, FeatureCNN | MindFeatures):
                found = network.instance(volume[None])[0]  # what h alone matches is not needed
            else:
                found = network(volume[None])[1][0]
        return self._beside(network, found, volume)

    def standardised(
        self, features: Float[Tensor, "C x y z"], mask: Bool[Tensor, "1 X Y Z"] | None, stride: int
    ) -> Float[Tensor, "C x y z"]:
        """Every channel to mean 0 and deviation 1 over the scan's field of view, if the configuration says so."""
        if not self.config.standardise:
            return features
        inside = on_lattice(mask, stride)
        # a small field of view may lie between the sites
        seen = features.flatten(1) if inside is None or not inside.any() else features[:, inside]
        # not the deviation: its gradient is NaN where a channel is constant
        variance, mean = (part[:, None, None, None] for part in torch.var_mean(seen, dim=1, correction=0))
        return (features - mean) / (variance + EPSILON**2).sqrt()

    def solve(
        self, pair: ImagePair, fixed: Float[Tensor, "C x y z"], moving: Float[Tensor, "C x y z"]
    ) -> Float[Tensor, "3 x y z"]:
        """h: correlation and coupled convex optimisation; mm on the lattice of g's stride."""
        config = self.config
        scale = config.cost_scale / len(fixed)
        masks = (on_lattice(mask, config.stride) for mask in (pair.fixed_mask, pair.moving_mask))
        cost = matching_cost(scale * fixed, scale * moving, config.reach, *masks)
        candidates = candidate_displacements(config.reach, like=fixed)
        field = coupled_convex(cost, candidates, config.sharpness, config.coupling)
        return field * voxel_size(pair.grid, config.stride, field)

    def to_label_lattice(self, pair: ImagePair, field: Float[Tensor, "3 x y z"]) -> Float[Tensor, "3 X Y Z"]:
        """A field of h's lattice on the lattice of labels; mm stay mm."""
        return upsampled(field, pair.grid.shape, self.config.stride, self.config.label_stride)

    def _mind(self) -> MindFeatures:
        config = self.config
        return MindFeatures(config.stride, config.label_stride, config.mind_radius, config.mind_dilation)

    def _beside(
        self, network: nn.Module, features: Float[Tensor, "D x y z"], volume: Float[Tensor, "1 X Y Z"]
    ) -> Float[Tensor, "E x y z"]:
        """Features of one volume for instance optimisation, with MIND's behind them if the configuration says so."""
        if not (self.config.instance_mind and self.config.adam) or isinstance(network, MindFeatures):
            return features
        return torch.cat([features.float(), self._mind().instance(volume[None].float())[0]])

    def _network(self, seed: int, towers: int) -> FeatureCNN:
        config = self.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = FeatureCNN(
                config.channels, config.strides, config.features, config.norm, towers, config.instance_blocks
            )
        # channels last in memory: the faster convolutions, and what instance optimisation reads
        network.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]
        return network.to(self.device)

    def _precision(self, volumes: Tensor) -> torch.autocast:
        """What g computes in: of the weights' copies and the features, not of the weights themselves."""
        wanted = self.config.precision
        half = wanted == "bfloat16" or (wanted == "auto" and volumes.is_cuda)
        return torch.autocast("cuda" if volumes.is_cuda else "cpu", torch.bfloat16, enabled=half)


def on_lattice(mask: Bool[Tensor, "1 X Y Z"] | None, stride: int) -> Bool[Tensor, "x y z"] | None:
    """A volume's mask at the sites of a lattice."""
    return None if mask is None else mask[0, ::stride, ::stride, ::stride]


def voxel_size(grid: Grid, stride: int, like: Tensor) -> Float[Tensor, "3 1 1 1"]:
    """mm between the sites of a lattice, per axis."""
    return stride * like.new_tensor(grid.spacing)[:, None, None, None]


def _moved_mask(mask: Bool[Tensor, "1 X Y Z"] | None, affine: Affine, pair: ImagePair) -> Tensor:
    """What a warped scan still shows: padding, and what the map took from outside the volume, is outside."""
    seen = torch.ones_like(pair.fixed) if mask is None else mask.to(pair.fixed)
    return warp_image(seen, affine, pair.grid, padding="zeros") > 0.5
