"""``cst``: one thin function a verb. Heavy imports are inside, so that ``--help`` is instant.

Exit codes: 0 done, 1 failed, 2 a wrong command line or configuration.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cst_core import plugins
from cst_core.allocator import keep_freed_memory
from cst_core.cli_arguments import (
    BackendOption,
    Device,
    DeviceOption,
    ModelDataOption,
    ModelFoldOption,
    ModelOption,
    SetOption,
    Split,
)
from cst_core.cli_transforms import apply, convert
from cst_core.errors import ConfigError, CstError
from cst_core.refusal import refusal
from cst_core.verb_register import register
from cst_core.verb_tune import tune

_DEBUG = "--debug"


DataOption = Annotated[
    str | None,
    typer.Option(metavar="DIR|phantom", help="Data folder. Default: the environment's CST_DATA, else a phantom."),
]
FoldOption = Annotated[int | None, typer.Option(help="Fold of a data set that has folds.")]


def train(
    backend: Annotated[
        str | None, typer.Option(help="Which kind of data: see cst info. Needed, except with --resume.")
    ] = None,
    data: DataOption = None,
    fold: FoldOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run folder. Default: runs/BACKEND[-foldK]-TIME.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Named configuration; an unknown one lists all.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Such as a run's config.toml.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")
    ] = None,
    device: DeviceOption = Device.AUTO,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.")] = None,
    supervision: Annotated[
        str | None,
        typer.Option(help="What teaches; the same as --set supervision=NAME. An unknown one lists all."),
    ] = None,
    max_labels_gb: Annotated[
        float | None,
        typer.Option(metavar="GB", help="Room for a stage's labels. Default: as much as they need."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train on unlabelled pairs by cyclical self-training."""
    from cst_core.cli_options import TrainOptions
    from cst_core.cli_train import train as run
    from cst_core.progress import open_console

    settings = [*(assignments or []), *([] if seed is None else [f"train.seed={seed}"])]
    settings += [] if supervision is None else [f"train.supervision={supervision}"]
    settings += [] if max_labels_gb is None else [f"train.max_labels_gb={max_labels_gb}"]
    options = TrainOptions(backend, data, fold, out, preset, config, settings, device.value, resume)
    run(options, open_console(), ["cst", *sys.argv[1:]])


def evaluate(
    backend: BackendOption,
    model: ModelOption,
    data: ModelDataOption = None,
    fold: ModelFoldOption = None,
    split: Annotated[Split, typer.Option(help="Which pairs.")] = Split.TEST,
    report: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")] = None,
    device: DeviceOption = Device.AUTO,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The first pair, before and after.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Another result that --json wrote: compare pair by pair.")
    ] = None,
    assignments: SetOption = None,
) -> None:
    """Register pairs whose truth is known, and measure the error."""
    from cst_core.cli_evaluate import EvaluateOptions
    from cst_core.cli_evaluate import evaluate as run
    from cst_core.progress import open_console

    options = EvaluateOptions(
        backend, model, data, fold, split.value, report, device.value, picture, against, assignments or []
    )
    run(options, open_console())


def info(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Also try what takes a minute: whether KeOps compiles.")
    ] = False,
) -> None:
    """What is installed, devices, compilers, models and what they were trained on, data found."""
    from cst_core.cli_info import collect

    found = collect(check)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from cst_core.info_text import show
    from cst_core.progress import open_console

    show(found, open_console())


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN|RESULT", help="What cst train or cst register has made.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Default: report.html in the folder.")] = None,
) -> None:
    """One HTML file, complete in itself, on a training run or a registration."""
    from cst_core.cli_report import report as run
    from cst_core.progress import open_console

    run(folder, out, open_console())


def build_app() -> typer.Typer:
    """The whole command line; ``cst prepare`` has a command for every entry point, none of them imported yet."""
    app = typer.Typer(
        name="cst",
        help="Deformable 3D registration that learns from unlabelled scans alone.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def _options(
        debug: Annotated[bool, typer.Option(_DEBUG, help="A traceback with every error; also after a verb.")] = False,
        version: Annotated[
            bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Which cst this is.")
        ] = False,
    ) -> None:
        # `main` has taken --debug out of the arguments, wherever it stood; it is declared here for --help alone
        del debug, version

    for verb in (train, register, evaluate, tune, apply, convert, report, info):
        app.command()(verb)
    prepare = typer.Typer(help="Bring raw scans into the form that training reads.", no_args_is_help=True)
    for entry in plugins.found(plugins.PREPARE).values():
        _add_prepare(prepare, entry)

    @prepare.callback()
    def _prepare() -> None:
        """Keeps ``prepare`` a group even with a single command."""

    app.add_typer(prepare, name="prepare")
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; errors become one line on stderr unless ``--debug`` is among the arguments."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = _DEBUG in given
    keep_freed_memory()
    try:
        build_app()(args=[argument for argument in given if argument != _DEBUG], prog_name="cst")
    except CstError as error:
        if debug:
            raise
        _fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        _fail("interrupted", 1)
    except OSError as error:
        if debug:
            raise
        if (said := refusal(error)) is not None:
            _fail(str(said), 1)
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; run again with {_DEBUG} for the place", 1)
    except Exception as error:
        if debug:
            raise
        _fail(f"{type(error).__name__}: {error}; run again with {_DEBUG} for the place", 1)
    sys.exit(0)


def _say_version(wanted: bool) -> bool:
    if not wanted:
        return False
    from cst_core.environment import version

    typer.echo(f"cst {version()}")
    raise typer.Exit


def _add_prepare(group: typer.Typer, entry: EntryPoint) -> None:
    def run(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        command.command(entry.name)(plugins.load_entry(entry))
        command(args=arguments or [], prog_name=f"cst prepare {entry.name}")

    # Everything after the name, --help too, is for the function that is loaded then.
    settings: dict[Any, Any] = {"ignore_unknown_options": True, "help_option_names": []}
    group.command(entry.name, context_settings=settings, help=f"By {plugins.distribution(entry)}.")(run)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
