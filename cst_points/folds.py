"""Which cases train and which test: the paper's folds of two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cst_core.errors import DataError
from cst_core.plugin import EvalCase
from cst_points.cloud import CloudPair

Cases = list[EvalCase[CloudPair]]


def fold_split(cases: Sequence[EvalCase[CloudPair]], fold: int, extra: bool = False) -> tuple[Cases, Cases]:
    """Training and test cases of one fold: fold k, from 1, tests the cases 2k - 1 and 2k of those with landmarks.

    The other cases with landmarks are trained on (Sec. 3: the other eight COPD cases); ``extra`` adds those without.

    Raises:
        DataError: no landmarks in the data, a fold that does not exist, or nothing left to train on.
    """
    marked = [case for case in cases if case.landmarks is not None]
    if not marked:
        raise DataError("fold: folds need cases with landmarks, found none in this data; leave the fold out")
    folds = math.ceil(len(marked) / 2)
    if not 1 <= fold <= folds:
        raise DataError(f"fold: must be 1 to {folds} ({len(marked)} cases with landmarks, two a fold), found {fold}")
    test = marked[2 * fold - 2 : 2 * fold]
    tested = {case.id for case in test}
    train = [case for case in cases if case.id not in tested and (extra or case.landmarks is not None)]
    if not train:
        raise DataError(f"fold: no pair is left to train on besides the {len(test)} tested; add pairs or leave it out")
    return train, test
