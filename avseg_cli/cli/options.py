"""Options of a command made from the fields of an options dataclass, so that none is spelled twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from avseg_cli.base.errors import AvsegError
from avseg_cli.base.option_fields import Option, options_of
from avseg_cli.cli.completion import either, one_of

FLAGS = {"output": "-o", "learning_rate": "--lr"}  # where a flag is not the field's name with hyphens


def said(error: AvsegError) -> str:
    """An error's message as the command line says it: flags for fields."""
    return error.with_flags(lambda name: FLAGS.get(name, f"--{name.replace('_', '-')}"))


Job = type | tuple[type, Sequence[str]] | list[inspect.Parameter]


def made_of(**jobs: Job) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of commands: in place of each parameter named here stand options for the fields of its dataclass.

    The command is given what the user said as a dictionary, field -> value. ``(dataclass, names)`` takes those alone; a
    list of parameters stands for itself.
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
                values[name] = {field.name: values.pop(field.name) for field in fields}
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
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name].default,
            annotation=Annotated[types[name], _option(known[name])],
        )
        for name in names or known
    ]  # fmt: skip


def _option(facts: Option) -> Any:
    """The field as typer has it; bounds that belong to the allowed values are shown and refused by click itself."""
    words = facts.help or (either(facts.offers) if facts.offers else None)
    return typer.Option(
        *facts.flags, min=facts.least, max=facts.most, metavar=facts.metavar, rich_help_panel=facts.panel, help=words,
        autocompletion=one_of(*facts.offers) if facts.offers else None,
    )  # fmt: skip
