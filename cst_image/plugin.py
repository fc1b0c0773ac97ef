"""The image backend as the command line sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Integer
from torch import Tensor, nn

from cst_core.field import DisplacementField, warp
from cst_core.metrics import dice, hd95, jacobian_figures
from cst_core.plugin import Dataset, EvalCase, PairScore, Preset
from cst_image.backend import ImageBackend
from cst_image.case import ImageCase
from cst_image.config import PRESETS, ImageConfig
from cst_image.pair import ImagePair


class ImagePlugin:
    """`cst_core.plugin.BackendPlugin` for volumes."""

    name = "image"
    config_class = ImageConfig
    presets: Mapping[str, Preset] = PRESETS
    default_preset = "small"

    def backend(self, config: ImageConfig, device: str) -> ImageBackend:
        """The four verbs under this configuration."""
        return ImageBackend(config, device)

    def untrained(self, backend: ImageBackend, seed: int) -> nn.Module:
        """g_0: random features."""
        return backend.untrained(seed)

    def read_data(self, source: str, fold: int | None, config: ImageConfig, device: str) -> Dataset[ImagePair]:
        """The phantom, or a folder of NIfTI scans; errors as `cst_image.data`."""
        from cst_image.data import read_dataset

        return read_dataset(source, fold, config, device)

    def score(self, backend: ImageBackend, network: nn.Module, case: EvalCase[ImagePair]) -> PairScore:
        """Dice and HD95 of the warped label map, the Jacobian's figures at full resolution, seconds to register."""
        start = time.perf_counter()
        field = at_test(backend).displacement(network, case.pair)
        if case.pair.fixed.is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        figures = jacobian_figures(field.vectors, field.grid.spacing)
        score = PairScore(
            id=case.id,
            sdlogj_l2r=figures.sdlogj_l2r,
            sdlogj=figures.sdlogj,
            folding_percent=figures.folding_percent,
            seconds=seconds,
        )
        if not isinstance(case, ImageCase) or case.fixed_labels is None or case.moving_labels is None:
            return score
        fixed, moving = case.fixed_labels, case.moving_labels
        before, overlap = dice(fixed, moving), dice(fixed, warped := warp_labels(moving, field))
        # a label that warping took out of the volume is a bad result, not an absent label (as Learn2Reg)
        after = {label: overlap.get(label, 0.0) for label in before}
        surfaces = hd95(fixed, warped, field.grid.spacing)
        names = case.label_names or {}
        return replace(
            score,
            dice=_mean(after),
            dice_initial=_mean(before),
            dice_per_label={names.get(label, str(label)): value for label, value in after.items()},
            hd95_mm=_mean(surfaces),
        )

    def shipped(self) -> Mapping[str, Path]:
        """``hippocampus`` and ``abdomen``."""
        folder = Path(__file__).parent / "weights"
        return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}

    def picture(self, backend: ImageBackend, network: nn.Module, case: EvalCase[ImagePair], path: Path) -> None:
        """A PNG of one pair before and after registration."""
        from cst_image.picture import draw

        draw(at_test(backend), network, case, path)


def at_test(backend: ImageBackend) -> ImageBackend:
    """The same backend with the smoothness of test time."""
    config = backend.config.model_copy(update={"smoothness": backend.config.test_smoothness})
    return ImageBackend(config, backend.device)


def warp_labels(labels: Integer[Tensor, "X Y Z"], field: DisplacementField) -> Integer[Tensor, "X Y Z"]:
    """A label map of the moving scan in the frame of the fixed one, nearest neighbour."""
    return warp(labels, field.vectors, field.grid.spacing, mode="nearest")


def _mean(values: Mapping[int, float]) -> float | None:
    return fmean(values.values()) if values else None


PLUGIN = ImagePlugin()
