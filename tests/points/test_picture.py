from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image, pyplot

from cst_core.backend import Registration
from cst_core.errors import CstError
from cst_core.plugin import EvalCase, Landmarks
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.picture import SIZE_INCHES, Plane, after, draw, projections

SHIFT = torch.tensor([3.0, -2.0, 12.0])
NETWORK = torch.nn.Identity()


class Shifting(PointsBackend):
    """Knows the answer: every point moves by `SHIFT`."""

    def register(self, network: torch.nn.Module, pair: CloudPair) -> Registration:  # noqa: ARG002
        field = SHIFT[:, None].expand(3, len(pair.fixed)).contiguous()
        return Registration(field, field)


def case(marked: bool = True) -> EvalCase[CloudPair]:
    fixed = (torch.rand(60, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * torch.tensor([200.0, 120.0, 220.0])
    pair = CloudPair(fixed, fixed + SHIFT, torch.zeros(3), torch.tensor([130.0, 96.0, 168.0]))
    return EvalCase("one", pair, Landmarks(fixed[:20] + 1, fixed[:20] + 1 + SHIFT) if marked else None)


@pytest.mark.parametrize("marked", [True, False])
def test_a_png_of_the_promised_size_that_is_not_blank(tmp_path, marked):
    path = tmp_path / "pair.png"
    draw(Shifting(), NETWORK, case(marked), path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = image.imread(path)[..., :3]
    assert pixels.shape[:2] == tuple(int(100 * side) for side in SIZE_INCHES[::-1])
    warm = (pixels[..., 0] > pixels[..., 2] + 0.3).sum()  # the errors and their colour bar
    assert (warm > 500) == marked
    halves = np.split(pixels, 2, axis=1)
    assert all((half < 0.9).any(axis=-1).mean() > 0.005 for half in halves)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pair.png"]


def test_the_same_pair_gives_the_same_file_whatever_the_extension(tmp_path):
    for name in ("a.png", "b.partial"):
        draw(Shifting(), NETWORK, case(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.partial").read_bytes()


def test_a_known_shift_leaves_no_error():
    one = case()
    field = Shifting().register(NETWORK, one.pair).refined
    assert one.landmarks is not None
    torch.testing.assert_close(after(Shifting(), one, field).marks, one.landmarks.moving, atol=1e-2, rtol=0)


def test_up_is_where_the_field_is_largest_and_the_wide_side_comes_first():
    pair = case().pair
    up_z = torch.tensor([1.0, -2.0, -9.0])[:, None].expand(3, 60)
    assert projections(pair, up_z) == (Plane(0, 2), Plane(1, 2))
    assert projections(pair, up_z.flip(0)) == (Plane(2, 0), Plane(1, 0))


def test_nothing_is_left_when_drawing_or_writing_fails(tmp_path, monkeypatch):
    path: Path = tmp_path / "pair.png"
    with pytest.raises(CstError, match=r"pair\.png: cannot be written"):
        draw(Shifting(), NETWORK, case(), tmp_path / "none" / "pair.png")
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cst_core.files.os.replace", fail)
    with pytest.raises(CstError, match="disk full"):
        draw(Shifting(), NETWORK, case(), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["pair.png"]


def test_no_figure_is_left_open(tmp_path):
    draw(Shifting(), NETWORK, case(), tmp_path / "pair.png")
    assert pyplot.get_fignums() == []
