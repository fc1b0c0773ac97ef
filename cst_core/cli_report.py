"""``cst report``: a run or a registration as one HTML file."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from cst_core.errors import ConfigError, DataError
from cst_core.manifest import MANIFEST
from cst_core.report.registration import write_registration_report
from cst_core.report.result_folder import RESULT
from cst_core.report.run import write_run_report

DEFAULT = "report.html"


def report(folder: Path, out: Path | None, console: Console) -> None:
    """Write the report of ``folder`` to ``out`` (default: ``report.html`` in it).

    Raises:
        ConfigError: ``out`` is a folder, or lies in one that does not exist.
        DataError: ``folder`` is neither a run nor a registration.
    """
    if folder.is_file() and folder.name in (MANIFEST, RESULT):
        folder = folder.parent
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give a run of cst train or a result of cst register")
    target = out or folder / DEFAULT
    if target.is_dir():
        raise ConfigError(f"--out {target}: is a folder; name a file, such as {target / DEFAULT}")
    if not target.parent.is_dir():
        raise ConfigError(f"--out {target}: the folder {target.parent} does not exist; make it first")
    if (folder / RESULT).exists():
        write_registration_report(folder, target)
    elif (folder / MANIFEST).exists():
        write_run_report(folder, target)
    else:
        raise DataError(
            f"{folder}: holds neither a run ({MANIFEST}) nor a registration ({RESULT}); "
            "give a folder that cst train or cst register has made"
        )
    console.print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)", markup=False, highlight=False, soft_wrap=True)
