"""The fenced blocks of a page of the documentation, and what the tests do with them.

- ``sh`` without a title: commands of cst, which are run in order.
- ``sh`` with a title: for other software, or for data that the tests do not have; not run.
- ``python`` without a title: run, in order with the commands; left out where a library that it imports is missing.
- ``text`` with a title: the content of the file of that name; written before anything is run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[2] / "docs"
_FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]*)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_OPTIONAL = ("ants", "SimpleITK")


class Block(NamedTuple):
    """One fenced block."""

    language: str
    title: str | None
    text: str


def pages() -> list[str]:
    """Hand-written pages that have something to run, relative to the folder."""
    every = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
    return [page for page in every if any(is_run(block) for block in blocks_of((DOCS / page).read_text()))]


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page's text, in order."""
    return [Block(found[2], found[3], found[4]) for found in _FENCE.finditer(page)]


def is_run(block: Block) -> bool:
    """Whether the tests run it."""
    if block.language == "python":
        missing = [name for name in _OPTIONAL if f"import {name}\n" in block.text and find_spec(name) is None]
        return block.title is None and not missing
    return block.language == "sh" and block.title is None


def commands_of(block: Block) -> list[list[str]]:
    """The words of each line of a ``sh`` block; a backslash joins lines."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def option(words: Sequence[str], name: str) -> str | None:
    """The value of an option of a command line."""
    return words[words.index(name) + 1] if name in words else None
