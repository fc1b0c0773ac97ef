"""Every page's commands and Python, in order, in a folder of its own: they work, and other programs agree with them."""

from __future__ import annotations

import contextlib
import csv
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from page_blocks import DOCS, Block, blocks_of, commands_of, is_run, option, pages
from smaller import MORE, PHANTOM, TEXT
from tiny_inputs import few_subjects, make_inputs, thin_lungs

from cst_core.cli import main

Names = dict[str, Any]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages name; ``raw``, ``raw_labels`` and ``data`` as the tutorial's first two blocks make them.

    Preparing takes seconds, and `cst prepare` keeps what is done: the pages that prepare these scans find it done.
    """
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        make_smaller(patch)
        for block in blocks_of(smaller_text("tutorial.md"))[:2]:
            run(block, {})
    return folder


def make_smaller(patch: pytest.MonkeyPatch) -> None:
    """Phantoms with fewer subjects and points, no other default data; trainings end without their picture."""
    patch.delenv("CST_DATA", raising=False)
    patch.setattr("cst_image.phantom.abdomen_phantom", few_subjects)
    patch.setattr("cst_points.phantom.lung_phantom", thin_lungs)
    patch.setattr("cst_core.cli_train._picture", lambda *_, **__: None)
    for name, value in PHANTOM.items():
        patch.setattr(f"cst_image.data.{name}", value)


def check_landmarks(folder: Path, names: Names) -> None:
    """SimpleITK and `cst apply` send the page's point to the same place."""
    x, y, z = (float(word) for word in rows(folder / "found_in_moving.csv")[0][:3])
    assert names["in_moving"] == pytest.approx((-x, -y, z), abs=0.01)
    lps = [float(word) for word in rows(folder / "moved_lps.csv")[0][:3]]
    assert lps != pytest.approx([12.5, -30.0, 41.0])


def check_warped(folder: Path, names: Names) -> None:
    """ITK and ANTs make the same image as `cst apply`, away from the border, where each has its own way."""
    del names
    ours = np.asarray(nibabel.load(folder / "warped.nii.gz").dataobj)
    for name in ("warped_by_itk.nii.gz", *(["warped_by_ants.nii.gz"] if find_spec("ants") else [])):
        theirs = np.asarray(nibabel.load(folder / name).dataobj)
        inner = (slice(6, -6),) * 3
        assert np.abs(ours[inner] - theirs[inner]).mean() < 0.5  # HU


def check_way_back(folder: Path, names: Names) -> None:
    """What was brought onto the grid and back is the scan again, on its own voxels."""
    del names
    raw, back = (nibabel.load(folder / name) for name in ("raw/phantom_01.nii.gz", "back.nii.gz"))
    assert raw.shape == back.shape
    assert np.allclose(raw.affine, back.affine)
    inner = (slice(6, -6),) * 3
    one, other = (np.asarray(image.dataobj)[inner].ravel() for image in (raw, back))
    assert np.corrcoef(one, other)[0, 1] > 0.8


def check_cloud(folder: Path, names: Names) -> None:
    """The moved cloud is the fixed one plus its displacements."""
    del names
    table = np.array(rows(folder / "result/displacement.csv"), float)
    moved = np.array(rows(folder / "result/displaced.csv"), float)
    assert np.allclose(table[:, :3] + table[:, 3:6], moved, atol=1e-3)


CHECKS: Mapping[str, Callable[[Path, Names], None]] = {
    "how-to/landmarks.md": check_landmarks,
    "how-to/register.md": check_warped,
    "how-to/native.md": check_way_back,
    "how-to/lungs.md": check_cloud,
}


@pytest.mark.parametrize("page", pages())
def test_a_page_does_what_it_says(page: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    make_smaller(monkeypatch)
    blocks = blocks_of(smaller_text(page))
    for block in blocks:
        if block.language == "text" and block.title:
            (folder / block.title).write_text(block.text)
    names: Names = {}
    for block in filter(is_run, blocks):
        run(block, names)
    if page in CHECKS:
        CHECKS[page](folder, names)


@pytest.mark.parametrize("page", pages())
def test_titles_tell_what_is_not_run(page: str) -> None:
    """Without a title a shell block holds commands of cst alone; with one, none that the tests could run."""
    for block in blocks_of((DOCS / page).read_text()):
        if block.language == "sh" and block.title is None:
            assert {words[0] for words in commands_of(block)} == {"cst"}, block.text
        if block.language == "sh" and block.title and not block.title.startswith("needs"):
            assert not any(words[0] == "cst" for words in commands_of(block)), block.text


def run(block: Block, names: Names) -> None:
    """One block; what its Python names stays for the next one."""
    if block.language == "python":
        exec(compile(block.text, "a page", "exec"), names)
        return
    for words in commands_of(block):
        with pytest.raises(SystemExit) as end:
            main([*words[1:], *more(words)])
        assert end.value.code == 0, " ".join(words)


def more(words: list[str]) -> list[str]:
    """The settings that make one command small; a run that is resumed has its own."""
    if "--resume" in words and words[1] == "train":
        return []
    return list(MORE.get((words[1], option(words, "--backend")), ()))


def smaller_text(page: str) -> str:
    text = (DOCS / page).read_text()
    for before, after in TEXT.get(page, ()):
        assert before in text, f"{page}: {before!r} is no longer there; correct tests/docs/smaller.py"
        text = text.replace(before, after)
    return text


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))[1:]
