from itertools import combinations
from pathlib import Path

import pytest

from cst_core.errors import DataError
from cst_image.config import ImageConfig
from cst_image.description import Description
from cst_image.folder import Folder, ScanFiles
from cst_image.split import AMONG_NOTE, fold_scans, split_pairs

CONFIG = ImageConfig()


def folder(ids, test=(), pairs=(), paired=(), name="", labelled=True) -> Folder:
    """Scans of training and test folders, and a description if it has anything to say."""
    scans = {
        id: ScanFiles(Path(f"{id}.nii.gz"), Path("labels.nii") if labelled else None, held_out=id in test)
        for id in [*ids, *test]
    }
    files = [tuple(tuple(f"{id}.nii.gz" for id in pair) for pair in part) for part in (pairs, paired)]
    said = Description(Path("x_dataset.json"), name, test_pairs=files[0], train_pairs=files[1])
    return Folder(Path("x"), scans, said if pairs or paired or name else None)


def abdomen(*numbers) -> list[str]:
    return [f"AbdomenCTCT_{number:04d}" for number in numbers]


def scans_of(pairs) -> set[str]:
    return {id for pair in pairs for id in pair}


def test_the_paper_s_split():
    for name in ("", "AbdomenCTCT"):
        split = split_pairs(folder(abdomen(*range(1, 31)), name=name), None, CONFIG)
        assert len(split.train) == 190
        assert len(split.test) == 45
        assert scans_of(split.test) == set(abdomen(*range(1, 31, 3)))
        assert not scans_of(split.test) & scans_of(split.train)
        assert split.test[0] == tuple(abdomen(1, 4))
    renamed = folder([f"scan{i}" for i in range(1, 31)], name="AbdomenCTCT")
    assert len(split_pairs(renamed, None, CONFIG).test) == 45


def test_the_paper_s_training_scans_alone_keep_all_pairs():
    ids = [i for i in range(1, 31) if i % 3 != 1]
    validation = list(combinations(abdomen(2, 3, 5), 2))
    split = split_pairs(folder(abdomen(*ids), pairs=validation), None, CONFIG)
    assert len(split.train) == 190
    assert split.test == validation
    assert any(AMONG_NOTE in note for note in split.notes)


def test_listed_pairs_are_tested_and_their_scans_not_trained_on():
    split = split_pairs(folder("abcdef", test="xy", pairs=[("e", "a"), ("x", "y")]), None, CONFIG)
    assert split.test == [("e", "a"), ("x", "y")]
    assert split.train == list(combinations("bcdf", 2))
    assert split.notes == ()


def test_listed_pairs_without_their_scans_are_left_out():
    split = split_pairs(folder("abcde", pairs=[("a", "b"), ("c", "y")]), None, CONFIG)
    assert split.test == [("a", "b")]
    assert split.train == [("d", "e")]  # c belongs to a test pair, although that cannot be tested
    assert any(note.startswith("1 of the test pairs in x_dataset.json") for note in split.notes)
    none = split_pairs(folder("abcd", pairs=[("x", "y")]), None, CONFIG)
    assert none.test == [("a", "b"), ("b", "c"), ("c", "d")]
    assert len(none.train) == 6


def test_listed_training_pairs_are_all_there_is():
    split = split_pairs(folder("abcdef", pairs=[("a", "b")], paired=[("c", "d"), ("e", "f"), ("a", "c")]), None, CONFIG)
    assert split.train == [("c", "d"), ("e", "f")]


def test_scans_of_the_test_folder():
    split = split_pairs(folder("abc", test="xyz"), None, CONFIG)
    assert split.train == list(combinations("abc", 2))
    assert split.test == list(combinations("xyz", 2))
    few = split_pairs(folder("abc", test="uvwxyz"), None, ImageConfig(max_test_pairs=5))
    assert len(set(few.test)) == 5
    assert scans_of(few.test) <= set("uvwxyz")


def test_all_pairs_without_a_split():
    split = split_pairs(folder("abcd"), None, CONFIG)
    assert split.train == list(combinations("abcd", 2))
    assert split.test == [("a", "b"), ("b", "c"), ("c", "d")]
    assert split.notes == (f"no fold: {AMONG_NOTE}",)
    unlabelled = split_pairs(folder("abcd", labelled=False), None, CONFIG)
    assert len(unlabelled.train) == 6
    assert unlabelled.test == []
    assert unlabelled.notes == ()


def test_folds_share_no_scan_and_cover_all():
    ids = [f"s{i:03d}" for i in range(23)]
    tested = []
    for fold in range(1, 6):
        split = split_pairs(folder(ids), fold, CONFIG)
        assert not scans_of(split.test) & scans_of(split.train)
        tested += sorted(scans_of(split.test))
        assert len(split.test) == len(scans_of(split.test)) - 1
        assert split.notes == ()
    assert sorted(tested) == ids
    assert fold_scans(ids, 2)[:3] == ["s001", "s006", "s011"]
    assert split_pairs(folder(ids), 2, CONFIG).test[:2] == [("s001", "s006"), ("s006", "s011")]


def test_folds_that_cannot_be():
    ids = [str(i) for i in range(10)]
    for fold in (0, -1, 6):
        with pytest.raises(DataError, match=f"1 to 5.*found {fold}"):
            split_pairs(folder(ids), fold, CONFIG)
    with pytest.raises(DataError, match="10 scans or more, found 9"):
        split_pairs(folder(ids[1:]), 1, CONFIG)
    for own in (folder(ids, pairs=[("1", "2")]), folder(abdomen(*range(1, 31)))):
        with pytest.raises(DataError, match="test pairs of its own"):
            split_pairs(own, 1, CONFIG)


def test_many_training_pairs_are_drawn_once_and_for_all():
    ids = [f"s{i:02d}" for i in range(50)]
    split = split_pairs(folder(ids), None, ImageConfig(max_train_pairs=100, max_test_pairs=7))
    assert len(set(split.train)) == 100
    assert list(split.train) == sorted(split.train)
    assert len(scans_of(split.train)) > 45
    assert len(split.test) == 7
    assert any(note.startswith("100 of 1225 training pairs") for note in split.train_notes)
    assert split_pairs(folder(ids), None, ImageConfig(max_train_pairs=100)).train == split.train
    assert len(split_pairs(folder(ids), None, ImageConfig(max_train_pairs=None)).train) == 1225


def test_what_others_prescribe_is_not_cut():
    config = ImageConfig(max_test_pairs=2)
    assert len(split_pairs(folder(abdomen(*range(1, 31))), None, config).test) == 45
    assert len(split_pairs(folder("abcdef", pairs=[("a", "b"), ("b", "c"), ("a", "c")]), None, config).test) == 3
