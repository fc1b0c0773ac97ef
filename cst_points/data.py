"""Where pairs of clouds come from: the public keypoint release, a folder of files, or the built-in phantom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cst_core.errors import DataError
from cst_core.plugin import Dataset, EvalCase
from cst_points.case_folder import read_folder
from cst_points.cloud import CloudPair
from cst_points.folds import fold_split
from cst_points.release import RELEASE_NOTE, is_release, read_release

NO_FOLD_NOTE = "no fold: the test pairs are among the training pairs (their landmarks are not used in training)"


def read_dataset(source: str | Path, fold: int | None = None, extra_pairs: bool = False) -> Dataset[CloudPair]:
    """``phantom``, the folder of the public keypoint release, or a folder of ``case_<id>_fixed`` and ``_moving`` files.

    Without a fold, every pair is trained on and those with landmarks are the test. With a fold, see `fold_split`.

    Raises:
        DataError: no such folder, files that cannot be used, or a fold that does not exist.
    """
    cases, notes = _read_cases(source)
    if fold is None:
        train, test = cases, [case for case in cases if case.landmarks is not None]
        notes += [NO_FOLD_NOTE] if test else []
    else:
        train, test = fold_split(cases, fold, extra_pairs)
        unused = sum(case.landmarks is None for case in cases)
        if unused and not extra_pairs:
            notes.append(f"{unused} pairs without landmarks are left out of the fold's training, as in the paper")
    return Dataset(source=str(source), fingerprint=fingerprint(cases), train=train, test=test, notes=tuple(notes))


def _read_cases(source: str | Path) -> tuple[list[EvalCase[CloudPair]], list[str]]:
    if str(source) == "phantom":
        from cst_points.phantom import lung_phantom

        return list(lung_phantom(n_pairs=10, seed=0)), ["built-in lung phantom, not real data"]
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"{folder}: must be 'phantom' or a folder, found none; check the path")
    if is_release(folder):
        return read_release(folder), [RELEASE_NOTE]
    return read_folder(folder), []


def fingerprint(cases: Sequence[EvalCase[CloudPair]]) -> str:
    """SHA-256, in hexadecimal, over ids, clouds, crops, landmarks and correspondences in their order."""
    digest = hashlib.sha256()
    for case in cases:
        pair, landmarks = case.pair, case.landmarks
        known = () if case.correspondence is None else (case.correspondence,)
        digest.update(f"{case.id}\0{landmarks is not None}\0".encode())
        for tensor in (pair.fixed, pair.moving, pair.origin, pair.half_extent, *(landmarks or ()), *known):
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
