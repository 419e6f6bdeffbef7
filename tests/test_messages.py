"""What people read: help, tables, warnings, plots."""

from __future__ import annotations

import ast
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import run_avseg
from matplotlib.figure import Figure
from media_files import Clip
from rich.console import Console
from test_absurd_values import commands

import avseg_cli
from avseg_cli.ablation.ablate import VariantScore, draw_depth
from avseg_cli.attention.maps import fusion_maps
from avseg_cli.base.errors import CheckpointError, OutputError
from avseg_cli.base.text import counted
from avseg_cli.bench.printing import WIDTH, _table
from avseg_cli.checkpoints.describe import describe
from avseg_cli.cli import application
from avseg_cli.cli.batch_pace import BatchPace
from avseg_cli.cli.listener import Announcer
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.pages.plots import QUIET, curve
from avseg_cli.segment.outcome import Outcome
from avseg_cli.segment.render import Rendered
from avseg_cli.segment.tally import FEW
from avseg_cli.training.run_folder import _draw


@pytest.fixture
def avseg(capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    return lambda *arguments: run_avseg(capfd, monkeypatch, *arguments)


@pytest.mark.parametrize("command", [words for words, _ in commands(application())], ids=" ".join)
def test_no_help_is_cut_at_80_columns(avseg, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = avseg(*command, "--help").out
    cut = [line for line in text.splitlines() if re.search(r"\w…\s*│", line) and "INPUTS…" not in line]
    assert "Usage" in text and not cut


def test_paragraphs_of_help_are_as_wide_as_the_terminal(avseg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines ended where the source's did, in the middle of a narrower terminal's; examples keep a line each."""
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("segment", "attention"):
        said = [line.rstrip() for line in avseg(command, "--help").out.split("╭")[0].splitlines()]
        for line, following in zip(said, said[1:], strict=False):
            word = following.split()[:1]
            if line and word and "avseg" not in following:
                assert len(f"{line} {word[0]}") > 78, line
    assert " avseg segment incoming/ -r -o out --watch\n" in re.sub(" +\n", "\n", avseg("segment", "--help").out)


THINGS = "masks|clips|videos|files|places|photographs|recordings|frames|epochs|packets|inputs|warnings"


def test_one_of_a_thing_is_said_as_one() -> None:
    """A number before the name of a thing in a message comes from ``counted``, which knows how one is said."""
    for path in Path(avseg_cli.__file__).parent.rglob("*.py"):
        for text in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = text.values if isinstance(text, ast.JoinedStr) else []
            said = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
            assert not re.search(rf"(?<!the ){{}} (whole )?({THINGS})\b(?!/)", said), f"{path.name}: {said}"


def test_what_stands_in_brackets_is_not_taken_for_markup(avseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "avseg[cluster]" in avseg("segment", "--help").out
    assert "[default: OUT/embeddings]" in avseg("train", "--help").out
    assert "[env var: AVSEG_OFFLINE]" in avseg("weights", "download", "--help").out


def test_a_misspelt_variable_is_refused_as_a_misspelt_key_is(avseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSEG_SEGMENT_FSP", "2")
    ran = avseg("segment", "clip.mp4")
    assert ran.code == 2 and "AVSEG_SEGMENT_FSP" in ran.err and "nearest is AVSEG_SEGMENT_FPS" in ran.err
    monkeypatch.delenv("AVSEG_SEGMENT_FSP")
    monkeypatch.setenv("AVSEG_SEGMENT_FPS", "0")
    assert "0" in avseg("segment", "clip.mp4").err


def test_weights_that_are_no_model_are_told_from_a_misspelt_name(avseg, tmp_path: Path) -> None:
    clip = Clip(seconds=0.3).write(tmp_path / "clip.mp4")
    ran = avseg("segment", clip, "--checkpoint", "sam_vit_b")
    assert ran.code == 3 and "not a model that segments" in ran.err
    ran = avseg("segment", clip, "--checkpoint", "sam_vit_x")
    assert ran.code == 3 and "`avseg weights list`" in ran.err


def test_doctor_and_card_count_the_same_parameters(avseg) -> None:
    count = describe("default")["parameters"]["total"]
    assert f"{count / 1e6:.2f} M parameters" in (lambda ran: ran.out + ran.err)(avseg("doctor"))


def told(outcomes: list[Outcome]) -> str:
    report = Announcer(len(outcomes), quiet=False, as_json=False)
    with report.console.capture() as captured:
        for outcome in outcomes:
            report.ended(outcome)
        report.summary()
    return captured.get()


def test_sound_is_told_of_what_has_it_and_one_mask_is_one() -> None:
    outputs = {name: Path(f"clip.{name}") for name in ("overlay", "json", "masks")}
    rendered = Rendered(outputs, masks=1, frames=10, seconds=1.0, sound="copied")
    lines = told([Outcome(Path("clip.mp4"), "done", outputs, rendered=rendered)])
    assert [line.split("s, ", 1)[1] for line in lines.splitlines()] == [
        "1 mask (1 a second), sound copied",
        "1 mask (1 a second)",
        "1 mask (1 a second)",
    ]
    assert counted(2, "mask") == "2 masks"


def test_a_large_batch_ends_in_totals_and_what_failed() -> None:
    outcomes = [Outcome(Path(f"{number}.mp4"), "skipped", {}, reason="exists") for number in range(5000)]
    outcomes[7] = Outcome(Path("7.mp4"), "failed", {}, error=OutputError("7.mp4: no"))
    outcomes[9] = Outcome(Path("9.mp4"), "done", {}, rendered=Rendered({}, masks=1, warnings=["cut off"]))
    text = told(outcomes)
    assert "1 done, 4998 skipped (exists), 1 failed, 1 with warnings" in text
    assert text.startswith("5000 inputs in 0:00: ") and text.endswith(":\n  7.mp4: no\n")
    failed = [Outcome(Path(f"{n}.mp4"), "failed", {}, error=OutputError("no")) for n in range(5000)]
    assert f"the first {FEW} that failed" in told(failed) and len(told(failed).splitlines()) == FEW + 1


def test_a_log_says_now_and_then_how_far_a_large_batch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a hundred were there already: they say nothing of the time left."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(BatchPace.__init__, "__defaults__", (lambda: now[0],))
    with Announcer(100, quiet=False, as_json=False) as report, report.console.capture() as captured:
        for number in range(50):
            report.ended(Outcome(Path(f"{number}.mp4"), "skipped", {}, reason="exists"))
        for number in range(50, 75):
            now[0] += 4
            report.ended(Outcome(Path(f"{number}.mp4"), "done", {}, rendered=Rendered({})))
    lines = captured.get().splitlines()
    assert lines == ["58 of 100, about 2:48 left", "66 of 100, about 2:16 left", "74 of 100, about 1:44 left"]


def test_the_pace_of_a_batch_counts_the_parts_that_are_done() -> None:
    now = [0.0]
    pace = BatchPace(4, lambda: now[0])
    assert pace.left is None
    now[0] = 10
    pace.at("a", 0.5)
    pace.at("b", 0.5)
    assert pace.left == 30
    pace.end("a", True)
    assert pace.done == 1.5 and pace.ended == 1


def test_a_damaged_file_is_not_plainly_done() -> None:
    """As one of which 0.3 of 5 seconds can be decoded."""
    good = Outcome(Path("good.mp4"), "done", {}, rendered=Rendered({}, masks=5))
    cut = Rendered({}, masks=1, warnings=["pictures end at 0.3 s of 5.0 s"])
    bad = Outcome(Path("bad.mp4"), "done", {}, rendered=cut)
    good_row, bad_row = [line for line in told([good, bad]).splitlines() if ".mp4" in line and "done" in line]
    assert "1 warning" in bad_row and "warning" not in good_row


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_nothing_is_between_whole_numbers(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs and blocks, also of a run that has had but one."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    monkeypatch.setattr("avseg_cli.pages.plots.svg", lambda figure, told: figures.append(figure))
    curve([(epoch, 0.5) for epoch in range(1, count + 1)], "loss", "epoch", "")
    _draw([{"epoch": epoch, "loss": 1.0, "score": 0.5} for epoch in range(1, count + 1)], tmp_path / "curves.png")
    draw_depth(
        [VariantScore(f"depth-{depth}", 0.5, 0.5, 0.5, "x") for depth in range(1, count + 1)], "ms3", tmp_path / "d.png"
    )
    axes = [axis for figure in figures for axis in figure.axes]
    assert len(axes) == 4
    for axis in axes:
        low, high = axis.get_xlim()
        ticks = [tick for tick in axis.get_xticks() if low <= tick <= high]
        assert ticks and all(float(tick).is_integer() for tick in ticks)


def test_epochs_are_whole_and_plots_can_be_read_and_heard() -> None:
    text = curve([(1, 0.5), (2, 0.25), (3, 0.125)], "loss & more", "epoch", "")
    ticks = re.findall(r">([\d.]+)</text>", text)
    assert {"1", "2", "3"} <= set(ticks) and not {"1.5", "1.25", "2.5"} & set(ticks)
    assert 'role="img" aria-label="loss &amp; more: 0.5 at epoch 1, 0.125 at epoch 3"' in text
    assert QUIET not in text and "var(--quiet)" in text


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours."""

    def light(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_the_quiet_colour_of_pages_is_readable_in_light_and_dark() -> None:
    import avseg_cli.pages as pages

    style = (Path(pages.__file__).parent / "templates/style.css").read_text()
    grounds = [re.findall(rf"--{name}: (#\w+)", style) for name in ("quiet", "ground", "panel")]
    for quiet, *others in zip(*grounds, strict=True):
        assert all(contrast(quiet, ground) >= 4.5 for ground in others)


def test_a_model_without_blocks_has_no_attention_to_show() -> None:
    config = replace(preset("tiny"), fusion_depth=0)
    model = AvsegModel(config)
    embeddings = torch.zeros(1, 2, config.out_chans, config.grid, config.grid)
    with pytest.raises(CheckpointError, match="fusion_depth 0"):
        fusion_maps(model, embeddings, torch.zeros(1, 2, config.audio_dim))


def test_info_takes_what_its_advice_names(avseg, tmp_path: Path) -> None:
    clip = Clip(seconds=4).write(tmp_path / "clip.mp4")
    ran = avseg("info", clip, "--fps", "0.5")
    assert ran.code == 2 and "--consecutive" in ran.err
    assert avseg("info", clip, "--fps", "0.5", "--consecutive").code == 0


def test_the_tables_of_bench_are_not_cut() -> None:
    side = {"precision": "bf16", "seconds": 123.4, "peak_bytes": 123_456_789_012, "flops": 1e15,
            "share_of_roofline": 0.5, "threads": 2}  # fmt: skip
    row = {"part": "encoder, 1024 pixels, 32 of 32 blocks, batch of 5 frames " * 2, "reference": side, "ours": side,
           "speedup": 1234.5, "cpu_speedup": 1234.5, "memory_ratio": 10.0, "relative_error": 1e-9, "mask_iou": 0.5,
           "whole_by_arithmetic": {"reference": 12345.0, "ours": 12345.0, "speedup": 100.0}}  # fmt: skip
    console = Console(width=WIDTH)
    with console.capture() as captured:
        console.print(_table([row]))
    assert "…" not in captured.get()


@pytest.mark.parametrize("command", ["evaluate", "prepare"])
def test_what_data_is_wanted_is_said_to_the_end(avseg, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.delenv("AVSEG_DATA", raising=False)
    ran = avseg(command, *(["--checkpoint", "default"] if command == "evaluate" else []))
    assert ran.code == 2 and ran.err.strip().endswith("Multi-sources, or the csv of another layout")
