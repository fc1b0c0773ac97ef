"""What a registration left: ``register.json``, the files beside it and the inputs that it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cst_core.errors import DataError, shortened

RESULT = "register.json"
FORMAT = "cst-registration-1"


@dataclass
class ResultFolder:
    """Files are found by name; what is missing is noted, once, and the report is made without it."""

    folder: Path
    values: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> ResultFolder:
        """Read ``register.json``.

        Raises:
            DataError: it is missing, damaged or of another format.
        """
        path = folder / RESULT
        if not path.exists():
            raise DataError(
                f"{folder}: is no registration (no {RESULT}); give a folder that cst register --out has made"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            kind = values["format"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}: is damaged ({type(error).__name__}); register again with --overwrite") from None
        if kind != FORMAT:
            raise DataError(
                f"{path}: has the format {shortened(repr(kind))}, this cst reads {FORMAT!r}; register again"
            )
        return cls(folder, values)

    def section(self, name: str) -> Mapping[str, Any]:
        """A part of ``register.json``; empty where it is missing or null."""
        value = self.values.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def uncertainty(self) -> str:
        """What the confidence map shows, in words."""
        measure = self.section("confidence").get("measure")
        return f"uncertainty ({measure})" if measure else "uncertainty"

    def output(self, name: str) -> Path | None:
        """A file beside ``register.json``, or None, which is noted if ``register.json`` says that there is one."""
        path = self.folder / name
        if path.exists():
            return path
        if name in self.section("files").values():
            self.notes.append(f"{name} is missing from the folder: shown without it.")
        return None

    def input(self, name: str) -> Path | None:
        """An input file, or None; a note says that it is gone or is not what was registered."""
        given = self.section("inputs").get(name)
        if not given:
            return None
        for path in (Path(given["path"]), self.folder / given["path"]):
            if path.is_file():
                if given.get("sha256") and _digest(path) != given["sha256"]:
                    self.notes.append(f"{path.name} ({name}) has changed since it was registered: not shown.")
                    return None
                return path
        self.notes.append(f"The input {name} ({given['path']}) is not there any more: shown without it.")
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
