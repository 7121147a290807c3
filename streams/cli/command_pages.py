"""The page of every command, from the commands themselves."""

from __future__ import annotations

import re
from typing import Final

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

_INTRODUCTION: Final = """\
# Command line

Every command with what its `--help` says. The options of `tocsin` itself stand before the command:
`tocsin --log-level DEBUG topics list`. The exit status is 0 for success, 1 for what failed, 2 for
a wrong option or setting, 75 where a worker wants to be started again, and 130 after Ctrl-C.
"""

_SHORTENED: Final = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n")
"""A group's list of its commands, cut to a line each: they follow in full."""


def commands_page(app: typer.Typer) -> str:
    """Write down every command of `app`, its arguments and its options."""
    command = get_command(app)
    ctx = typer.Context(command, info_name="tocsin")
    text = get_docs_for_click(obj=command, ctx=ctx, name="tocsin", title="`tocsin`", indent=1)
    text = _SHORTENED.sub("", text).replace("```console\n$ ", "```text\n")
    return f"{_INTRODUCTION}\n{text.rstrip()}\n"
