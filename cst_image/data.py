"""Where pairs of volumes come from: a folder of NIfTI scans, or the built-in phantom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.lazy import LazyCases
from cst_core.plugin import Dataset
from cst_image.config import ImageConfig
from cst_image.description import Description
from cst_image.folder import read_folder
from cst_image.pair import ImagePair
from cst_image.placement import describe
from cst_image.scan import Header
from cst_image.source import ArraySource, FileSource
from cst_image.split import Ids, split_pairs
from cst_image.store import Store
from cst_image.working_grid import check_overlap, working_grids

PHANTOM_TRAIN, PHANTOM_SUBJECTS = 8, 12
"""28 pairs of the first eight subjects are trained on, 6 pairs of the last four tested."""
PHANTOM_SPACING = 4.0
"""mm, where the configuration says none."""
_RAS = "RAS"


def read_dataset(source: str | Path, fold: int | None, config: ImageConfig, device: str) -> Dataset[ImagePair]:
    """``phantom``, or a folder as `cst_image.folder.read_folder` and `cst_image.split.split_pairs` have it.

    ``train`` and ``test`` are sequences of `cst_image.case.ImageCase` that are made when asked for, and
    `cst_core.lazy.pairs_of` gives their pairs without reading a label map. Every header is checked here; the voxels as
    well where all volumes fit into ``config.memory_gb``, else when they are first needed.

    Raises:
        DataError: no such folder, files that cannot be used or do not go together, or a fold that does not exist.
    """
    if str(source) == "phantom":
        return _phantom(fold, config, device)
    folder = read_folder(source)
    if folder.description is not None:
        _check_modality(folder.description, config)
    train, test, notes, train_notes = split_pairs(folder, fold, config)
    paired = {id for pair in (*train, *test) for id in pair}
    # all that could be trained on, so that neither grid nor fingerprint depends on the fold
    files = FileSource(folder, [id for id, scan in folder.scans.items() if id in paired or not scan.held_out])
    if config.alignment == "world":
        _check_placed(files.headers)
        check_overlap([*train, *test], files.grids)
    targets = working_grids(files.grids, config)
    store = Store(files, targets, config, device, folder.description.label_names if folder.description else None)
    unused = _unused(len(folder.scans) - len(files.grids))
    told = [*notes, *unused, *_turned(files.headers), *_moved(files.grids, targets, config)]
    return Dataset(
        source=str(source),
        fingerprint=files.fingerprint(),
        train=LazyCases(train, store.case, store.pair),
        test=LazyCases(test, store.case, store.pair),
        notes=(*told, *_read_all(store, files, targets, test, config)),
        train_notes=train_notes,
    )


def _phantom(fold: int | None, config: ImageConfig, device: str) -> Dataset[ImagePair]:
    from cst_image.phantom import abdomen_phantom

    if fold is not None:
        raise DataError(f"fold: the phantom has its own test subjects, found fold {fold}; leave the fold out")
    subjects = abdomen_phantom(PHANTOM_SUBJECTS, PHANTOM_SPACING if config.spacing is None else config.spacing, seed=0)
    arrays = ArraySource(subjects)
    ids = [subject.id for subject in subjects]
    targets = working_grids(arrays.grids, config)
    store = Store(arrays, targets, config, device)
    parts = (list(combinations(part, 2)) for part in (ids[:PHANTOM_TRAIN], ids[PHANTOM_TRAIN:]))
    train, test = (LazyCases(part, store.case, store.pair) for part in parts)
    notes = ("built-in abdomen phantom, not real data", *_moved(arrays.grids, targets, config))
    return Dataset("phantom", arrays.fingerprint(), train, test, notes)


def _read_all(
    store: Store, files: FileSource, targets: Mapping[str, Grid], test: Sequence[Ids], config: ImageConfig
) -> list[str]:
    """Read every volume, and the label maps of the test, if they fit into memory; what is to be said about them."""
    needed = sum(5 * math.prod(grid.shape) for grid in targets.values()) / 1e9  # float32 and a mask
    if needed > config.memory_gb:
        return [f"{needed:.1f} GB of volumes, more than memory_gb = {config.memory_gb:g}: files are read when needed"]
    for id in targets:
        store.volume(id)
    for id in dict.fromkeys(id for pair in test for id in pair if files.has_labels(id)):
        store.labels(id)
    if config.intensity == "ct" and store.darkest >= 0:
        return ["no scan has a value below 0, as CT in HU has: if this is MR, pass --set intensity=mr"]
    return []


def _check_modality(description: Description, config: ImageConfig) -> None:
    said = description.modalities
    if config.intensity == "ct" and said and all(name.upper().startswith("MR") for name in said):
        raise DataError(f"{description.path}: says {', '.join(said)}, not CT; pass --set intensity=mr")


def _check_placed(headers: Mapping[str, Header]) -> None:
    for header in headers.values():
        if not header.placed:
            raise DataError(
                f"{header.path}: must say where it lies (sform or qform), found neither; pass --set alignment=centre"
            )


def _unused(count: int) -> list[str]:
    return [f"{count} scans of imagesTs have neither labels nor listed pairs and are not used"] if count else []


def _turned(headers: Mapping[str, Header]) -> list[str]:
    found = Counter(header.axes for header in headers.values() if header.axes != _RAS)
    axes = ", ".join(f"{count} from {axes}" for axes, count in found.most_common())
    return [f"voxel axes turned to right, anterior, superior: {axes}"] if found else []


def _moved(scans: Mapping[str, Grid], targets: Mapping[str, Grid], config: ImageConfig) -> list[str]:
    changes = describe((grid, targets[id]) for id, grid in scans.items())
    if not changes:
        return []
    target = next(iter(targets.values()))
    shape, spacing = (" x ".join(f"{value:.4g}" for value in triple) for triple in (target.shape, target.spacing))
    how = "centre on centre" if config.alignment == "centre" else "where their headers say"
    return [f"{len(scans)} scans on a grid of {shape} voxels of {spacing} mm, {how}: {changes}"]
