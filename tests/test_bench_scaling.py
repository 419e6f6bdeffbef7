"""avseg bench --scaling: real runs of avseg segment, the line through them, and the picture."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError
from avseg_cli.bench import scaling
from avseg_cli.bench.bench_options import ScalingOptions
from avseg_cli.bench.scaling import Point, check_plot, fit, make_video, run_scaling
from avseg_cli.cli import app


def test_runs_are_measured_and_drawn(tiny_checkpoint: Path, tmp_path: Path) -> None:
    plot = tmp_path / "scaling.png"
    arguments = ["bench", "--scaling", "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--json"]
    result = CliRunner().invoke(
        app, [*arguments, "--lengths", "2,4", "--rates", "1", "--plot", str(plot)], catch_exceptions=False
    )
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert [(point["video_seconds"], point["fps"]) for point in report["points"]] == [(2, 1), (4, 1)]
    for point in report["points"]:
        assert point["seconds"] > 0.1 and point["cpu_seconds"] > 0.1 and point["peak_bytes"] > 50e6
    assert report["startup"]["help_seconds"] < report["startup"]["one_second_video_seconds"]
    assert Image.open(plot).size[0] > 1500


def test_what_the_measuring_process_holds_does_not_count() -> None:
    held = np.ones(60_000_000)  # 480 MB
    _, busy, peak = scaling._run(["--help"])
    assert held.sum() and 0.05 < busy < 60
    assert 5e6 < peak < 300e6


def test_the_line_goes_through_the_points() -> None:
    lengths = (10.0, 20.0, 40.0)
    points = [Point(length, 2.0, 3 + 0.25 * length, 2 + 0.5 * length, int(1e8 + length)) for length in lengths]
    line = fit([*points, Point(10.0, 1.0, 99.0, None, None)], 2.0)
    assert line["seconds_per_video_second"] == pytest.approx(0.25)
    assert line["seconds_to_start"] == pytest.approx(3)
    assert line["cpu_seconds_per_video_second"] == pytest.approx(0.5)
    assert line["memory_growth"] == pytest.approx(1, abs=1e-6)


def test_a_failing_run_says_why() -> None:
    with pytest.raises(AvsegError, match="`avseg segment` failed: .*no-such-model"):
        run_scaling(ScalingOptions((1.0, 2.0), (1.0,), checkpoint="no-such-model"))


@pytest.mark.parametrize(
    ("lengths", "rates", "said"),
    [
        ((2.0,), (1.0,), "two different lengths"),
        ((1.0, 2.0), (0.0,), "rates.* 0 is out of range"),
        ((-1.0, 2.0), (1.0,), "lengths.* -1 is out of range"),
    ],
)
def test_lengths_without_a_line_are_refused(lengths: tuple, rates: tuple, said: str) -> None:
    with pytest.raises(AvsegError, match=said):
        ScalingOptions(lengths, rates)


@pytest.mark.parametrize("name", ["plot.docx", "plot", "nowhere/plot.png"])
def test_a_plot_that_cannot_be_is_refused_before_the_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(AvsegError, match="no picture format|folder is not there"):
        check_plot(tmp_path / name)


def test_words_for_numbers_are_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "--scaling", "--lengths", "long"])
    assert result.exit_code == 2


def test_the_videos_are_as_long_as_they_say(tmp_path: Path) -> None:
    with av.open(str(make_video(tmp_path / "v.mp4", 3.0))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples == pytest.approx(48_000, abs=2_048)
