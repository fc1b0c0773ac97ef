"""The reference of the command line, from the help that the commands give themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from cst_core import plugins
from cst_core.cli import build_app

_HEAD = """# Command line

This page is made from the help texts of the commands: `cst COMMAND --help` says the same.

Every command ends with 0 when it has done its work, 1 when it failed, 2 when the command line or the configuration is
wrong. An error is one line that names the file or the option, what is wrong and what to do; `--debug`, anywhere in the
line, adds the traceback.
"""


def commands_page() -> str:
    """Markdown with one section a command; ``cst prepare`` has those of all installed distributions."""
    app = typer.main.get_command(build_app())
    parts = [_HEAD]
    for name, command in app.commands.items():  # type: ignore[attr-defined]
        if name == "prepare":
            for entry in plugins.found(plugins.PREPARE).values():
                alone = typer.Typer(add_completion=False)
                alone.command(entry.name)(plugins.load_entry(entry))
                parts += _section(f"cst prepare {entry.name}", typer.main.get_command(alone))
        else:
            parts += _section(f"cst {name}", command)
    return "\n".join(parts)


def _section(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(name, ["--help"], resilient_parsing=True)
    records = [(one.param_type_name, *one.get_help_record(context)) for one in command.params if not _is_help(one)]
    arguments = [record for record in records if record[0] == "argument"]
    options = [record for record in records if record[0] == "option"]
    called = " ".join(re.split(r"[ <]", found)[0] for _, found, _ in arguments)
    yield f"## {name}\n"
    first, _, rest = (command.help or "").partition("\n")
    yield f"{first}\n"
    yield f"```text\n{' '.join(f'{name} {called}'.split())} [OPTIONS]\n```\n"
    if rest.strip():
        # one sentence a line in the source, so one a line here
        yield "  \n".join(_plain(line) for line in rest.strip().splitlines()) + "\n"
    if arguments:
        yield from _table("argument", arguments)
    if options:
        yield from _table("option", options)


def _table(kind: str, records: list[tuple[str, str, str]]) -> Iterator[str]:
    yield f"| {kind} | |\n|---|---|"
    for _, found, text in records:
        found = found.removesuffix(" <path>")
        # a bar within code parts no cells
        yield f"| `{found}` | {_cell(_plain(text))} |"
    yield ""


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is: names of options and files are set as code."""
    text = re.sub(r"(?<![\w`])(--[a-z][a-z-]*)", r"`\1`", text)
    text = re.sub(r"\s+\[(required|default: [^\]]*)\]", lambda found: f" *({found[1]})*", text)
    return text.replace("<", "&lt;")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _is_help(parameter: Any) -> bool:
    return "--help" in parameter.opts
