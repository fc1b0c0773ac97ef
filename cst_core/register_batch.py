"""Many registrations with one network: a pair that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cst_core.batch_summary import FAILED, SUMMARY, note_failure
from cst_core.errors import ConfigError, CstError, DataError
from cst_core.formats.pair_list import Listed
from cst_core.models import Model
from cst_core.plugin import BackendPlugin
from cst_core.register import (
    check_request,
    identity,
    model_identity,
    read_result,
    registered,
    request_from,
    same_request,
)
from cst_core.result_folder import check_free, remove_stale
from cst_core.shard import WHOLE, Shard, held


class Outcome(NamedTuple):
    """What became of one pair."""

    id: str
    what: Literal["done", "kept", "failed"]
    """``kept``: the result was there already, of the same model, options and inputs."""
    result: dict[str, Any] | None
    error: str | None
    """One line, of a pair that failed."""


class Batch(NamedTuple):
    """What is the same for all pairs."""

    plugin: BackendPlugin[Any]
    model: Model
    reference: str
    """``--model`` as it was given."""
    affine: bool
    device: str
    resume: bool
    overwrite: bool


def check_batch_folder(out: Path, pairs: Sequence[Listed], resume: bool, overwrite: bool) -> None:
    """Raise ConfigError if results of these pairs are there already, and nothing was said about them.

    Or if a pair's folder would bear the name of one of the files that a batch writes beside the folders.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: must be a folder, found a file; name another")
    for id, _ in pairs:
        if id == SUMMARY or id.endswith(FAILED):
            raise ConfigError(f"--pairs: {id!r} is the name of a file beside the results; choose another id")
    taken = [id for id, _ in pairs if (out / id).exists()]
    if taken and not (resume or overwrite):
        raise ConfigError(
            f"--out {out}: holds results of {len(taken)} of the pairs ({taken[0]}); pass --resume to keep what is "
            "complete, --overwrite to replace all, or name another folder"
        )


def register_batch(
    batch: Batch, pairs: Sequence[Listed], out: Path, told: Callable[[Outcome], None], shard: Shard = WHOLE
) -> dict[str, str]:
    """Register all pairs, or those of a ``shard``, each into ``out/<id>``; ``told`` hears of each when it is finished.

    With ``resume``, results of the same model, options and inputs are kept and others are replaced; what a killed
    process left is removed. Why a pair failed stands in ``out/<id>.failed.txt``.

    Returns:
        What became of each pair, as `Outcome.what`; the results themselves are on the disk, not in memory.

    Raises:
        CstError: the folder is taken, or in use by another process.
    """
    own = shard.of(pairs)
    check_batch_folder(out, own, batch.resume, batch.overwrite)
    out.mkdir(parents=True, exist_ok=True)
    with held(out, shard):
        remove_stale(out, *(id for id, _ in own))
        weights = model_identity(batch.model, batch.reference)
        became = {}
        for pair in own:
            outcome = _one(batch, pair, out / pair.id, weights)
            note_failure(out / pair.id, outcome.error)
            became[pair.id] = outcome.what
            told(outcome)
        return became


def _one(batch: Batch, pair: Listed, out: Path, weights: Mapping[str, Any]) -> Outcome:
    try:
        request = request_from(pair.paths, batch.affine, batch.device)
        check_request(request, out)
        known = identity(batch.model, batch.reference, request, batch.plugin.name, weights)
        if batch.resume and (result := _kept(out, known)) is not None:
            return Outcome(pair.id, "kept", result, None)
        check_free(out, batch.resume or batch.overwrite)
        result = registered(batch.plugin, batch.model, request, known, out)
        return Outcome(pair.id, "done", result, None)
    except CstError as error:
        return Outcome(pair.id, "failed", None, str(error))
    except Exception as error:  # whatever it is, the pairs after it can still be registered
        return Outcome(pair.id, "failed", None, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _kept(out: Path, known: dict[str, Any]) -> dict[str, Any] | None:
    try:
        result = read_result(out)
    except DataError:
        return None
    return result if same_request(result, known) else None
