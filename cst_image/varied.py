"""Another contrast and noise, as another scanner might give them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from cst_image.config import ImageConfig
from cst_image.intensity import lowest


def varied(scan: Float[Tensor, "1 X Y Z"], config: ImageConfig, generator: Generator) -> Float[Tensor, "1 X Y Z"]:
    """Another exponent of the mapped intensities, which are 1 wide, and noise."""
    gamma = (config.synthetic_contrast * torch.randn(1, generator=generator)).exp().item()
    noise = torch.randn(scan.shape, generator=generator).to(scan)
    low = lowest(config)
    return low + (scan - low).clamp(0.0, 1.0) ** gamma + config.synthetic_noise * noise
