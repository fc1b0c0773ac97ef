"""``cst train``: options to a configuration, a data set and a run folder, then `cst_core.training.self_train`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from cst_core import plugins
from cst_core.choose_supervision import make_supervision, taught_by
from cst_core.cli_options import DataChoice, TrainOptions, choose_data, resolve_options, shareable
from cst_core.cli_team import Plan, follow, labels_source, read_together
from cst_core.config import Resolved, differences, to_toml
from cst_core.device_memory import memory_advice
from cst_core.environment import choose_device
from cst_core.errors import ConfigError, CstError, LostError
from cst_core.evaluation import has_truth, stage_table
from cst_core.launch import open_team, restarts
from cst_core.lazy import pairs_of, select
from cst_core.manifest import MANIFEST, Origin
from cst_core.plugin import BackendPlugin, Dataset, EvalCase
from cst_core.progress import LiveProgress, Pace, PlainProgress, Progress
from cst_core.refusal import RefusedError, refusals_named
from cst_core.report import write_run_report
from cst_core.runs import Run
from cst_core.stage_report import StageReport
from cst_core.supervision import SELF
from cst_core.team import Team, check_batch
from cst_core.termination import ended_like_interrupted
from cst_core.training import NotFiniteError, self_train

REPORT = "report.html"


def train(options: TrainOptions, console: Console, command: list[str]) -> None:
    """Train, or go on training, and leave a complete run folder; as one of several processes, do this one's part.

    Raises:
        CstError: whatever keeps it from that; what was finished before stays usable.
        KeyboardInterrupt: the run can be resumed.
    """
    with open_team(options.device) as team:
        if team.rank:
            follow(team, options.device)
            return
        with ended_like_interrupted() if team.size == 1 else nullcontext():
            _lead(options, console, command, team)


def _lead(options: TrainOptions, console: Console, command: list[str], team: Team) -> None:
    say = _sayer(console)
    if options.out is None and team.size > 1:
        raise ConfigError("--out: is needed with several processes, so that they find the run again after a restart")
    if restarts() and options.out and (options.out / MANIFEST).exists():
        say(f"Started again after a process had ended: going on with the run in {options.out}")
        options = replace(options, resume=True)
    if options.resume:
        if options.out is None:
            raise ConfigError("--resume: needs --out RUN, the folder of the run to continue")
        with _said_how_to_go_on(options.out), Run.existing(options.out, say) as run:
            _resume(run, options, console, team)
        _report(options.out, say)
        return
    if options.backend is None:
        raise ConfigError(f"--backend: is needed; found: {', '.join(plugins.found(plugins.BACKENDS)) or 'none'}")
    plugin = plugins.load(options.backend)
    config = resolve_options(plugin, options)
    check_batch(config.train.batch_size, team)
    device = choose_device(options.device)
    data = choose_data(options.data)
    fold = "" if options.fold is None else f"-fold{options.fold}"
    out = options.out or Path("runs", f"{options.backend}{fold}-{datetime.now():%Y%m%d-%H%M%S}")
    with _said_how_to_go_on(out), Run.new(out, say) as run:
        say(f"Data: {data}")
        plan = team.broadcast(Plan(options.backend, config, data.source, options.fold, run.labels_folder.absolute()))
        dataset = read_together(plan, plugin, device, team)
        origin = _origin(options.backend, config, data.source, options.fold, device, dataset)
        run.begin(origin, to_toml(plugin.name, config), command)
        _train(run, plugin, config, dataset, device, console, team)
    _report(out, say)


def _report(out: Path, say: Callable[[str], None]) -> None:
    """Once the run is closed, so that the report says it is finished."""
    write_run_report(out, out / REPORT)
    say(f"Report: {out / REPORT}")


@contextmanager
def _said_how_to_go_on(out: Path) -> Iterator[None]:
    try:
        with refusals_named(out):
            yield
    except KeyboardInterrupt:
        raise CstError(f"interrupted; {_go_on(out)}") from None
    except (LostError, RefusedError) as error:
        raise CstError(f"{error}; {_go_on(out)}") from error


def _go_on(out: Path) -> str:
    begun = (out / MANIFEST).exists()
    return f"go on with: cst train --resume --out {out}" if begun else "the run had not begun: start it again"


def _resume(run: Run, options: TrainOptions, console: Console, team: Team) -> None:
    before = run.origin
    run.check(options.backend or before.backend, before.fold if options.fold is None else options.fold, [])
    plugin = plugins.load(before.backend)
    # With the preset's values beneath the file, as TOML cannot say that a key is None.
    own = replace(options, config=run.config_file, preset=None)
    config = resolve_options(plugin, replace(own, assignments=()))
    if options.preset not in (None, config.preset):
        raise ConfigError(
            f"--resume: the run in {run.folder} has preset {config.preset}, not {options.preset}; leave --preset out"
        )
    # An explicit option may repeat what the run has, but not contradict it.
    asked = resolve_options(plugin, options if options.config else own)
    run.check(before.backend, before.fold, differences(config, asked))
    check_batch(config.train.batch_size, team)
    device = choose_device(options.device)
    data = choose_data(options.data) if options.data else DataChoice(before.data, "as the run was begun with")
    _sayer(console)(f"Data: {data}")
    plan = team.broadcast(Plan(plugin.name, config, data.source, before.fold, run.labels_folder.absolute()))
    dataset = read_together(plan, plugin, device, team)
    run.resume(_origin(plugin.name, config, data.source, before.fold, device, dataset))
    _train(run, plugin, config, dataset, device, console, team)


def _origin(backend: str, config: Resolved, data: str, fold: int | None, device: str, dataset: Dataset[Any]) -> Origin:
    return Origin(
        backend=backend,
        preset=config.preset,
        data=data,
        fingerprint=dataset.fingerprint,
        fold=fold,
        seed=config.train.seed,
        device=device,
        n_train=len(dataset.train),
        n_test=len(dataset.test),
    )


def _train(
    run: Run,
    plugin: BackendPlugin[Any],
    config: Resolved,
    dataset: Dataset[Any],
    device: str,
    console: Console,
    team: Team,
) -> None:
    say = _sayer(console)
    scored = select(dataset.test, has_truth)
    say(f"  {len(dataset.train)} pairs to train on, {len(dataset.test)} to test on ({len(scored)} with truth)")
    for note in (*dataset.train_notes, *dataset.notes):
        say(f"  {note}")
    say(f"Run: {run.folder} (backend {plugin.name}, preset {config.preset}, {device}, seed {config.train.seed})")
    if team.size > 1:
        say(f"  {team.size} processes")
    if taught_by(config.train) != SELF:
        say(f"  Supervision: {taught_by(config.train)}, not self-training alone")
    backend = plugin.backend(config.backend, device)
    pace = Pace(config.train.stages, config.train.batch_size)
    # configuration belongs to the run: what lowers it needs a new one, another device does not
    go_on = f"other settings need a new run; with more memory or another --device {_go_on(run.folder)}"
    with memory_advice(plugin, "training", go_on), open_progress(console, pace) as progress:
        report = StageReport(run, plugin, backend, config, shareable(dataset.source), scored, progress)
        try:
            result = self_train(
                backend,
                pairs_of(dataset.train),
                config.train,
                supervision=make_supervision(plugin, backend, config.train, dataset.train),
                first=plugin.untrained(backend, config.train.seed),
                after_stage=report.after_stage,
                watch=report.watch,
                memory=run,
                labels_folder=run.labels_folder,
                source=labels_source(dataset, config),
                team=team,
            )
        except NotFiniteError as error:
            raise CstError(str(error)) from error
    picture = _picture(run, plugin, backend, result.network, (dataset.test or dataset.train)[0])
    if evaluations := run.evaluations():
        console.print(stage_table(evaluations))
    say(f"Weights: {run.folder / f'stage-{config.train.stages:02d}.safetensors'}")
    say(f"Picture: {picture}")
    say(f"Next: cst evaluate --backend {plugin.name} --model {run.folder}")


def open_progress(console: Console, pace: Pace) -> Progress:
    """A live bar where ``console`` is a terminal, plain lines elsewhere."""
    return LiveProgress(pace, console) if console.is_terminal else PlainProgress(pace, _sayer(console))


def _picture(run: Run, plugin: BackendPlugin[Any], backend: Any, network: nn.Module, case: EvalCase[Any]) -> Path:
    name = re.sub(r"[^\w.-]", "_", case.id)
    path = run.folder / "figures" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    # Not a name that ends in .partial: what draws it takes the format from the name's end.
    unfinished = path.with_name(f".unfinished-{name}.png")
    plugin.picture(backend, network, case, unfinished)
    os.replace(unfinished, path)
    return path


def _sayer(console: Console) -> Callable[[str], None]:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say
