"""Which scans a folder holds, and the label maps and masks that belong to them: names only, no file is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cst_core.errors import DataError
from cst_image.description import Description, find_description
from cst_image.scan import EXTENSIONS

_CHANNEL = "_0000"
_LABELS, _MASKS = ("_seg", "_label", "_labels"), ("_mask",)


class ScanFiles(NamedTuple):
    """One scan and what comes with it."""

    image: Path
    labels: Path | None = None
    mask: Path | None = None
    """Where the scan has data: the field of view, or the body."""
    held_out: bool = False
    """From ``imagesTs``: not to be trained on."""


class Folder(NamedTuple):
    """A data set of scans."""

    path: Path
    scans: Mapping[str, ScanFiles]
    """By id, in natural order."""
    description: Description | None

    def id_of(self, name: str) -> str | None:
        """The id of the scan with a file name, as a description gives it; None if it is not there."""
        stem = _stem(Path(name))
        return next((id for id in (stem, stem.removesuffix(_CHANNEL)) if id in self.scans), None)


class _Place(NamedTuple):
    """A folder of images and what may belong to them: files by the names that their images may have."""

    images: list[Path]
    labels: dict[str, list[Path]]
    masks: dict[str, list[Path]]
    held_out: bool


def read_folder(path: str | Path) -> Folder:
    """Find scans by one of two conventions; ``.nii`` and ``.nii.gz`` alike.

    1. Learn2Reg: ``imagesTr/``, and optionally ``labelsTr/``, ``masksTr/``, ``imagesTs/``, ``labelsTs/``, ``masksTs/``
       and a ``*_dataset.json``. A label map or mask is named as its image.
    2. Anything else: scans in the folder itself or in ``images/``. Label maps and masks in ``labels/`` and ``masks/``,
       named as their images; or beside these as ``<id>_seg``, ``<id>_label`` (or ``_labels``) and ``<id>_mask``.

    The id of a scan is its file name without extension; without ``_0000`` as well (a first channel) if all have it.

    Raises:
        DataError: no folder, no scan or only one, two files of one id, or a label map or mask without a scan.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: must be 'phantom' or a folder, found none; check the path")
    images = [(image, place) for place in _places(folder) for image in place.images]
    if not images:
        kinds = sorted({file.suffix or file.name for file in folder.iterdir() if file.is_file()})
        found = f"files of {', '.join(kinds[:5])}" if kinds else "no file"
        wanted = "NIfTI scans (.nii, .nii.gz), in the folder itself, in images/ or in imagesTr/"
        raise DataError(f"{folder}: must hold {wanted}, found {found}; check the path, or convert the scans")
    drop = all(_stem(image).endswith(_CHANNEL) for image, _ in images)
    scans = dict[str, ScanFiles]()
    for image, place in images:
        id = _stem(image).removesuffix(_CHANNEL) if drop else _stem(image)
        if id in scans:
            raise DataError(f"{image}: one file a scan, found also {scans[id].image} with the id {id}; remove one")
        scans[id] = ScanFiles(image, _take(image, place.labels), _take(image, place.masks), place.held_out)
    for _, place in images:
        for file in (file for files in (place.labels, place.masks) for found in files.values() for file in found):
            raise DataError(f"{file}: must be named as a scan that it belongs to, found none; rename or remove it")
    if len(scans) == 1:
        raise DataError(f"{folder}: needs two scans or more to make a pair, found only {images[0][0].name}; add others")
    ordered = {id: scans[id] for id in sorted(scans, key=natural)}
    return Folder(folder, ordered, find_description(folder))


def natural(id: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts ``2`` before ``10``; the id itself separates ``1`` from ``01``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", id)
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], id


def _places(folder: Path) -> list[_Place]:
    parts = [part for part in ("Tr", "Ts") if (folder / f"images{part}").is_dir()]
    if parts:
        return [
            _place(folder / f"images{part}", folder / f"labels{part}", folder / f"masks{part}", part) for part in parts
        ]
    images = folder / "images" if (folder / "images").is_dir() else folder
    return [_place(images, folder / "labels", folder / "masks")]


def _place(images: Path, labels: Path, masks: Path, part: str = "") -> _Place:
    files = _nifti(images)
    beside = [file for file in files if _stem(file).endswith((*_LABELS, *_MASKS))]
    return _Place(
        [file for file in files if file not in beside],
        _by_image([*_nifti(labels), *(file for file in beside if _stem(file).endswith(_LABELS))], _LABELS),
        _by_image([*_nifti(masks), *(file for file in beside if _stem(file).endswith(_MASKS))], _MASKS),
        part == "Ts",
    )


def _nifti(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # a dot begins what macOS writes beside a file
    return sorted(file for file in folder.iterdir() if file.name.endswith(EXTENSIONS) and file.name[0] != ".")


def _by_image(files: list[Path], endings: tuple[str, ...]) -> dict[str, list[Path]]:
    found = dict[str, list[Path]]()
    for file in files:
        stem = _stem(file)
        ending = next((end for end in endings if stem.endswith(end)), "")
        found.setdefault(stem.removesuffix(ending), []).append(file)
    return found


def _take(image: Path, files: dict[str, list[Path]]) -> Path | None:
    """The one file of an image, which is no longer among ``files`` then."""
    stem = _stem(image)
    found = [file for name in dict.fromkeys((stem, stem.removesuffix(_CHANNEL))) for file in files.pop(name, [])]
    if len(found) > 1:
        raise DataError(f"{found[1]}: one such file a scan, found also {found[0]}; remove one")
    return found[0] if found else None


def _stem(file: Path) -> str:
    return next((file.name.removesuffix(end) for end in EXTENSIONS if file.name.endswith(end)), file.name)
