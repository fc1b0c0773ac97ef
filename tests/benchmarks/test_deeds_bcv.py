"""The files of a tool that is not run here, written as its own code reads them."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ADAPTERS = Path(__file__).parents[2] / "benchmarks" / "peers" / "adapters"


@pytest.fixture
def deeds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ADAPTERS))
    import deeds_bcv

    yield deeds_bcv
    for name in ("deeds_bcv", "job"):
        sys.modules.pop(name, None)


def test_lattices_and_matrix_become_one_field(deeds: ModuleType) -> None:
    shape, small = (12, 9, 15), (4, 3, 5)
    # y + v along the first axis, x + u along the second: linear functions, which linear interpolation keeps
    first, second, third = (np.indices(small).astype(np.float32)[axis] * scale for axis, scale in enumerate((1, 2, 3)))
    values = np.concatenate([part.ravel(order="F") for part in (second, first, third)])
    matrix = np.eye(4)
    matrix[1, 0], matrix[3] = 0.5, (1.0, 2.0, 3.0, 1.0)  # the translation is the last row
    field = deeds.decoded(values, matrix, shape)
    i, j, k = np.indices(shape)
    expected = np.stack([0.5 * j + 1 + i / 3, 2 + 2 * j / 3, 3 + k])
    inner = (slice(None), slice(0, 9), slice(0, 6), slice(0, 12))  # up to the lattice's last site
    np.testing.assert_allclose(field[inner], expected[inner], atol=1e-5)
