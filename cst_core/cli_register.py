"""``cst register``: two files, or a list of pairs, and what is said of the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cst_core import plugins
from cst_core.batch_summary import SUMMARY, BatchSummary, finished, summarise
from cst_core.environment import choose_device
from cst_core.errors import ConfigError, CstError
from cst_core.evaluation import number
from cst_core.formats.pair_list import read_pairs
from cst_core.models import load_model
from cst_core.plugin import BackendPlugin
from cst_core.register import INPUTS, check_request, identity, register, register_files_of, request_from
from cst_core.register_batch import Batch, Outcome, check_batch_folder, register_batch
from cst_core.result_folder import check_free
from cst_core.shard import WHOLE, Shard

_NAMED = 5
"""Failed pairs that the last line names."""


@dataclass(frozen=True)
class RegisterOptions:
    """The command line of ``cst register``; None is an option that was not given."""

    backend: str
    model: str
    out: Path
    inputs: Mapping[str, Path | None]
    """By their names in `cst_core.register.INPUTS`."""
    pairs: Path | None
    affine: bool
    assignments: Sequence[str]
    device: str
    overwrite: bool
    resume: bool
    shard: Shard = WHOLE


def run(options: RegisterOptions, console: Console) -> None:
    """Register, and print a summary.

    Raises:
        ConfigError: options that do not go together, or a folder that is taken.
        CstError: an input or the model cannot be used; of a batch: a pair failed.
    """
    _check(options)
    plugin = plugins.load(options.backend)
    register_files_of(plugin)
    if options.pairs is not None:
        _batch(options, plugin, options.pairs, console)
        return
    device = choose_device(options.device)
    request = request_from(options.inputs, options.affine, device)
    check_request(request, options.out)
    check_free(options.out, options.overwrite)
    model = load_model(options.model, plugin, device, options.assignments)
    known = identity(model, options.model, request, plugin.name)
    result = register(plugin, model, request, known, options.out, options.overwrite)
    for note in result["notes"]:
        console.print(f"Note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(result_table(result))
    for line in (f"Confidence: {_verdict(result)}", f"Results: {options.out}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def result_table(result: Mapping[str, Any]) -> Table:
    """Before and after, for people; rows without any figure are left out."""
    table = Table(
        title=f"{Path(result['inputs']['moving']['path']).name} onto {Path(result['inputs']['fixed']['path']).name}",
        title_justify="left",
    )
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="right" if heading else "left")
    before, after = result["initial"], result["final"]
    for heading, key, digits in (("Dice", "dice", 3), ("TRE mm", "tre_mm", 2), ("correlation", "ncc", 3)):
        if after.get(key) is not None:
            table.add_row(heading, number(before.get(key), digits), number(after[key], digits))
    affine, inverse, moved = (result.get(key) or {} for key in ("affine", "inverse_residual_mm", "displacement_mm"))
    rows = [
        ("similarity, by the affine map", affine.get("similarity_before"), affine.get("similarity_after"), 3),
        ("displacement mm, mean", None, moved.get("mean"), 2),
        ("folding %", None, result.get("folding_percent"), 3),
        ("SDlogJ (L2R)", None, result.get("sdlogj_l2r"), 3),
        ("SDlogJ", None, result.get("sdlogj"), 3),
        ("inverse residual mm, 99.9 %", None, inverse.get("p999"), 4),
        ("seconds", None, result["seconds"].get("total"), 1),
    ]
    for heading, one, other, digits in rows:
        if other is not None:
            table.add_row(heading, "" if one is None else number(one, digits), number(other, digits))
    return table


def _batch(options: RegisterOptions, plugin: BackendPlugin[Any], source: Path, console: Console) -> None:
    pairs, shard = read_pairs(source), options.shard
    check_batch_folder(options.out, shard.of(pairs), options.resume, options.overwrite)
    device = choose_device(options.device)
    model = load_model(options.model, plugin, device, options.assignments)
    batch = Batch(plugin, model, options.model, options.affine, device, options.resume, options.overwrite)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    became = register_batch(batch, pairs, options.out, lambda outcome: say(_line(outcome)), shard)
    failed = [id for id, what in became.items() if what == "failed"]
    share = "" if shard == WHOLE else f" of the share {shard}"
    say(f"{len(became) - len(failed)} of {len(became)} pairs{share} complete in {options.out}")
    ready = finished(pairs, options.out)
    if ready == len(pairs):
        say_summary(summarise(pairs, options.out), options.out, say)
    else:
        say(f"{ready} of all {len(pairs)} pairs are finished; the call that finishes the last writes {SUMMARY}")
    if failed:
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise CstError(
            f"--pairs {source}: {len(failed)} of {len(became)} pairs failed ({', '.join(failed[:_NAMED])}{more}); "
            "correct them and pass --resume"
        )


def say_summary(found: BatchSummary, out: Path, say: Callable[[str], None]) -> None:
    """Of all pairs, whichever process registered them."""
    means = []
    for heading, name, digits in (("Dice", "dice", 3), ("TRE mm", "tre_mm", 2), ("correlation", "ncc", 3)):
        if name in found.mean:
            means.append(f"{heading} {number(found.mean.get(f'{name}_initial'), digits)} -> ")
            means[-1] += number(found.mean[name], digits)
    for heading, name, digits in (("folding %", "folding_percent", 3), ("seconds", "seconds", 1)):
        if name in found.mean:
            means.append(f"{heading} {number(found.mean[name], digits)}")
    say(f"All pairs: {found.complete} complete, {len(found.failed)} failed" + "".join(f"; {mean}" for mean in means))
    if found.verdicts:
        say("Confidence: " + ", ".join(f"{count} {word}" for word, count in sorted(found.verdicts.items())))
    say(f"Summary: {out / SUMMARY}")


def _line(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"{outcome.id}: failed: {outcome.error}"
    result, said = outcome.result, []
    for name, key, digits in (("Dice", "dice", 3), ("TRE mm", "tre_mm", 2)):
        if (after := result["final"].get(key)) is not None:
            said.append(f"{name} {number(result['initial'].get(key), digits)} -> {number(after, digits)}")
    seconds = number(result["seconds"].get("total"), 1)
    said.append("kept" if outcome.what == "kept" else f"{seconds} s")
    return f"{outcome.id}: {', '.join(said)}; confidence {_verdict(result)}"


def _verdict(result: Mapping[str, Any]) -> str:
    confidence = result.get("confidence")
    return f"{confidence['verdict']} ({confidence['text']})" if confidence else "not measured"


def _check(options: RegisterOptions) -> None:
    given = [name for name in INPUTS if options.inputs.get(name) is not None]
    if options.pairs is not None and given:
        raise ConfigError(f"--pairs {options.pairs}: names all files of a batch; leave {', '.join(given)} out")
    if options.pairs is None and not {"fixed", "moving"} <= set(given):
        raise ConfigError("cst register: give FIXED and MOVING, or --pairs FILE.csv; see cst register --help")
    if options.pairs is None and options.resume:
        raise ConfigError("--resume: is for a batch (--pairs); pass --overwrite to register a pair again")
    if options.pairs is None and options.shard != WHOLE:
        raise ConfigError(f"--shard {options.shard}: is for a batch (--pairs); leave it out")
    if options.resume and options.overwrite:
        raise ConfigError("--resume: keeps what --overwrite would replace; pass one of the two")
