"""The supervisions of the image backend by name."""

from __future__ import annotations

from types import MappingProxyType

from cst_core.supervision import Metric, Supervision
from cst_image.backend import ImageBackend
from cst_image.pair import ImagePair
from cst_image.supervision.mind_metric import MindMetric
from cst_image.supervision.ncc_metric import NccMetric
from cst_image.supervision.synthetic_field import SyntheticField

SUPERVISIONS = MappingProxyType(
    {
        "mind": "MIND-SSC of fixed and warped moving, and a diffusion regulariser; no labels",
        "ncc": "local correlation (MONAI's) of fixed and warped moving, and a diffusion regulariser; no labels",
        "synthetic-field": "single scans and copies warped by random smooth fields, which are the labels",
    }
)


def choose(name: str, backend: ImageBackend) -> Supervision[ImagePair]:
    """The supervision of that name.

    Raises:
        ConfigError: it needs a library that is not installed.
    """
    if name == "mind":
        return Metric(MindMetric(backend))
    if name == "ncc":
        return Metric(NccMetric(backend))
    if name == "synthetic-field":
        return SyntheticField(backend)
    raise ValueError(f"name must be one of {', '.join(SUPERVISIONS)}, got {name!r}")
