"""Hippocampus: the forty pairs of consecutive subjects whose registration by Greedy is known to reach a Dice of .771.

    python -m benchmarks.consecutive --data HippocampusMR --out FOLDER

Makes a folder of links to the scans and their label maps, with a ``dataset.json`` that lists the pairs: of the subjects
from the 161st on, each with the next. The first 160 are left to train on; those behind the last pair are left out.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

TRAINING, PAIRS = 160, 40
FOLDERS = ("imagesTr", "labelsTr")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pairs = consecutive(options.data, options.out)
    print(f"{options.out}: {TRAINING} scans to train on, {len(pairs)} pairs {pairs[0]} to {pairs[-1]}")


def consecutive(data: Path, out: Path) -> list[tuple[str, str]]:
    """File names of the pairs, fixed and moving.

    Raises:
        ValueError: ``data`` has too few scans, or ``out`` holds files where links would go.
    """
    names = sorted(path.name for path in (data / FOLDERS[0]).glob("*.nii.gz"))[: TRAINING + PAIRS + 1]
    if len(names) <= TRAINING + PAIRS:
        raise ValueError(f"{data}: must hold more than {TRAINING + PAIRS} scans, found {len(names)}")
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            link = out / folder / name
            if link.is_symlink():
                link.unlink()
            elif link.exists():
                raise ValueError(f"{link}: is a file, not a link that could be replaced; choose another --out")
            link.symlink_to((data / folder / name).resolve())
    pairs = list(pairwise(names[TRAINING:]))
    listed = [dict(zip(("fixed", "moving"), pair, strict=True)) for pair in pairs]
    (out / "dataset.json").write_text(json.dumps({"name": data.name, "registration_val": listed}, indent=1) + "\n")
    return pairs


if __name__ == "__main__":
    main()
