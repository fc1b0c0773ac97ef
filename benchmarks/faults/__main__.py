"""Every fault as the user sees it: provoked for real, with what `cst` says of it and what the remedy does.

    python -m benchmarks.faults [--only NAME ...] [--json benchmarks/results/faults.json]

Each fault has a folder of its own, in which `cst` runs in a process of its own, called by the names that a user would
type. Full and read-only disks are small file systems in memory, in a mount namespace that ends with this process
(`unshare`); where this machine has none, or no GPU, the record says ``not_tried`` and why. Exit status 1 if a message,
an exit code or a remedy is not as documented, or anything half-written is left.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.commands import COMMANDS
from benchmarks.faults.disks import OWN_MOUNTS
from benchmarks.faults.inputs import INPUTS
from benchmarks.faults.machine import MACHINE
from benchmarks.faults.record import recorded, shown
from benchmarks.faults.scene import Workshop
from benchmarks.faults.strangers import STRANGERS
from benchmarks.faults.training import TRAINING
from benchmarks.record import circumstances, write

GROUPS = {
    "machine": MACHINE,
    "training": TRAINING,
    "input": INPUTS,
    "command": COMMANDS,
    "stranger": STRANGERS,
}


def main() -> None:
    """Provoke, print, write JSON if asked."""
    names = [fault.name for group in GROUPS.values() for fault in group]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names, help=", ".join(names))
    parser.add_argument("--json", type=Path, help="faults that were not asked for stay as they are in this file")
    options = parser.parse_args()
    enter_own_mounts()
    # where it is ignored, as in what a script starts in the background, those that are started here ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        for group, faults in GROUPS.items():
            for fault in faults:
                if fault.name in options.only:
                    rows.append({"group": group, **recorded(fault, workshop)})
                    print(shown(rows[-1]), flush=True)
                    keep(rows, names, options.json)
    tried = [row for row in rows if "not_tried" not in row]
    wrong = [row["name"] for row in tried if not row["documented"]]
    untried = f", {len(rows) - len(tried)} not tried" if len(tried) < len(rows) else ""
    print(f"{len(tried) - len(wrong)} of {len(tried)} as documented{untried}" + "".join(f"; not: {n}" for n in wrong))
    sys.exit(1 if wrong else 0)


def keep(rows: Sequence[dict[str, Any]], names: Sequence[str], path: Path | None) -> None:
    """Put rows into a file in the place of those of the same names, if there is to be a file."""
    if path is None:
        return
    before = json.loads(path.read_text())["faults"] if path.exists() else []
    found = {row["name"]: row for row in (*before, *rows)}
    write({"faults": [found[name] for name in names if name in found], "circumstances": circumstances(1)}, path)


def enter_own_mounts() -> None:
    """Start again where mounts are this process's own, if the machine allows it."""
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if OWN_MOUNTS in os.environ or shutil.which("unshare") is None:
        return
    probe = [*command, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return
    os.environ[OWN_MOUNTS] = "yes"
    os.execvp(command[0], [*command, sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]])


if __name__ == "__main__":
    main()
