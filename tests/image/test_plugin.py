"""The image backend as the command line sees it, on a pair whose answer is known."""

import math

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cst_core import plugins
from cst_core.cli_evaluate import usual_measures
from cst_core.field import DisplacementField, Grid
from cst_core.plugin import EvalCase
from cst_image.backend import ImageBackend
from cst_image.case import ImageCase
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN, at_test, score_field

SHAPE, SPACING = (16, 14, 12), (1.0, 2.0, 1.5)
GRID = Grid.of(SHAPE, SPACING)
SHIFT = torch.tensor([2.0, -2.0, 3.0])  # whole voxels
QUICK = ImageConfig(channels=(4, 6, 8), strides=(2, 1, 2), features=4, first_towers=1, adam_steps=2, reach=1)


class Shifting(ImageBackend):
    """Knows the answer: `SHIFT` everywhere, and a wave of ``wave`` mm."""

    wave = 0.0

    def displacement(self, network: nn.Module, pair: ImagePair) -> DisplacementField:  # noqa: ARG002
        vectors = SHIFT[:, None, None, None].expand(3, *SHAPE).clone()
        vectors[0] += self.wave * torch.sin(torch.arange(SHAPE[0]) / 2)[:, None, None]
        return DisplacementField(vectors, pair.grid)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """`at_test` makes a new backend: of this class."""
    monkeypatch.setattr("cst_image.plugin.at_test", lambda backend: backend)


def case(moved: bool = True) -> ImageCase:
    fixed = torch.zeros(SHAPE, dtype=torch.uint8)
    fixed[5:9, 4:7, 3:6] = 1
    fixed[9:12, 4:7, 3:6] = 4
    moving = fixed.roll((2, -1, 2), (0, 1, 2)) if moved else fixed
    volumes = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    return ImageCase("one", ImagePair(volumes[0], volumes[1], GRID), None, fixed, moving, {1: "liver", 4: "spleen"})


def surfaces(a: Tensor, b: Tensor) -> float:
    """HD95 of two masks by brute force."""

    def shell(mask: Tensor) -> Tensor:
        padded = nn.functional.pad(mask.float(), (1,) * 6)[None, None]
        cross = torch.zeros(3, 3, 3)
        cross[1, 1, :] = cross[1, :, 1] = cross[:, 1, 1] = 1.0
        full = nn.functional.conv3d(padded, cross[None, None])[0, 0] == 7
        return (mask & ~full).nonzero().double() * torch.tensor(SPACING, dtype=torch.float64)

    distance = torch.cdist(shell(a), shell(b))
    return max(float(distance.amin(axis).quantile(0.95)) for axis in (0, 1))


def test_found_by_its_entry_point():
    assert plugins.load("image") is PLUGIN


def test_names_and_presets():
    assert PLUGIN.name == "image"
    assert PLUGIN.default_preset in PLUGIN.presets
    assert all(preset.about for preset in PLUGIN.presets.values())
    assert all(path.suffix == ".safetensors" for path in PLUGIN.shipped().values())


def test_a_perfect_field():
    score = PLUGIN.score(Shifting(), nn.Identity(), case())
    assert score.id == "one"
    assert (score.dice, score.hd95_mm) == (1.0, 0.0)
    assert score.dice_initial is not None
    assert score.dice_initial < 0.5
    assert score.dice_per_label == {"liver": 1.0, "spleen": 1.0}
    assert (score.folding_percent, score.tre_mm) == (0.0, None)
    assert score.sdlogj == pytest.approx(0.0, abs=1e-6)
    assert score.sdlogj_l2r == pytest.approx(0.0, abs=1e-6)
    assert score.seconds is not None
    assert 0 <= score.seconds < 10


def test_a_field_that_is_off():
    one = case(moved=False)
    score = PLUGIN.score(Shifting(), nn.Identity(), one)
    assert score.dice_initial == 1.0
    assert score.dice is not None
    assert score.dice < 0.5
    warped = one.moving_labels.roll((-2, 1, -2), (0, 1, 2))
    expected = [surfaces(one.fixed_labels == label, warped == label) for label in (1, 4)]
    assert score.hd95_mm == pytest.approx(sum(expected) / 2)
    assert score.hd95_mm > 2


def test_jacobian_figures_are_of_the_full_field():
    backend = Shifting()
    backend.wave = 0.8
    score = PLUGIN.score(backend, nn.Identity(), case())
    x = torch.arange(SHAPE[0], dtype=torch.float64) / 2
    jacobian = (1 + 0.8 * (torch.sin(x + 0.5) - torch.sin(x - 0.5)) / 2)[2:-2]
    assert score.sdlogj == pytest.approx(float(jacobian.log().std(correction=0)), rel=1e-4)
    assert score.sdlogj_l2r == pytest.approx(float((jacobian + 3).log().std(correction=0)), rel=1e-4)
    backend.wave = 4.0
    folded = PLUGIN.score(backend, nn.Identity(), case()).folding_percent
    steep = (1 + 4.0 * (torch.sin(x + 0.5) - torch.sin(x - 0.5)) / 2)[2:-2]
    assert folded == pytest.approx(100 * float((steep <= 0).double().mean()))
    assert folded > 10


