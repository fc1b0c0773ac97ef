"""Whether dist/ holds what users need: .ci/check_dist.py DIST VENV, where VENV has the wheel and what it needs alone.

Compares the wheel with the sources and with a wheel that is built without the sdist, then calls it as a user would,
from a folder outside the sources: version, info, import, a training on the phantom, two registrations with shipped
weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FEW = "--fold 1 --set stages=1 --set iterations=2 --set first_towers=1 --set candidates=32 --set rounds=2"
TRAIN = f"cst train --backend points --preset quick {FEW} --out run"
POINTS = "cst register fixed.csv moving.csv --backend points --model lung --out clouds"
IMAGES = "cst register fixed.nii.gz moving.nii.gz --backend image --model hippocampus --out scans"
PACKAGES = ("cst_core", "cst_image", "cst_points")
INPUTS = """
import nibabel, numpy as np
from scipy.ndimage import gaussian_filter, shift
from cst_points.formats import write_cloud
from cst_points.phantom import lung_phantom
pair = lung_phantom(1)[0].pair
write_cloud("fixed.csv", pair.fixed)
write_cloud("moving.csv", pair.moving)
scan = 400 + 300 * gaussian_filter(np.random.default_rng(0).normal(size=(36, 48, 40)), 3) / 0.03
for name, values in (("fixed", scan), ("moving", shift(scan, (1.5, -1.0, 0.5), order=1, mode="nearest"))):
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), f"{name}.nii.gz")
"""
COMMANDS = (
    ("cst", "--version"),
    ("cst", "info"),
    ("python", "-c", "import cst_points, cst_image; print(cst_points.__file__)"),
    ("python", "-c", INPUTS),
    *(tuple(words.split()) for words in (TRAIN, POINTS, IMAGES)),
)
MADE = ("run/stage-01.safetensors", "run/report.html", "clouds/displacement.csv", "scans/displacement.nii.gz")


def main() -> None:
    """Print what is right; exit with what is wrong."""
    dist, venv = (Path(argument).resolve() for argument in sys.argv[1:3])
    wheels, archives = sorted(dist.glob("cst-*.whl")), sorted(dist.glob("cst-*.tar.gz"))
    if len(wheels) != 1 or len(archives) != 1:
        sys.exit(f"{dist}: must hold one wheel and one sdist, found {[file.name for file in dist.iterdir()]}")
    contents(wheels[0])
    with tempfile.TemporaryDirectory() as folder:
        same(wheels[0], Path(folder))
        use(venv, Path(folder))
    print(f"{wheels[0].name}, {archives[0].name}: good")


def contents(wheel: Path) -> None:
    """Everything of the packages that git knows, their metadata, and no other file."""
    told = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)
    wanted = set(told.stdout.splitlines())
    members = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if members != wanted:
        sys.exit(f"{wheel.name}: lacks {sorted(wanted - members)}, has besides {sorted(members - wanted)}")
    print(f"{wheel.name}: {len(members)} files, those of the sources; {wheel.stat().st_size / 1e6:.1f} MB")


def same(wheel: Path, folder: Path) -> None:
    """``python -m build`` makes the wheel from the sdist; one that is made from the sources holds the same bytes."""
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    wheels = (wheel, *folder.glob("*.whl"))
    one, other = ({part.filename: part.CRC for part in zipfile.ZipFile(file).infolist()} for file in wheels)
    if one != other:
        sys.exit(f"{wheel.name}: not what the sources build: {sorted(set(one.items()) ^ set(other.items()))}")
    print(f"{wheel.name}: made from the sdist, the same as from the sources")


def use(venv: Path, folder: Path) -> None:
    """Call what was installed, with no path that leads back to the sources."""
    kept = ("HOME", "LANG", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"PATH": f"{venv / 'bin'}:/usr/bin:/bin"}
    for command in COMMANDS:
        began = time.monotonic()
        program = [str(venv / "bin" / command[0]), *command[1:]]
        done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        shown = "make inputs" if INPUTS in command else " ".join(command)
        if done.returncode or f"{ROOT}/" in done.stdout:
            sys.exit(f"{shown}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        last = (done.stdout.strip().splitlines() or [""])[-1]
        print(f"{shown}: {time.monotonic() - began:.0f} s: {last[-100:]}")
    if missing := [name for name in MADE if not (folder / name).exists()]:
        sys.exit(f"not written: {missing}")


if __name__ == "__main__":
    main()
