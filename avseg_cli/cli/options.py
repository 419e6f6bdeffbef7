"""Options of a command made from the fields of an options dataclass, so that none is spelled twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from avseg_cli.base.errors import AvsegError, InputError, named
from avseg_cli.base.option_fields import Option, options_of
from avseg_cli.base.text import either
from avseg_cli.cli.completion import checkpoints, list_of, one_of

# Where a flag is not the field's name with hyphens; those that fields declare are added as commands are made of them.
FLAGS = {
    "output": "-o",
    "formats": "--format",
    "stages": "--stage",
    "recipes": "--recipe",
}
COMPLETIONS = {"checkpoint": checkpoints}  # of fields whose words are not known beforehand


def said(error: AvsegError) -> str:
    """An error's message as the command line says it: flags for fields."""
    return error.with_flags(lambda name: FLAGS.get(name, f"--{name.replace('_', '-')}"))


Job = type | tuple[type, Sequence[str]] | list[inspect.Parameter]


def made_of(**jobs: Job) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of commands: in place of each parameter named here stand options for the fields of its dataclass.

    The command is given what the user said as a dictionary, field -> value. ``(dataclass, names)`` takes those alone; a
    list of parameters stands for itself. A tuple is given as one text with commas between.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        known = {name: _parameters(job) for name, job in jobs.items()}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            parameters += known.get(parameter.name, [own])

        @wraps(command)
        def run(**values: Any) -> None:
            for name, fields in known.items():
                values[name] = {field.name: _given(field, values.pop(field.name)) for field in fields}
            command(**values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  typer reads it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameters(job: Job) -> list[inspect.Parameter]:
    if isinstance(job, list):
        return job
    kind, names = job if isinstance(job, tuple) else (job, ())
    types, known = get_type_hints(kind), options_of(kind)
    defaults = inspect.signature(kind).parameters
    return [_parameter(name, types[name], _default(defaults[name]), known[name]) for name in names or known]


def _default(field: inspect.Parameter) -> Any:
    """None where the dataclass has none: whether it was given is for the command to see."""
    return None if field.default is inspect.Parameter.empty else field.default


def _parameter(name: str, kind: Any, default: Any, facts: Option) -> inspect.Parameter:
    """The field as typer has it; bounds that belong to the allowed values are shown and refused by click itself."""
    many = get_origin(kind) is tuple and facts.read is None
    words = facts.help or (either(facts.offers) if facts.offers else None)
    complete = (list_of if many else one_of)(*facts.offers) if facts.offers else COMPLETIONS.get(name)
    shown: str | bool = True
    if many:
        values = [value if isinstance(value, str) else f"{value:g}" for value in default]
        default, shown = ",".join(values), ", ".join(values) or False  # with places to break the line at
    if facts.unset or facts.read:
        default = facts.unset or facts.written
    switch = (f"--{name.replace('_', '-')}",) if default is False else ()  # without its --no-
    option = typer.Option(
        *(facts.flags or switch), min=facts.least, max=None if facts.unset else facts.most, metavar=facts.metavar,
        rich_help_panel=facts.panel, help=words, autocompletion=complete, show_default=shown, envvar=facts.variable,
        parser=partial(_number, unset=facts.unset) if facts.unset else None,
    )  # fmt: skip
    if facts.flags:
        FLAGS[name] = facts.flags[0]
    annotation = Annotated[str if many or facts.unset or facts.read else kind, option, kind, facts]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _given(field: inspect.Parameter, value: Any) -> Any:
    """What the user said for a field, as the field has it."""
    kind, facts = get_args(field.annotation)[-2:]
    if not isinstance(facts, Option):  # a parameter that stands for itself
        return value
    flag = f"--{field.name.replace('_', '-')}"
    if facts.unset is not None:
        return None if value == facts.unset else value
    if facts.read is not None:
        return _read(field.name, facts.read, value)
    if get_origin(kind) is not tuple:
        return value
    made = get_args(kind)[0]
    try:
        return tuple(made(part.strip()) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is not numbers with commas between", param_hint=flag) from error


def _read(name: str, read: Callable[[str], Any], value: str) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise InputError(f"{named(name)} {value}: {error}") from error


def _number(value: str | float, unset: str) -> str | float:
    """A number, or the word that stands for none; files say numbers as they are."""
    try:
        return unset if value == unset else float(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is not a number, nor {unset}") from error
