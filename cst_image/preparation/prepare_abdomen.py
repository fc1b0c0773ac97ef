"""A folder of raw CTs to a data set on one grid: which files, which template, what is done already."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cst_core.errors import ConfigError, CstError, DataError
from cst_core.field import Grid
from cst_core.files import write_atomically
from cst_core.formats.nifti import placed, save_nifti
from cst_image.folder import natural
from cst_image.preparation.canonical import Source, canonical_grid, is_complete, prepare_scan, read_thumbnail
from cst_image.preparation.groupwise import template as template_of
from cst_image.preparation.thumbnail import SPACING, Thumbnail
from cst_image.scan import EXTENSIONS, inspect

TEMPLATE, SETTINGS = "template.nii.gz", "prepare.json"
_CHANNEL = "_0000"


@dataclass(frozen=True)
class Wanted:
    """The command line of ``cst prepare abdomen``."""

    shape: tuple[int, int, int]
    spacing: float
    template: Path | None
    labels: Path | None

    @property
    def settings(self) -> dict[str, Any]:
        """What may not change within one data set."""
        template = None if self.template is None else _sha256(self.template)
        return {"shape": list(self.shape), "spacing": self.spacing, "template_sha256": template}


def prepare(
    scans: Sequence[Path], out: Path, wanted: Wanted, overwrite: bool, told: Callable[[str], None]
) -> list[str]:
    """Prepare all scans, keep those that are done; ``told`` hears a line about each. Returns the ids that are there.

    Raises:
        ConfigError: ``out`` was made with other settings.
        DataError: no scan, or a template that cannot be used.
        CstError: scans failed; all others are done.
    """
    sources = find_sources(scans, wanted.labels)
    if wanted.template is not None and not wanted.template.is_file():
        raise DataError(f"{wanted.template}: no such file (given as --template); check the path")
    _settle(out, wanted, overwrite)
    failed = dict[str, str]()
    template, grid, digest = _template(sources, out, wanted, failed, told)
    done = []
    for number, source in enumerate(sources, start=1):
        if source.id in failed:
            continue
        begun = time.perf_counter()
        try:
            known = {"sha256": _sha256(source.image), "labels_sha256": source.labels and _sha256(source.labels)}
            known |= {"template_sha256": digest, "shape": list(grid.shape), "spacing": wanted.spacing}
            kept = is_complete(out, source.id, known)
            if not kept:
                prepare_scan(source, template, grid, out, known)
        except (DataError, OSError) as error:
            failed[source.id] = str(error)
            told(f"{number}/{len(sources)} {source.id}: failed: {error}")
            continue
        done.append(source.id)
        told(f"{number}/{len(sources)} {source.id}: {'kept' if kept else f'{time.perf_counter() - begun:.1f} s'}")
    told(f"{out}: {len(done)} of {len(sources)} scans on {_times(wanted.shape)} voxels of {wanted.spacing:g} mm")
    if failed:
        raise CstError(
            f"{len(failed)} of {len(sources)} scans failed ({', '.join(failed)}), the others are done; correct them or "
            "leave them out, and run again"
        )
    return done


def find_sources(scans: Sequence[Path], labels: Path | None) -> list[Source]:
    """The files that paths mean, with label maps of the same name; ids are file names without extension and _0000.

    Raises:
        DataError: nothing there, two scans of one id, or no label map for any scan.
    """
    images = [image for path in scans for image in (_volumes(path) if path.is_dir() else [path])]
    if not images:
        raise DataError(f"{', '.join(map(str, scans))}: must hold NIfTI scans (.nii, .nii.gz), found none")
    if labels is not None and not labels.is_dir():
        raise DataError(f"{labels}: must be a folder (given as --labels), found none; check the path")
    maps = {_id(path): path for path in _volumes(labels)} if labels is not None else {}
    sources = dict[str, Source]()
    for image in images:
        if other := sources.get(_id(image)):
            raise DataError(f"{image}: one file an id, found also {other.image}; rename one")
        sources[_id(image)] = Source(_id(image), image, maps.get(_id(image)))
    if labels is not None and not any(source.labels for source in sources.values()):
        raise DataError(f"{labels}: must hold label maps named as the scans, found none; rename them")
    return [sources[id] for id in sorted(sources, key=natural)]


def _template(
    sources: Sequence[Source], out: Path, wanted: Wanted, failed: dict[str, str], told: Callable[[str], None]
) -> tuple[Thumbnail, Grid, str]:
    """The template, the canonical grid in its world, and its hash; made of the scans if there is none yet."""
    path = wanted.template or out / TEMPLATE
    if not path.is_file():
        smalls = dict[str, Thumbnail]()
        for source in sources:
            try:
                smalls[source.id] = read_thumbnail(source.image)
            except (DataError, OSError) as error:
                failed[source.id] = str(error)
                told(f"{source.id}: failed: {error}")
        size = [-(-n * wanted.spacing // SPACING) for n in wanted.shape]
        small = canonical_grid((int(size[0]), int(size[1]), int(size[2])), SPACING, torch.zeros(3).double())
        made = template_of(smalls, small)
        save_nifti(path, placed(made.values.numpy(), small))
        told(f"{path}: the mean of the scans; {made.central} was the most central")
    header = inspect(path)
    centre = header.grid.points_to_world(header.grid.centre[None])[0]
    return read_thumbnail(path), canonical_grid(wanted.shape, wanted.spacing, centre), _sha256(path)


def _settle(out: Path, wanted: Wanted, overwrite: bool) -> None:
    """Note the settings in the folder, or see that they are the same as before."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: must be a folder, found a file; name another")
    path, settings = out / SETTINGS, wanted.settings
    if path.is_file() and not overwrite:
        try:
            before = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            before = None
        if before != settings:
            raise ConfigError(
                f"--out {out}: was made with {json.dumps(before)}, now {json.dumps(settings)} is asked for; "
                "name another folder, or pass --overwrite"
            )
    elif out.is_dir() and any(out.iterdir()) and not path.is_file():
        raise ConfigError(f"--out {out}: holds other files; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    if overwrite:
        (out / TEMPLATE).unlink(missing_ok=True)
    write_atomically(path, (json.dumps(settings) + "\n").encode())


def _volumes(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name.endswith(EXTENSIONS) and file.name[0] != ".")


def _id(path: Path) -> str:
    stem = next((path.name.removesuffix(end) for end in EXTENSIONS if path.name.endswith(end)), path.name)
    return stem.removesuffix(_CHANNEL)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
