"""Damaged and hostile files into every reader, some each; `benchmarks/fuzz` does the same with very many."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz.mutations import HOSTILE
from benchmarks.fuzz.readers import SLOW, Reader, readers
from benchmarks.fuzz.worker import content
from cst_core.errors import CstError

READERS = readers()
QUICK = [reader for reader in READERS if not reader.file.endswith(SLOW)]
INPUTS = 40


def try_out(reader: Reader, data: bytes, folder: Path) -> None:
    """Read, or be refused in one line that names the file; leave nothing behind."""
    for name, beside in reader.beside.items():
        (folder / name).write_bytes(beside)
    path = folder / reader.file
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader.read(path)
        except CstError as error:
            said = str(error)
            assert len(said.splitlines()) == 1, said
            assert any(name in said for name in (reader.file, str(folder), "--set")), said
    assert {one.name for one in folder.iterdir()} == {reader.file, *reader.beside}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: f"{reader.name}-{reader.file}")
def test_valid_files_are_read(reader: Reader, tmp_path: Path):
    """Else nothing but the first few bytes of a reader would be tested below."""
    for seed in reader.seeds:
        for name, beside in reader.beside.items():
            (tmp_path / name).write_bytes(beside)
        (tmp_path / reader.file).write_bytes(seed)
        reader.read(tmp_path / reader.file)


@pytest.mark.parametrize("reader", QUICK, ids=lambda reader: f"{reader.name}-{reader.file}")
def test_damaged_files_raise_documented_errors_only(reader: Reader, tmp_path: Path):
    for index in range(len(HOSTILE) + INPUTS):
        try_out(reader, content(reader, 1, index), tmp_path)


@settings(max_examples=200, deadline=None)
@given(reader=st.sampled_from(QUICK), noise=st.binary(max_size=80), place=st.floats(0, 1), after=st.booleans())
def test_arbitrary_bytes_in_any_file(
    tmp_path_factory: pytest.TempPathFactory, reader: Reader, noise: bytes, place: float, after: bool
):
    seed = reader.seeds[0]
    at = int(place * len(seed))
    try_out(reader, seed[:at] + noise + (seed[at + len(noise) :] if after else b""), tmp_path_factory.mktemp("any"))
