"""The command line: each command parses its options, calls one library function, and returns.

``main`` is the only place where an error becomes a message and an exit code.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from avseg_cli import __version__
from avseg_cli.errors import AvsegError

app = typer.Typer(
    name="avseg",
    help="Segment what is making the sound in a video, pixel by pixel.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # main() prints errors; --debug shows plain tracebacks
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# One file per command group; each registers itself on `app` in `register`.
COMMANDS = ("segment", "train", "evaluate", "ablate", "prepare", "synth", "weights", "bench")


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    python = ".".join(map(str, sys.version_info[:3]))
    typer.echo(f"avseg {__version__} (torch {installed('torch')}, av {installed('av')}, Python {python})")
    raise typer.Exit()


@app.callback()
def _global_options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="AVSEG_DEBUG", help="Show the full traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the versions and exit."),
    ] = False,
) -> None:
    if debug:
        os.environ["AVSEG_DEBUG"] = "1"


for _name in COMMANDS:
    import_module(f"avseg_cli.cli.{_name}").register(app)


def main() -> None:
    """Run the command line; every expected error ends as one sentence on stderr and its exit code."""
    try:
        app()
    except (AvsegError, OSError, MemoryError, KeyboardInterrupt) as error:
        if os.environ.get("AVSEG_DEBUG", "0") not in ("", "0"):
            raise
        message, code = _explain(error)
        print(f"avseg: {message}", file=sys.stderr)
        sys.exit(code)


def _explain(error: BaseException) -> tuple[str, int]:
    """The sentence and exit code for an error that reached the command line."""
    if isinstance(error, AvsegError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "stopped; nothing half-written was left behind", 130
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or use a smaller model or --batch-size", 4
    return f"{error.filename or 'the system'}: {error.strerror or error}", 5  # OSError: disk, permissions
