"""Memory that ran out, of a GPU or of the machine, said with what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from cst_core.errors import CstError, shortened
from cst_core.plugin import BackendPlugin

_CPU = ("can't allocate memory", "not enough memory")
"""How torch says it of the CPU, without a class of its own."""


@contextmanager
def memory_advice(plugin: BackendPlugin[Any], doing: str, then: str = "") -> Iterator[None]:
    """Say what to lower where memory runs out.

    Args:
        plugin: its ``saves_memory``, if it has one, names its settings that take the most.
        doing: what was going on, for the error.
        then: how to go on.

    Raises:
        CstError: instead of torch's or Python's own error.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _advice(plugin, error, doing, then) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _CPU):
            raise
        raise _advice(plugin, error, doing, then) from error


def _advice(plugin: BackendPlugin[Any], error: Exception, doing: str, then: str) -> CstError:
    where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "the machine"
    lower = getattr(plugin, "saves_memory", "--set batch_size")
    free = "end what else uses it" + (", pass --device cpu" if where == "the GPU" else "")
    said = shortened(error) or "no more could be had"
    return CstError(
        f"{doing}: {where} is out of memory ({said}); {free}, or lower {lower}" + (f"; {then}" if then else "")
    )
