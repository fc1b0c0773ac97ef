"""Which pairs of scans are trained on and which are tested."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from cst_core.errors import DataError
from cst_image.config import ImageConfig
from cst_image.folder import Folder

Ids = tuple[str, str]
"""Of the fixed and the moving scan."""

PAPER = "AbdomenCTCT"
PAPER_TEST = frozenset(range(1, 31, 3))
"""Scans 1, 4, ..., 28: the 45 test pairs of the paper (Sec. 3); the other 20 scans make its 190 training pairs."""
FOLDS = 5
AMONG_NOTE = "the test pairs are among the training pairs (their labels are not used in training)"


class Split(NamedTuple):
    """Pairs, in order, and how they were chosen."""

    train: Sequence[Ids]
    test: Sequence[Ids]
    notes: tuple[str, ...]
    train_notes: tuple[str, ...] = ()
    """What is to be said of the training pairs alone."""


def split_pairs(folder: Folder, fold: int | None, config: ImageConfig) -> Split:
    """The pairs of a folder; the first rule that applies:

    1. With a fold k of 5, from 1: every fifth scan from the k-th on is a test scan; pairs of neighbours among these are
       tested, and all pairs of the other scans trained on.
    2. AbdomenCTCT, with any of the paper's test scans: its split.
    3. Pairs listed in ``*_dataset.json`` are tested, as far as their scans are there, and their scans not trained on.
       AbdomenCTCT without the paper's test scans is an exception: there the listed pairs (of the three scans on which
       the paper tunes) are trained on as well.
    4. Scans in ``imagesTs`` with labels: all pairs of them are tested.
    5. Else all pairs are trained on, and pairs of neighbours among the scans with labels are the test.

    Training pairs are all pairs of the scans in question, or those listed as ``training_paired_images``; of more than
    ``config.max_train_pairs`` a random choice that is always the same. ``config.max_test_pairs`` bounds the test in the
    rules 1, 4 and 5, not what the paper or the data set prescribes.

    Raises:
        DataError: a fold that does not exist, or a fold of data with test pairs of its own.
    """
    ids = [id for id, files in folder.scans.items() if not files.held_out]
    listed, notes = _listed(folder)
    numbers = _paper_numbers(folder)
    paper_test = [id for id, number in numbers.items() if number in PAPER_TEST]
    if fold is not None:
        if listed or paper_test:
            raise DataError(f"fold: {folder.path} comes with test pairs of its own; leave the fold out")
        test_ids = fold_scans(ids, fold)
        test, notes = _at_most(list(pairwise(test_ids)), config.max_test_pairs), []
    elif paper_test:
        test_ids, test = paper_test, list(combinations(paper_test, 2))
        notes = [f"the paper's split of {PAPER}: {len(test_ids)} test scans"]
    elif listed and numbers:
        test_ids, test = [], listed
        notes.append(f"none of the paper's test scans of {PAPER} is here; {AMONG_NOTE}")
    elif listed:
        test_ids, test = _mentioned(folder), listed
    elif test_ids := [id for id, files in folder.scans.items() if files.held_out and files.labels]:
        test = _at_most(list(combinations(test_ids, 2)), config.max_test_pairs)
    else:
        labelled = [id for id in ids if folder.scans[id].labels]
        test = _at_most(list(pairwise(labelled)), config.max_test_pairs)
        notes += [f"no fold: {AMONG_NOTE}"] if test else []
    train, more = _train_pairs(folder, [id for id in ids if id not in set(test_ids)], config)
    return Split(train, test, tuple(notes), tuple(more))


def fold_scans(ids: Sequence[str], fold: int) -> list[str]:
    """The test scans of fold k of 5: every fifth from the k-th on.

    Raises:
        DataError: no such fold, or fewer than the ten scans of which every fold has two.
    """
    if not 1 <= fold <= FOLDS:
        raise DataError(f"fold: must be 1 to {FOLDS}, found {fold}")
    if len(ids) < 2 * FOLDS:
        raise DataError(f"fold: {FOLDS} folds need {2 * FOLDS} scans or more, found {len(ids)}; leave the fold out")
    return list(ids[fold - 1 :: FOLDS])


def _paper_numbers(folder: Folder) -> dict[str, int]:
    """The numbers of AbdomenCTCT's scans, by id; none if the folder is something else."""
    named = folder.description is not None and folder.description.name == PAPER
    numbers = {id: re.search(r"(\d+)$", id) for id in folder.scans}
    if not named and not all(id.startswith(PAPER) for id in folder.scans):
        return {}
    return {id: int(match[1]) for id, match in numbers.items() if match}


def _listed(folder: Folder) -> tuple[list[Ids], list[str]]:
    """The test pairs of the description whose scans are there."""
    if folder.description is None or not folder.description.test_pairs:
        return [], []
    pairs = _known(folder, folder.description.test_pairs)
    missing = len(folder.description.test_pairs) - len(pairs)
    path = folder.description.path.name
    note = f"{missing} of the test pairs in {path} are left out: not all their scans are here"
    return pairs, [note] if missing else []


def _mentioned(folder: Folder) -> list[str]:
    """The scans of all listed test pairs, of those as well whose other scan is missing."""
    names = [name for pair in folder.description.test_pairs for name in pair] if folder.description else []
    return [id for id in map(folder.id_of, dict.fromkeys(names)) if id is not None]


def _known(folder: Folder, names: Iterable[tuple[str, str]]) -> list[Ids]:
    ids = [(folder.id_of(fixed), folder.id_of(moving)) for fixed, moving in names]
    return [(fixed, moving) for fixed, moving in ids if fixed is not None and moving is not None]


def _train_pairs(folder: Folder, ids: Sequence[str], config: ImageConfig) -> tuple[list[Ids], list[str]]:
    paired = folder.description.train_pairs if folder.description else ()
    allowed = set(ids)
    pairs = [pair for pair in _known(folder, paired) if allowed.issuperset(pair)] if paired else None
    pairs = list(combinations(ids, 2)) if pairs is None else pairs
    most = config.max_train_pairs
    if most is None or len(pairs) <= most:
        return pairs, []
    chosen = sorted(random.Random(0).sample(range(len(pairs)), most))
    note = f"{most} of {len(pairs)} training pairs, chosen once and for all (--set max_train_pairs= for more)"
    return [pairs[i] for i in chosen], [note]


def _at_most(pairs: list[Ids], most: int) -> list[Ids]:
    """``most`` of them, spread evenly."""
    if len(pairs) <= most:
        return pairs
    return [pairs[i * len(pairs) // most] for i in range(most)]
