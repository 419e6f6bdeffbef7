"""The command line: each command parses its options, calls one library function, and returns.

``main`` is the only place where an error becomes a message and an exit code.
"""

from __future__ import annotations

import inspect
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from avseg_cli.base.errors import AvsegError, InputError, debugging, named
from avseg_cli.base.limits import about_memory, ensure_limits
from avseg_cli.base.signals import heard
from avseg_cli.base.startup import leave, spare_the_processor
from avseg_cli.base.terminal import outliving
from avseg_cli.base.text import printable
from avseg_cli.cli.config_file import Config, check_environment, long_name, name_variables, read_config
from avseg_cli.cli.options import said

EXAMPLE = "[dim]"  # marks command lines in a help text
CONFIG = "avseg.config"  # the key of the configuration among what Click keeps for a run


class Stopped(AvsegError):
    """The user, or the system, ended the run."""

    exit_code = 130


class _Commands(TyperGroup):
    """The group of all commands. Typer would end Ctrl-C without a word, so it becomes a sentence here."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped(str(error) or "stopped; nothing half-written was left behind") from error
        except Exception as error:
            if place := _configured_in(error):
                raise InputError(f"{place}: {error.message}") from error
            raise


def _configured_in(error: Exception) -> str:
    """The file and key, or the variable, that hold the value a usage error is about; empty for other errors."""
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or param is None:
        return ""
    source = context.get_parameter_source(param.name)
    if source is not None and source.name == "ENVIRONMENT":
        return next((name for name in param.envvar if os.environ.get(name)), "")
    config: Config = context.meta.get(CONFIG, Config())
    file = config.origin(context, param.name)
    return f"{file}: the value of {long_name(param)!r}" if file else ""


app = typer.Typer(
    name="avseg",
    cls=_Commands,
    help="Segment what is making the sound in a video, pixel by pixel.",
    epilog="Every option can also be given in a configuration file (avseg.toml) or as AVSEG_COMMAND_OPTION, "
    "as in AVSEG_SEGMENT_FPS=2; see docs/settings.md.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # main() prints errors; --debug shows plain tracebacks
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# One file per command group; each registers itself on `app` in `register`.
COMMANDS = (
    "segment",
    "info",
    "attention",
    "train",
    "evaluate",
    "ablate",
    "prepare",
    "synth",
    "weights",
    "bench",
    "doctor",
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from avseg_cli.cli.version import version_text

    typer.echo(version_text())
    raise typer.Exit()


def _configure(context: typer.Context, file: Path | None) -> Path | None:
    if context.resilient_parsing:  # completing a command line in the shell: no place for complaints
        return file
    check_environment(context.command, os.environ)
    config = read_config(context.command, file)
    config.give_to(context.command)
    context.default_map = config.defaults.get(())
    context.meta[CONFIG] = config
    return file


@app.callback()
def _global_options(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="AVSEG_CONFIG",
            callback=_configure,
            is_eager=True,
            metavar="FILE",
            show_default=False,
            help="Take the defaults of options from this TOML file alone. "
            "[default: ./avseg.toml, then the one in the user's configuration folder]",
        ),
    ] = None,
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


def application() -> Any:
    """All commands as Click has them, each option with its environment variable."""
    command = get_command(app)
    name_variables(command)
    _take_brackets_for_text(command)
    _let_paragraphs_flow(command)
    for below in command.commands.values():
        _check_limits_first(below)
    return command


def _take_brackets_for_text(command: Any) -> None:
    """Let the help of options say "[default: all cores]", which rich would take for markup and leave out."""
    for param in command.params:
        param.help = (param.help or "").replace("[", "\\[") or None
    for below in getattr(command, "commands", {}).values():
        _take_brackets_for_text(below)


def _let_paragraphs_flow(command: Any) -> None:
    """Let lines of a paragraph be as long as the terminal is wide, not as in the source; examples keep theirs."""
    parts = inspect.cleandoc(command.help or "").split("\n\n")
    told = [part if EXAMPLE in part else " ".join(part.split()) for part in parts]
    command.help = "\n\n".join(told) or None
    for below in getattr(command, "commands", {}).values():
        _let_paragraphs_flow(below)


def _check_limits_first(command: Any) -> None:
    """Have a command, or each of a group, look at its numbers and at the system's limits before it starts.

    Its help needs neither.
    """
    run = command.callback
    for below in getattr(command, "commands", {}).values():
        _check_limits_first(below)

    def limited(**values: Any) -> Any:
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):  # what a range of Click's lets through
                raise InputError(f"{named(name)} {value} is out of range; give a finite number")
        ensure_limits()
        return run(**values)

    if not hasattr(command, "commands") or command.invoke_without_command:
        command.callback = limited


def run() -> None:
    """``main`` as a process of its own, which ends with it."""
    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        leave(end.code)


def main() -> None:
    """Run the command line; every expected error ends as one sentence on stderr and its exit code."""
    spare_the_processor()
    sys.stdout, sys.stderr = outliving(sys.stdout), outliving(sys.stderr)
    try:
        with _terminated_like_interrupted():
            application()(prog_name="avseg")
    except Exception as error:
        if debugging() or not (told := _explain(error)):
            raise
        message, code = told
        with suppress(OSError):  # what reads it may be gone
            print(f"avseg: {printable(message)}", file=sys.stderr)
        sys.exit(code)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that closes, end a run as Ctrl-C does: cleaned up, with exit code 130."""
    own = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        if os.getpid() == own:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)  # a process forked from this one ends as if nothing were set
        os.kill(os.getpid(), number)

    before = {number: signal.signal(number, interrupt) for number in heard("SIGTERM", "SIGHUP")}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _explain(error: Exception) -> tuple[str, int] | None:
    """The sentence and exit code for an error that reached the command line; None where it is a mistake of ours."""
    error = about_memory(error) or error
    if isinstance(error, AvsegError):
        return said(error), error.exit_code
    if isinstance(error, OSError):  # disk, permissions
        return f"{error.filename or 'the system'}: {error.strerror or error}", 5
    return None
