"""``cst evaluate``: a model, a data set, and how far the one gets on the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cst_core import plugins
from cst_core.cli_options import choose_evaluation_data, shareable
from cst_core.comparison import compare, comparison_table, read_result
from cst_core.device_memory import memory_advice
from cst_core.environment import choose_device, version
from cst_core.errors import ConfigError, DataError
from cst_core.evaluation import evaluate as score_all
from cst_core.evaluation import label_table, summary, table
from cst_core.eventlog import finite
from cst_core.files import check_place, write_atomically
from cst_core.models import load_model
from cst_core.plugin import BackendPlugin


@dataclass(frozen=True)
class EvaluateOptions:
    """The command line of ``cst evaluate``; None is an option that was not given."""

    backend: str
    model: str
    data: str | None
    fold: int | None
    split: str
    report: Path | None
    device: str
    picture: Path | None
    against: Path | None
    assignments: Sequence[str]


def evaluate(options: EvaluateOptions, console: Console) -> dict[str, Any]:
    """Evaluate, print a table, write what was asked for; returns what ``--json`` writes.

    Raises:
        CstError: the model or the data cannot be used.
    """
    plugin = plugins.load(options.backend)
    device = choose_device(options.device)
    for option, path in (("--json", options.report), ("--picture", options.picture)):
        check_place(option, path)
    other = _other(options, plugin.name)
    model = load_model(options.model, plugin, device, options.assignments)
    data, fold = choose_evaluation_data(options.data, options.fold, model.file)
    said_fold = "" if fold is None else f", fold {fold}"

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(f"Data: {data}{said_fold}, {options.split} pairs")
    say(f"Model: {model.description}")
    usual = usual_measures(plugin)
    values = model.config.model_dump(mode="json")
    settings = {**model.settings, **{key: values[key] for key in usual if values[key] != usual[key]}}
    if settings:
        said = ", ".join(f"{key} = {value}" for key, value in settings.items())
        say(f"Set: {said}")
    dataset = plugin.read_data(data.source, fold, model.config, device)
    for note in (*(dataset.train_notes if options.split == "train" else ()), *dataset.notes):
        say(f"  {note}")
    if (seen := seen_note(model.about, dataset.source, fold, options.split)) is not None:
        say(f"  {seen}")
    cases = dataset.split(options.split)
    if not cases:
        raise DataError(f"{data.source}: holds no {options.split} pairs; pass the other --split or another --fold")
    with memory_advice(plugin, "evaluating"):
        scores = score_all(plugin, model.backend, model.network, cases)
    result = {
        "backend": plugin.name,
        "data": dataset.source,
        "fold": fold,
        "split": options.split,
        "model": options.model,
        "n_pairs": len(scores),
        "device": device,
        "set": settings,
        "cst": version(),
        "fingerprint": dataset.fingerprint,
        **summary(scores),
    }
    console.print(table(scores, f"{len(scores)} {options.split} pairs"))
    if labels := label_table(scores):
        console.print(labels)
    _write(result, options.report)
    if other is not None:  # a result that compares with nothing is still a result
        comparison = compare(result, other, usual)
        console.print(comparison_table(comparison))
        result["against"] = {"file": str(options.against), **comparison.as_json()}
        _write(result, options.report)
    if options.picture is not None:
        plugin.picture(model.backend, model.network, cases[0], options.picture)
    return result


def seen_note(about: Mapping[str, Any], source: str, fold: int | None, split: str) -> str | None:
    """What is to be said where a model is judged by scans that it may have been trained on; None elsewhere.

    Weights know their data by name and their fold; ``about``: as `cst_core.models.Model.about`.
    """
    if about.get("trained_on") != shareable(source) or (split == "test" and about.get("fold") == fold):
        return None
    part = "without a fold" if about.get("fold") is None else f"on fold {about['fold']}"
    return f"the model was trained {part} of data of this name: it may have seen these scans"


def usual_measures(plugin: BackendPlugin[Any]) -> dict[str, Any]:
    """The defaults of what `cst_core.plugin.Measured` names; empty where a plugin has none."""
    values = plugin.config_class().model_dump(mode="json")
    return {key: values[key] for key in getattr(plugin, "measured_by", ())}


def _write(result: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        write_atomically(path, (json.dumps(finite(result), indent=2) + "\n").encode())


def _other(options: EvaluateOptions, backend: str) -> dict[str, Any] | None:
    # read before anything is computed: what is wrong with it is said at once
    if options.against is None:
        return None
    if options.report is not None and options.report.resolve() == options.against.resolve():
        raise ConfigError(f"--json {options.report}: is the file of --against, which it would replace; name another")
    return read_result(options.against, backend)
