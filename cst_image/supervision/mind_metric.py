"""How badly two scans agree in their self-similarities: what unsupervised registration of two modalities minimises."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from cst_image.backend import ImageBackend
from cst_image.mind import mind_ssc
from cst_image.pair import ImagePair
from cst_image.supervision.compared import compared, diffusion


class MindMetric:
    """Mean squared difference of MIND-SSC of the fixed and of the warped moving scan, plus `mind_smoothness` times
    the diffusion regulariser."""

    def __init__(self, backend: ImageBackend) -> None:
        self._backend = backend

    def __call__(self, pair: ImagePair, field: Float[Tensor, "3 x y z"]) -> Float[Tensor, ""]:
        """``field`` of the label lattice, mm; differentiable in it."""
        config = self._backend.config
        fixed, warped, _ = both = compared(self._backend, pair, field)
        there, here = (mind_ssc(scan, config.mind_radius, config.mind_dilation) for scan in (fixed, warped))
        return both.mean((there - here).square()) + config.mind_smoothness * diffusion(self._backend, pair, field)
