"""Examples made of one scan: the label is exact, smooth, of the size asked for, and a function of the generator."""

from __future__ import annotations

import pytest
import torch

from cst_core.field import Grid, positions, warp
from cst_core.sampling import seeded
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.lattice import lattice_shape
from cst_image.pair import ImagePair
from cst_image.supervision.smooth_field import draw_smooth_field
from cst_image.supervision.synthetic_field import SyntheticField

SHAPE, SPACING = (24, 26, 22), (1.0, 1.5, 2.0)


def teaching(**settings: float) -> SyntheticField:
    plain = {"channels": (4, 4, 4), "strides": (1, 2, 2), "synthetic_contrast": 0.0, "synthetic_noise": 0.0}
    return SyntheticField(ImageBackend(ImageConfig.model_validate(plain | settings)))


@pytest.fixture
def pair(waves) -> ImagePair:
    fixed, moving = (0.4 * waves(4, 20.0, seed)(positions(SHAPE, SPACING)).mean(0, keepdim=True) for seed in (0, 1))
    moving_mask = torch.ones(1, *SHAPE, dtype=torch.bool)
    moving_mask[..., -6:] = False
    return ImagePair(fixed, moving, Grid.of(SHAPE, SPACING), None, moving_mask)


def test_the_label_makes_the_fixed_scan_of_the_moving_one(pair):
    backend = ImageBackend(ImageConfig(channels=(4, 4, 4), strides=(1, 2, 2)))
    seen = set()
    for seed in range(8):
        example = teaching().example(0, pair, None, seeded(seed))
        made, label = example.pair, example.target
        assert label.shape == (3, *lattice_shape(SHAPE, 2))
        vectors = backend.on_grid(made, label)
        torch.testing.assert_close(warp(made.moving, vectors, SPACING), made.fixed, rtol=0, atol=1e-6)
        source = "fixed" if torch.allclose(made.moving, pair.fixed, atol=1e-6) else "moving"
        torch.testing.assert_close(made.moving, getattr(pair, source), rtol=0, atol=1e-6)
        seen.add(source)
        # the mask goes with the scan, and outside it there is nothing
        assert made.moving_mask.all() == (source == "fixed")
        shown = warp(made.moving_mask.float(), vectors, SPACING, padding="zeros") > 0.5
        assert torch.equal(made.fixed_mask, shown)
    assert seen == {"fixed", "moving"}


def test_an_example_is_a_function_of_the_generator(pair):
    one, same, other = (teaching(synthetic_noise=0.1).example(0, pair, None, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.target, same.target)
    assert torch.equal(one.pair.fixed, same.pair.fixed)
    assert not torch.equal(one.target, other.target)


def test_contrast_and_noise_are_each_scans_own(pair):
    made = teaching(synthetic_contrast=0.5).example(0, pair, None, seeded(1)).pair
    plain = teaching().example(0, pair, None, seeded(1)).pair
    # one curve: what was brighter stays brighter, and the ends of the range stay
    inside = plain.moving.flatten().clamp(-0.4, 0.6)
    order = inside.argsort()
    assert (made.moving.flatten()[order].diff() >= -1e-6).all()
    assert made.moving.min() >= -0.4
    assert made.moving.max() <= 0.6
    assert (made.moving - plain.moving).abs().max() > 0.02
    noisy = teaching(synthetic_noise=0.1).example(0, pair, None, seeded(1)).pair
    rest = [noisy.fixed - plain.fixed, noisy.moving - plain.moving]
    assert [float(r.std()) for r in rest] == pytest.approx([0.1, 0.1], rel=0.05)
    assert abs(float((rest[0] * rest[1]).mean())) < 1e-3


def test_the_loss_is_the_mean_error_where_both_scans_show_the_same(pair):
    """The label leads 4 mm along the last axis, where the moving scan ends after 16 of 22 voxels of 2 mm."""
    target = torch.zeros(3, *lattice_shape(SHAPE, 2))
    target[2] = 4.0
    predicted = target.clone()
    predicted[0, :6] += 3.0  # half of the sites along x
    predicted[:, ..., 7:] = 99.0  # from voxel 14 on the label leads out of the mask
    assert teaching().loss(pair, predicted, target).item() == pytest.approx(1.5)
    fixed_mask = torch.ones(1, *SHAPE, dtype=torch.bool)
    fixed_mask[:, :12] = False
    masked = ImagePair(pair.fixed, pair.moving, pair.grid, fixed_mask, pair.moving_mask)
    assert teaching().loss(masked, predicted, target) == 0


def test_no_target_is_refused(pair):
    with pytest.raises(ValueError, match="synthetic-field"):
        teaching().loss(pair, torch.zeros(3, *lattice_shape(SHAPE, 2)), None)


def test_smooth_fields_have_unit_deviation_and_the_grain():
    fields = torch.stack([draw_smooth_field((30, 20, 16), (3.0, 3.0, 3.0), seeded(seed)) for seed in range(60)])
    assert float(fields.std()) == pytest.approx(1.0, abs=0.05)
    assert float(fields[..., 0, 0, 0].std()) == pytest.approx(1.0, abs=0.15)  # in a corner as well
    for axis in (2, 3, 4):
        inner = fields.narrow(axis, 5, fields.shape[axis] - 10)
        assert float(inner.diff(dim=axis).std()) == pytest.approx(2**-0.5 / 3, rel=0.1)


def test_amplitude_is_a_fraction_of_the_reach(pair):
    """reach 2 on stride 4: 8, 12 and 16 mm along the axes, of which 0.3 at most is the deviation."""
    labels = [teaching(reach=2).example(0, pair, None, seeded(seed)).target for seed in range(30)]
    deviation = torch.stack(labels).std(dim=(0, 2, 3, 4))
    # of a uniform factor up to 0.3: root mean square 0.3 / sqrt(3)
    assert deviation.tolist() == pytest.approx([0.3 / 3**0.5 * mm for mm in (8, 12, 16)], rel=0.3)