@pytest.mark.parametrize("one", [EvalCase("bare", case().pair), ImageCase("bare", case().pair)])
def test_without_labels(one):
    score = PLUGIN.score(Shifting(), nn.Identity(), one)
    assert (score.dice, score.dice_initial, score.dice_per_label, score.hd95_mm) == (None, None, None, None)
    assert score.sdlogj is not None


def test_no_label_in_common():
    one = case()
    lonely = ImageCase("one", one.pair, None, one.fixed_labels, 0 * one.moving_labels)
    score = PLUGIN.score(Shifting(), nn.Identity(), lonely)
    assert (score.dice, score.dice_initial, score.dice_per_label, score.hd95_mm) == (None, None, {}, None)


def test_unnamed_labels_go_by_their_number():
    one = case()
    bare = ImageCase("one", one.pair, None, one.fixed_labels, one.moving_labels)
    assert PLUGIN.score(Shifting(), nn.Identity(), bare).dice_per_label == {"1": 1.0, "4": 1.0}


def test_test_time_has_its_own_regularisation():
    labels, test = {"smoothness": 0.1, "divergence": 0.2}, {"test_smoothness": 7.0, "test_divergence": 8.0}
    backend = PLUGIN.backend(QUICK.model_copy(update=labels | test), "cpu")
    tested = at_test(backend)
    assert (tested.config.smoothness, backend.config.smoothness) == (7.0, 0.1)
    assert (tested.config.divergence, backend.config.divergence) == (8.0, 0.2)
    assert tested.config.model_copy(update=labels) == backend.config
    assert tested.device == backend.device


def test_random_features_register_and_are_scored():
    backend = PLUGIN.backend(QUICK, "cpu")
    score = PLUGIN.score(backend, PLUGIN.untrained(backend, 0), case())
    assert all(
        value is not None and math.isfinite(value)
        for value in (score.dice, score.hd95_mm, score.sdlogj, score.sdlogj_l2r, score.folding_percent, score.seconds)
    )


def test_training_sees_no_labels():
    assert set(vars(case().pair)) == {"fixed", "moving", "grid", "fixed_mask", "moving_mask"}


def test_more_regularisation_makes_smoother_fields(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cst_image.plugin.at_test", at_test)
    found = []
    for weight in (0.001, 1.0, 1000.0):
        config = QUICK.model_copy(update={PLUGIN.regularisation: weight, "adam_steps": 20})
        backend = PLUGIN.backend(config, "cpu")
        found.append(PLUGIN.score(backend, PLUGIN.untrained(backend, 0), case()).sdlogj_l2r)
    assert found[0] > 1.2 * found[1] > 1.44 * found[2]


def test_labels_smoothness_is_not_read_at_test_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cst_image.plugin.at_test", at_test)
    scores = []
    for weight in (0.01, 100.0):
        backend = PLUGIN.backend(QUICK.model_copy(update={"smoothness": weight}), "cpu")
        scores.append(PLUGIN.score(backend, PLUGIN.untrained(backend, 0), case()).sdlogj_l2r)
    assert scores[0] == scores[1]


def test_what_changes_figures_and_not_registrations():
    usual = usual_measures(PLUGIN)
    assert usual == {"label_interpolation": "nearest"}
    found = []
    for value in ("nearest", "label"):
        one = PLUGIN.read_data("phantom", None, ImageConfig(spacing=16.0, label_interpolation=value), "cpu").test[0]
        field = DisplacementField(torch.full((3, *one.pair.grid.shape), 6.0), one.pair.grid)
        found.append(score_field(one, field, 0.0))
    nearest, label = found
    assert nearest.dice != label.dice
    assert nearest.dice_initial == label.dice_initial
    assert nearest.sdlogj == label.sdlogj


def test_evaluate_says_how_scans_were_brought_together(tmp_path, capsys):
    from cst_core.cli import main

    for name, shape in (("a", (20, 22, 24)), ("b", (21, 22, 23)), ("c", (20, 22, 24))):
        values = 50 * np.random.default_rng(ord(name)).normal(size=shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-4.0, 4.0, 4.0, 1.0])), tmp_path / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image((values > 0).astype(np.uint8), np.diag([-4.0, 4.0, 4.0, 1.0])),
                     tmp_path / f"{name}_seg.nii.gz")  # fmt: skip
    arguments = ["evaluate", "--backend", "image", "--model", "random", "--data", str(tmp_path), "--set", "adam=false"]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    said = capsys.readouterr().out
    assert "3 scans on a grid of 21 x 22 x 24 voxels of 4 x 4 x 4 mm, centre on centre" in said
    assert "voxel axes turned to right, anterior, superior: 3 from LAS" in said
