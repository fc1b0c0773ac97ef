"""Random fields depend on position alone, and have the deviation and the grain that they promise."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cst_image.abdomen.random_field import Lattice, draw_lattice

EXTENT = (300.0, 200.0, 400.0)


def axes(step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = (np.arange(-0.5 * length, 0.5 * length + 1e-6, step) for length in EXTENT)
    return x, y, z


def test_a_field_is_the_same_at_any_step() -> None:
    lattice = draw_lattice(np.random.default_rng(0), EXTENT, 25.0, channels=2)
    coarse, fine = lattice.on(axes(10.0)), lattice.on(axes(5.0))
    assert coarse.shape == (2, 31, 21, 41)
    assert_allclose(fine[:, ::2, ::2, ::2], coarse, atol=1e-5)


def test_a_field_has_unit_deviation_and_no_jumps() -> None:
    field = draw_lattice(np.random.default_rng(1), EXTENT, 12.0).on(axes(2.0))[0]
    assert_allclose(field.std(), 1, atol=0.1)
    assert_allclose(field.mean(), 0, atol=0.1)
    assert np.abs(np.diff(field, axis=0)).max() < 1.5


def test_constant_coefficients_give_a_constant() -> None:
    lattice = Lattice(np.full((1, 20, 20, 20), 2.5, np.float32), 25.0)
    assert_allclose(lattice.on(axes(7.0)), 2.5, rtol=1e-6)


def test_a_line_of_coefficients_gives_that_line() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None] - 9.5, (20, 20, 20))[None]
    at = (np.array([-60.0, 0.0, 35.0]), np.zeros(1), np.zeros(1))
    assert_allclose(Lattice(ramp * 25.0, 25.0).on(at)[0, :, 0, 0], at[0], atol=1e-3)
