"""``cst convert``: a transform into the files of other software."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cst_core.cli_apply import check_output
from cst_core.formats.nifti import forms_notes, read_grid
from cst_core.transforms_io import input_files, output_files, read_transform, write_transform


@dataclass(frozen=True)
class ConvertOptions:
    """The command line of ``cst convert``; None is an option that was not given."""

    transform: Path
    format: str
    out: Path
    like: Path | None
    moving: Path | None
    overwrite: bool


def convert(options: ConvertOptions, console: Console) -> None:
    """Read one format, write another, and say which files were made.

    Raises:
        CstError: a file that cannot be used, a format that needs other options, or an output that must not be replaced.
    """
    inputs = [*input_files(options.transform), options.like, options.moving]
    for out in output_files(options.out, options.format):
        check_output(out, inputs, options.overwrite)
    fixed = None if options.like is None else read_grid(options.like)
    moving = None if options.moving is None else read_grid(options.moving)
    for note in forms_notes(options.like, options.moving):
        console.print(f"warning: {note}", markup=False, highlight=False, soft_wrap=True)
    transform = read_transform(options.transform, fixed, moving)
    for path in write_transform(transform, options.out, options.format, fixed, moving):
        console.print(f"{path}: written", markup=False, highlight=False, soft_wrap=True)
