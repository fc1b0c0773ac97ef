"""The image backend as the command line sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cst_core.errors import DataError
from cst_core.field import DisplacementField
from cst_core.metrics import hd95, jacobian_figures
from cst_core.models import Model
from cst_core.plugin import Dataset, EvalCase, PairScore, Preset, RegisterRequest
from cst_core.supervision import Supervision
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.overlap import mean, name_of, overlap
from cst_image.pair import ImagePair
from cst_image.presets import PRESETS
from cst_image.supervision.choice import SUPERVISIONS, choose


class ImagePlugin:
    """`cst_core.plugin.BackendPlugin` for volumes."""

    name = "image"
    config_class = ImageConfig
    presets: Mapping[str, Preset] = PRESETS
    default_preset = "quick"
    saves_memory = "--set batch_size, towers, first_towers and instance_channels, or raise --set spacing"
    regularisation = "test_smoothness"  # `smoothness` is that of labels: no registration at test time reads it
    measured_by = ("label_interpolation",)
    supervisions = SUPERVISIONS

    def backend(self, config: ImageConfig, device: str) -> ImageBackend:
        """The four verbs under this configuration."""
        return ImageBackend(config, device)

    def untrained(self, backend: ImageBackend, seed: int) -> nn.Module:
        """g_0: random features, or those that `first_features` names."""
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
        return score_field(case, field, seconds)

    def shipped(self) -> Mapping[str, Path]:
        """``hippocampus`` and ``abdomen``."""
        folder = Path(__file__).parent / "weights"
        return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}

    def picture(self, backend: ImageBackend, network: nn.Module, case: EvalCase[ImagePair], path: Path) -> None:
        """A PNG of one pair before and after registration."""
        from cst_image.picture import draw

        draw(at_test(backend), network, case, path)

    def register_files(self, model: Model, request: RegisterRequest, folder: Path) -> Mapping[str, Any]:
        """``cst register``; errors as `cst_image.registration.register_files`."""
        from cst_image.registration.register_files import register_files

        return register_files(model, request, folder)

    def supervision(
        self, name: str, backend: ImageBackend, cases: Sequence[EvalCase[ImagePair]]
    ) -> Supervision[ImagePair]:
        """One of `supervisions`; none of them needs a truth. Errors as `cst_image.supervision.choice`."""
        del cases
        return choose(name, backend)

    def checks(self, check: bool) -> Mapping[str, str]:
        """Nothing that could fail."""
        del check
        return {}

    def recognise(self, folder: Path) -> str | None:
        """A folder of scans, by its names alone."""
        from cst_image.folder import read_folder

        try:
            found = read_folder(folder)
        except DataError:
            return None
        labelled = sum(scan.labels is not None for scan in found.scans.values())
        named = f"{found.description.name}: " if found.description and found.description.name else ""
        return f"{named}{len(found.scans)} scans, {labelled} with label maps"


def score_field(case: EvalCase[ImagePair], field: DisplacementField, seconds: float) -> PairScore:
    """Measure any field of a case's grid against its truth, whoever made it; ``seconds`` is what making it took."""
    figures = jacobian_figures(field.vectors, field.grid.spacing)
    score = PairScore(
        id=case.id,
        sdlogj_l2r=figures.sdlogj_l2r,
        sdlogj=figures.sdlogj,
        folding_percent=figures.folding_percent,
        seconds=seconds,
    )
    found = overlap(case, field)
    if found is None:
        return score
    return replace(
        score,
        dice=mean(found.after),
        dice_initial=mean(found.before),
        dice_per_label={name_of(case, label): value for label, value in found.after.items()},
        dice_per_label_initial={name_of(case, label): value for label, value in found.before.items()},
        hd95_mm=mean(hd95(found.fixed, found.warped, field.grid.spacing)),
    )


def at_test(backend: ImageBackend) -> ImageBackend:
    """The same backend with the smoothness and the divergence's weight of test time."""
    config = backend.config
    config = config.model_copy(update={"smoothness": config.test_smoothness, "divergence": config.test_divergence})
    made = ImageBackend(config, backend.device)
    made.optimise = backend.optimise  # with what it has recorded
    return made


PLUGIN = ImagePlugin()
