"""Every option that takes a number, found by asking the command line, refuses absurd ones before anything starts.

What the commands are given besides does not exist: whoever names that, rather than the option, has begun to work.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from command_line import run_avseg

from avseg_cli.cli import application
from avseg_cli.cli.config_file import long_name

WHOLE = ("-1", "1" + 22 * "0")
FRACTION = ("nan", "inf", "-inf", "-1", "1e300")
GIVEN = {
    "train": ("--data", "nowhere", "--subset", "ms3", "--out", "made", "--backbone", "tiny", "--device", "cpu"),
    "ablate": ("--data", "nowhere", "--subset", "ms3", "--out", "made", "--backbone", "tiny", "--device", "cpu"),
    "evaluate": ("--data", "nowhere", "--checkpoint", "nowhere.safetensors"),
    "prepare": ("--data", "nowhere"),
    "synth": ("--media", "nowhere", "--out", "made"),
    "bench": ("--checkpoint", "nowhere.safetensors"),
    "weights download": ("nothing",),
}  # what a command needs, or takes first, besides its arguments


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, by the words that call it, groups that do something themselves among them."""
    below = getattr(command, "commands", {})
    if path and (not below or command.invoke_without_command):
        yield path, command
    for name, inner in below.items():
        yield from commands(inner, (*path, name))


def kinds(annotation: Any) -> set[type]:
    """The types in ``int | None``, ``tuple[float, ...]`` and the like."""
    return {annotation}.union(*map(kinds, get_args(annotation)))


def numbers() -> Iterator[tuple[tuple[str, ...], str, tuple[str, ...]]]:
    """(words of the command, option, values to be refused)."""
    for path, command in commands(application()):
        for option in command.params:
            found = kinds(option.type_descriptor.annotation) & {int, float}
            if option.param_type_name == "option" and found:
                yield path, f"--{long_name(option)}", FRACTION if float in found else WHOLE


@pytest.mark.parametrize(("command", "flag", "values"), numbers(), ids=lambda value: "".join(value[:1]))
def test_absurd_numbers_are_refused_before_anything_starts(command, flag, values, tmp_path: Path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leaf = dict(commands(application()))[command]
    arguments = ["nowhere.mp4" for param in leaf.params if param.param_type_name == "argument" and param.required]
    given = GIVEN.get(" ".join(command), arguments)
    for value in values:
        ran = run_avseg(capfd, monkeypatch, *command, *given, f"{flag}={value}")
        assert ran.code == 2 and flag in ran.err, f"{flag}={value}: {ran.code} {ran.err}"
        assert list(tmp_path.iterdir()) == []


def test_there_are_such_options() -> None:
    assert len(list(numbers())) > 40
