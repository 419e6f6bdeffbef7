"""Defaults of options from TOML files, and the environment variable of each option.

A table for each command, a key for each of its options, by its long name::

    [segment]
    format = ["overlay", "json"]
    fps = 2

    [weights.download]
    offline = true

What is said on the command line wins over the environment, that over ./avseg.toml, and that over the user's own
file. Click does the choosing: the ``default_map`` of every command is filled here, and the ``envvar`` of every option.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from avseg_cli.base.errors import InputError

LOCAL_FILE = "avseg.toml"
USER_FILE = "config.toml"
PREFIX = "AVSEG"
KEPT_OUT = ("config", "help", "version", "install-completion", "show-completion")  # options that configure nothing


@dataclass
class Config:
    """What the files say: ``defaults`` of each command, by its path, and the file each value came from."""

    defaults: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    origins: dict[tuple[str, ...], Path] = field(default_factory=dict)  # (command, …, parameter) -> file

    def origin(self, context: Any, parameter: str) -> Path | None:
        """The file a parameter's value came from, None where it came from elsewhere."""
        source = context.get_parameter_source(parameter)
        if source is None or source.name != "DEFAULT_MAP":
            return None
        return self.origins.get((*_path(context), parameter))

    def give_to(self, command: Any, path: tuple[str, ...] = ()) -> None:
        """Fill the ``default_map`` of a command and of all below it.

        Click would look for that of ``synth sounds`` in its parent's, where the option ``--sounds`` has this name.
        """
        command.context_settings = {**command.context_settings, "default_map": self.defaults.get(path, {})}
        for name, below in getattr(command, "commands", {}).items():
            self.give_to(below, (*path, name))


def read_config(command: Any, explicit: Path | None) -> Config:
    """The defaults for ``command`` (the whole application): from ``explicit`` alone if given, else the usual files.

    Raises ``InputError`` naming file and key for what cannot be read or does not exist.
    """
    config = Config()
    for file in reversed([explicit] if explicit else usual_files()):
        _merge(config, _parse(file), command, file, ())
    return config


def usual_files() -> list[Path]:
    """The files that are there, the strongest first: ./avseg.toml, then the user's own."""
    return [file for file in (Path(LOCAL_FILE), user_file()) if file.is_file()]


def user_file() -> Path:
    """Where the user's own file belongs on this system."""
    from platformdirs import user_config_path

    return user_config_path("avseg") / USER_FILE


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: the configuration cannot be read ({error.strerror or error})") from error
    except RecursionError as error:
        raise InputError(f"{file}: not valid TOML: nested too deeply") from error
    except ValueError as error:  # not TOML, or not text
        raise InputError(f"{file}: not valid TOML: {error}") from error


def _merge(config: Config, values: dict[str, Any], command: Any, file: Path, path: tuple[str, ...]) -> None:
    """Put what a table says over the defaults of its command and those below it."""
    commands, options = getattr(command, "commands", {}), options_of(command)
    for written, value in values.items():
        name = written.replace("_", "-")
        if name in commands and isinstance(value, dict):
            _merge(config, value, commands[name], file, (*path, name))
        elif name in options and not isinstance(value, dict):
            parameter = options[name].name
            config.defaults.setdefault(path, {})[parameter] = _as_option(options[name], value)
            config.origins[(*path, parameter)] = file
        else:
            raise InputError(_unknown(file, path, written, value, [*commands, *options]))


def _as_option(option: Any, value: Any) -> Any:
    """An array stands for a list with commas where the option takes one text."""
    if isinstance(value, list) and not option.multiple and option.nargs == 1:
        return ",".join(map(str, value))
    return value


def _unknown(file: Path, path: tuple[str, ...], name: str, value: Any, names: list[str]) -> str:
    place = f"[{'.'.join(path)}]" if path else "the top level"
    kind = "table" if isinstance(value, dict) else "key"
    nearest = get_close_matches(name.replace("_", "-"), names, n=1, cutoff=0.0)
    return f"{file}: {place} takes no {kind} {name!r}; the nearest name it knows is {nearest[0]!r}"


def options_of(command: Any) -> dict[str, Any]:
    """The options of one command that can be configured, by long name without dashes."""
    named = ((long_name(param), param) for param in command.params if param.param_type_name == "option")
    return {name: param for name, param in named if name not in KEPT_OUT}


def long_name(option: Any) -> str:
    """``output`` of ``-o/--output``."""
    return max(option.opts, key=lambda text: text.startswith("--")).lstrip("-")


def name_variables(command: Any, prefix: str = PREFIX) -> None:
    """Give every option its environment variable, AVSEG_<COMMAND>_<OPTION>, which wins over any it has already."""
    for name, option in options_of(command).items():
        own = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        if own and option.show_envvar:  # the rule is told once, the exceptions at their option
            option.help = f"{option.help} [env var: {', '.join(own)}]"
        option.show_envvar = False
        option.envvar = list(dict.fromkeys([_variable(prefix, name), *own]))
    for name, below in getattr(command, "commands", {}).items():
        name_variables(below, f"{prefix}_{name}")


def variables(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """(command, option, environment variable) of every option there is."""
    for name, option in options_of(command).items():
        yield " ".join(path), f"--{name}", option.envvar[0]
    for name, below in getattr(command, "commands", {}).items():
        yield from variables(below, (*path, name))


def check_environment(command: Any, environment: Iterable[str]) -> None:
    """Refuse variables that name a command but none of its options, as a misspelt key is refused in a file.

    Raises ``InputError`` naming the nearest one there is.
    """
    known = sorted(_all_variables(command, PREFIX))
    begins = tuple(_variable(PREFIX, f"{name}_") for name in command.commands)
    for name in sorted(environment):
        if name.startswith(begins) and name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.0)
            raise InputError(f"{name}: no option has this variable; the nearest is {nearest[0]}")


def _all_variables(command: Any, prefix: str) -> Iterator[str]:
    for name, option in options_of(command).items():
        yield _variable(prefix, name)
        yield from [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
    for name, below in getattr(command, "commands", {}).items():
        yield from _all_variables(below, f"{prefix}_{name}")


def _variable(prefix: str, name: str) -> str:
    return f"{prefix}_{name}".upper().replace("-", "_")


def _path(context: Any) -> tuple[str, ...]:
    """The names of the commands that lead to a context, without the program's own."""
    return () if context.parent is None else (*_path(context.parent), context.info_name)
