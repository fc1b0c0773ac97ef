"""How badly two scans correlate locally: what unsupervised registration of one modality minimises."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from cst_core.errors import ConfigError
from cst_image.backend import ImageBackend
from cst_image.pair import ImagePair
from cst_image.supervision.compared import compared, diffusion

_FLAT = 1e-3  # summed squared deviation of a window, far above what rounding leaves of a constant one


class NccMetric:
    """Minus the mean squared correlation, over windows, of the fixed and the warped moving scan, plus
    `ncc_smoothness` times the diffusion regulariser. The correlation is MONAI's."""

    def __init__(self, backend: ImageBackend) -> None:
        """Raises ConfigError: MONAI is not installed."""
        try:
            from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss
        except ImportError as error:
            raise ConfigError(
                "ncc: the local correlation is MONAI's, which is not installed; pip install 'cst[monai]'"
            ) from error
        self._backend = backend
        self._correlation = LocalNormalizedCrossCorrelationLoss(
            spatial_dims=3, kernel_size=backend.config.ncc_window, reduction="none", smooth_dr=_FLAT
        )

    def __call__(self, pair: ImagePair, field: Float[Tensor, "3 x y z"]) -> Float[Tensor, ""]:
        """``field`` of the label lattice, mm; differentiable in it. A window counts where its centre is seen."""
        fixed, warped, _ = both = compared(self._backend, pair, field)
        correlation = self._correlation(warped[None], fixed[None])[0]
        return both.mean(correlation) + self._backend.config.ncc_smoothness * diffusion(self._backend, pair, field)
