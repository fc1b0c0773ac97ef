"""MIND-SSC in g's place: features that nobody trained, for first labels that are better than a random network's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cst_image.lattice import box_means
from cst_image.mind import mind_ssc
from cst_image.network import Features


class MindFeatures(nn.Module):
    """At h's stride and at that of labels, smoothed before it is subsampled; without weights.

    ``radius`` and ``dilation`` in voxels, as those of `cst_image.mind.mind_ssc`.
    """

    features_name = "MIND features"

    def __init__(self, stride: int, label_stride: int, radius: int = 1, dilation: int = 2) -> None:
        super().__init__()
        self.stride, self.label_stride = stride, label_stride
        self.radius, self.dilation = radius, dilation

    def forward(self, volumes: Float[Tensor, "B 1 X Y Z"]) -> Features:
        """Both kinds of features, as `cst_image.network.FeatureCNN` gives them, of 12 channels each."""
        features = self._everywhere(volumes)
        return Features(_subsampled(features, self.stride), _subsampled(features, self.label_stride))

    def instance(self, volumes: Float[Tensor, "B 1 X Y Z"]) -> Float[Tensor, "B 12 x y z"]:
        """`Features.instance` alone."""
        return _subsampled(self._everywhere(volumes), self.label_stride)

    def _everywhere(self, volumes: Tensor) -> Tensor:
        return torch.stack([mind_ssc(volume, self.radius, self.dilation) for volume in volumes])


def _subsampled(features: Float[Tensor, "B C X Y Z"], stride: int) -> Float[Tensor, "B C x y z"]:
    """Every ``stride``-th site of repeated 3-box means; all of them as they are at stride 1."""
    return features if stride == 1 else box_means(features, stride // 2)[..., ::stride, ::stride, ::stride]
