"""The pairs of ``benchmarks/consecutive.py``: which scans they are of, and that cst reads them as a test."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.consecutive import consecutive
from cst_image.config import ImageConfig
from cst_image.plugin import PLUGIN


def scans(folder: Path, count: int) -> Path:
    draw = np.random.default_rng(0)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            values = draw.integers(0, 3 if part == "labelsTr" else 100, (8, 8, 8)).astype(np.uint8)
            nib.save(nib.Nifti1Image(values, np.eye(4)), folder / part / f"Scan_{number:03d}.nii.gz")
    return folder


def test_listed_pairs_are_tested_and_their_scans_not_trained_on(tmp_path: Path) -> None:
    pairs = consecutive(scans(tmp_path / "data", 207), tmp_path / "out")
    assert len(pairs) == 40
    assert pairs[0] == ("Scan_160.nii.gz", "Scan_161.nii.gz")
    data = PLUGIN.read_data(str(tmp_path / "out"), None, ImageConfig(intensity="mr", max_train_pairs=None), "cpu")
    assert [case.id for case in data.test][-1] == "Scan_199_Scan_200"
    assert len(data.train) == 160 * 159 // 2
    assert consecutive(tmp_path / "data", tmp_path / "out") == pairs  # again, over what is there


def test_too_few_scans(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 200 scans, found 3"):
        consecutive(scans(tmp_path / "data", 3), tmp_path / "out")


def test_scans_are_never_replaced(tmp_path: Path) -> None:
    data = scans(tmp_path / "data", 201)
    before = (data / "imagesTr" / "Scan_000.nii.gz").read_bytes()
    with pytest.raises(ValueError, match="choose another --out"):
        consecutive(data, data)
    assert (data / "imagesTr" / "Scan_000.nii.gz").read_bytes() == before
