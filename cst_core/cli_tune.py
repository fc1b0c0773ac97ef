"""``cst tune``: the regularisation under which a model's fields have a wanted SDlogJ."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cst_core import plugins
from cst_core.bisection import UnreachableError, find_weight
from cst_core.cli_options import choose_evaluation_data
from cst_core.config import overridden
from cst_core.environment import choose_device, version
from cst_core.errors import ConfigError, CstError, DataError
from cst_core.evaluation import evaluate as score_all
from cst_core.evaluation import number, summary
from cst_core.eventlog import finite
from cst_core.files import check_place, write_atomically
from cst_core.models import Model, load_model
from cst_core.plugin import BackendPlugin, EvalCase

_FIGURE = "sdlogj_l2r"
_SAID = (("Dice", "dice", 4), ("TRE mm", "tre_mm", 3))


@dataclass(frozen=True)
class TuneOptions:
    """The command line of ``cst tune``; None is an option that was not given."""

    backend: str
    model: str
    data: str | None
    fold: int | None
    split: str
    target: float
    tolerance: float
    pairs: int | None
    report: Path | None
    device: str
    assignments: Sequence[str]


def tune(options: TuneOptions, console: Console) -> dict[str, Any]:
    """Search, print a line a trial and the setting to pass on; returns what ``--json`` writes.

    Raises:
        ConfigError: an option is out of range.
        UnreachableError: no weight gives the target; says which SDlogJ can be had.
        CstError: the backend names no regularisation, or the model or the data cannot be used.
    """
    _check(options)
    plugin = plugins.load(options.backend)
    key = regularisation_of(plugin)
    device = choose_device(options.device)
    check_place("--json", options.report)
    model = load_model(options.model, plugin, device, options.assignments)
    data, fold = choose_evaluation_data(options.data, options.fold, model.file)
    dataset = plugin.read_data(data.source, fold, model.config, device)
    cases = _chosen(dataset.split(options.split), options.pairs)
    if not cases:
        raise DataError(f"{data.source}: holds no {options.split} pairs; pass the other --split or another --fold")

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(f"Data: {data}{'' if fold is None else f', fold {fold}'}, {len(cases)} {options.split} pairs")
    say(f"Model: {model.description}")
    trials = _Trials(plugin, model, device, cases, key, say)
    start = float(getattr(model.config, key)) or float(plugin.config_class.model_fields[key].get_default() or 1.0)
    try:
        found = find_weight(trials.measure, options.target, start, options.tolerance)
    except UnreachableError as error:
        raise UnreachableError(f"--target-sdlogj, by {key}: {error}") from None
    if found.broken:
        say(f"note: SDlogJ is not monotone in {key} here ({found.broken}); other weights may give the target as well")
    setting = f"{key}={found.best.weight:g}"
    say(f"SDlogJ (L2R) {found.best.value:.4f} with: --set {setting}")
    result = {
        "backend": plugin.name,
        "data": dataset.source,
        "fold": fold,
        "split": options.split,
        "model": options.model,
        "n_pairs": len(cases),
        "device": device,
        "target_sdlogj": options.target,
        "tolerance": options.tolerance,
        "regularisation": key,
        "weight": found.best.weight,
        "setting": setting,
        "broken": found.broken,
        "trials": trials.made,
        "set": {**model.settings, key: found.best.weight},
        "cst": version(),
        "fingerprint": dataset.fingerprint,
        **trials.last,
    }
    if options.report is not None:
        write_atomically(options.report, (json.dumps(finite(result), indent=2) + "\n").encode())
    return result


def regularisation_of(plugin: BackendPlugin[Any]) -> str:
    """The setting that `cst_core.plugin.Tunable` names.

    Raises:
        CstError: the plugin names none, or one that its configuration does not have.
    """
    key = getattr(plugin, "regularisation", None)
    if key is None:
        raise CstError(
            f"--backend {plugin.name}: does not say which of its settings regularises; its plugin needs the attribute "
            "regularisation (see cst_core.plugin.Tunable)"
        )
    if key not in plugin.config_class.model_fields:
        raise CstError(
            f"--backend {plugin.name}: names the regularisation {key!r}, but has no such setting; correct it"
        )
    return key


class _Trials:
    """Scores the cases under one weight after the other."""

    def __init__(
        self,
        plugin: BackendPlugin[Any],
        model: Model,
        device: str,
        cases: Sequence[EvalCase[Any]],
        key: str,
        say: Callable[[str], None],
    ) -> None:
        self.plugin, self.model, self.device, self.cases = plugin, model, device, cases
        self.key, self.say = key, say
        self.made: list[dict[str, float | None]] = []
        self.last: dict[str, Any] = {}

    def measure(self, weight: float) -> float:
        """Mean SDlogJ of the cases, also said and kept."""
        config = overridden(self.plugin.name, self.model.config, [f"{self.key}={weight!r}"])
        backend = self.plugin.backend(config, self.device)
        self.last = summary(score_all(self.plugin, backend, self.model.network, self.cases))
        mean = self.last["mean"]
        if mean[_FIGURE] is None:
            raise CstError(f"--backend {self.plugin.name}: its scores have no {_FIGURE}, so there is nothing to match")
        self.made.append({"weight": weight, **{name: mean[name] for name in (_FIGURE, "dice", "tre_mm")}})
        others = [f"{word} {number(mean[name], digits)}" for word, name, digits in _SAID if mean[name] is not None]
        self.say("  ".join([f"{self.key} {weight:<10g}", f"SDlogJ {mean[_FIGURE]:.4f}", *others]))
        return mean[_FIGURE]


def _chosen(cases: Sequence[EvalCase[Any]], number_of: int | None) -> Sequence[EvalCase[Any]]:
    """Evenly spread, as neighbours in a list of pairs share a scan."""
    if number_of is None or number_of >= len(cases):
        return [cases[i] for i in range(len(cases))]
    return [cases[i * len(cases) // number_of] for i in range(number_of)]


def _check(options: TuneOptions) -> None:
    for name, value in (("--target-sdlogj", options.target), ("--tolerance", options.tolerance)):
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} {value:g}: must be above 0; cst evaluate tells the SDlogJ of another model")
    if options.pairs is not None and options.pairs < 1:
        raise ConfigError(f"--pairs {options.pairs}: must be 1 or more; leave it out for all")
