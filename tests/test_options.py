"""Options said once: bounds, what is wrong with a value, and the command line made from the fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import typer
from typer.testing import CliRunner

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.option_fields import Option, check, option, options_of
from avseg_cli.cli.options import made_of, said
from avseg_cli.outputs.style import Style
from avseg_cli.segment.many_options import ManyOptions
from avseg_cli.segment.segment_options import SegmentOptions


@dataclass(frozen=True)
class Job:
    learning_rate: float = option(1e-4, "How far a step goes.", above=0)
    clips_at_once: int | None = option(None, "Together.", least=1, most=8, unit="clips")
    kind: str = option("plain", offers=("plain", "fancy"), only=True)
    aloud: bool = option(False, flags=("--aloud",))
    inside: int = 3  # not for the user

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"learning_rate": 0.0}, "learning_rate 0 is out of range; give more than 0"),
        ({"learning_rate": math.nan}, "learning_rate nan"),
        ({"learning_rate": math.inf}, "learning_rate inf"),
        ({"clips_at_once": 9}, "clips_at_once 9 is out of range; give 1 to 8 clips"),
        ({"kind": "odd"}, "kind is 'odd'; give one of plain, fancy"),
    ],
)
def test_a_value_out_of_bounds_is_named_by_its_field(values: dict, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Job(**values)


def test_large_bounds_are_said_in_digits() -> None:
    assert Option(above=0, most=1e9, unit="seconds").range_text() == "more than 0 and at most 1000000000 seconds"
    assert Option(least=0.1, most=86400.0).range_text() == "0.1 to 86400"


@pytest.mark.parametrize(
    "values",
    [{"fps": 0}, {"fps": 2.5}, {"stride": 0}, {"threshold": 1}, {"batch_size": 0}, {"start": -1}, {"duration": 0}],
    ids=str,
)
def test_segment_options_are_checked_when_they_are_made(values: dict) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(values))} .*is (out of range|not whole)"):
        SegmentOptions(**values)
    with pytest.raises(InputError, match="^opacity 2 is out of range"):
        Style(opacity=2)


def test_messages_name_fields_to_callers_and_flags_on_the_command_line() -> None:
    error = InputError(f"{named('batch_size')} 0 and {named('learning_rate')} 0 make nothing")
    assert str(error) == "batch_size 0 and learning_rate 0 make nothing"
    assert said(error) == "--batch-size 0 and --lr 0 make nothing"


def test_a_command_is_made_of_the_fields() -> None:
    got: list = []
    app = typer.Typer()

    @app.command()
    @made_of(given=Job)
    def work(*, name: str, given: dict) -> None:
        got.append((name, Job(**given)))

    ran = CliRunner().invoke(app, ["it", "--learning-rate", "2", "--clips-at-once", "8", "--aloud"])
    assert ran.exit_code == 0 and got == [("it", Job(2.0, 8, aloud=True))]
    shown = CliRunner().invoke(app, ["--help"]).output
    assert all(f"--{name.replace('_', '-')}" in shown for name in options_of(Job)) and "--inside" not in shown
    assert CliRunner().invoke(app, ["it", "--clips-at-once", "9"]).exit_code == 2


@dataclass(frozen=True)
class Many:
    names: tuple[str, ...] = option(("one", "two"), "Things.", offers=("one", "two", "three"))
    lengths: tuple[float, ...] = option((), "Seconds.")


def test_a_tuple_is_a_text_with_commas_between() -> None:
    got: list = []
    app = typer.Typer()

    @app.command()
    @made_of(given=Many)
    def work(*, given: dict) -> None:
        got.append(Many(**given))

    for arguments, expected in (
        ([], Many()),
        (["--names", "three, one", "--lengths", "2,0.5"], Many(("three", "one"), (2.0, 0.5))),
        (["--names", ""], Many(())),
    ):
        assert CliRunner().invoke(app, arguments).exit_code == 0 and got.pop() == expected
    refused = CliRunner().invoke(app, ["--lengths", "2,long"])
    assert refused.exit_code == 2 and "'2,long' is not numbers" in refused.output and "--lengths" in refused.output


@pytest.mark.parametrize(("given", "value"), [([], None), (["--fps", "auto"], None), (["--fps", "2"], 2.0)])
def test_a_word_stands_for_what_the_job_chooses(given: list[str], value: float | None) -> None:
    app, seen = typer.Typer(), []
    app.command()(made_of(job=(SegmentOptions, ("fps",)))(lambda *, job: seen.append(job)))
    assert CliRunner().invoke(app, given).exit_code == 0
    assert seen == [{"fps": value}]
    refused = CliRunner().invoke(app, ["--fps", "fast"])
    assert refused.exit_code == 2 and "is not a number, nor auto" in " ".join(refused.output.split())


def test_a_text_is_read_as_its_field_says() -> None:
    app, seen = typer.Typer(), []
    app.command()(made_of(job=(Style, ("color",)))(lambda *, job: seen.append(job)))
    assert CliRunner().invoke(app, []).exit_code == 0 and CliRunner().invoke(app, ["--color", "#0a0b0c"]).exit_code == 0
    assert seen == [{"color": Style().color}, {"color": (10, 11, 12)}]
    refused = CliRunner().invoke(app, ["--color", "pink"]).exception
    assert isinstance(refused, InputError) and said(refused).startswith("--color pink: not a colour; give six")


@pytest.mark.parametrize("values", [{"overwrite": True, "skip_existing": True}, {"watch": True, "ray": "auto"}])
def test_options_of_many_videos_may_contradict_each_other(values: dict) -> None:
    with pytest.raises(InputError, match=" and ".join(values) + " contradict each other"):
        ManyOptions(**values)
