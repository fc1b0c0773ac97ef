import json

import pytest
import torch

from cst_core.errors import DataError
from cst_core.plugin import EvalCase, Landmarks
from cst_points.case_folder import read_folder, write_case
from cst_points.cloud import CloudPair


def case(id: str = "1", marked: bool = True) -> EvalCase[CloudPair]:
    fixed = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) * 200 - 100
    pair = CloudPair(fixed, fixed + 1, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([130.0, 96.0, 168.0]))
    return EvalCase(id, pair, Landmarks(fixed[:5], fixed[:5] + 1) if marked else None)


def test_what_is_written_is_read_exactly(tmp_path):
    write_case(tmp_path / "new" / "folder", case(), {"frame": "release"})
    [again] = read_folder(tmp_path / "new" / "folder")
    assert again.id == "1"
    assert again.landmarks is not None
    for part in ("fixed", "moving", "origin", "half_extent"):
        assert torch.equal(getattr(again.pair, part), getattr(case().pair, part))
    assert torch.equal(again.landmarks.moving, case().pair.moving[:5])
    assert json.loads((tmp_path / "new" / "folder" / "case_1_crop.json").read_text())["frame"] == "release"


def test_an_existing_case_is_kept_unless_told_otherwise(tmp_path):
    write_case(tmp_path, case())
    with pytest.raises(DataError, match=r"case_1_crop\.json.*--overwrite"):
        write_case(tmp_path, case())
    write_case(tmp_path, case(marked=False), overwrite=True)
    assert read_folder(tmp_path)[0].landmarks is None
    with pytest.raises(DataError, match=r"--id.*'\.\./1'"):
        write_case(tmp_path, case("../1"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: must be a folder"):
        write_case(tmp_path / "file", case())
