"""``avseg bench --scaling``: what ``avseg segment`` costs as videos get longer and masks more frequent.

Every point is a process of its own on a video made here, so that time includes all a user waits for and
memory is that run's own peak.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from avseg_cli.base.errors import AvsegError, OutputError
from avseg_cli.base.whole_files import write_whole
from avseg_cli.base.writing import writing
from avseg_cli.bench.bench_options import ScalingOptions
from avseg_cli.checkpoints.checkpoint import load_model
from avseg_cli.media.sample import make_video

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HELP_RUNS = 3


@dataclass(frozen=True)
class Point:
    """One run of ``avseg segment``."""

    video_seconds: float
    fps: float
    seconds: float  # of the whole process
    cpu_seconds: float | None  # of its processors; steadier where others compute too
    peak_bytes: int | None  # resident; both None where the system does not tell (Windows)


def run_scaling(options: ScalingOptions, on_run: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure every pair of video length and masks a second; also what starting costs.

    Raises ``AvsegError`` with the command's own message when a run fails.
    """
    lengths, rates = options.lengths, options.rates
    with TemporaryDirectory(prefix="avseg-scaling-") as folder:
        videos = {length: make_video(Path(folder) / f"{length:g}.mp4", length) for length in sorted({1.0, *lengths})}
        common = ["--checkpoint", options.checkpoint, "--device", options.device]
        on_run("starting: --help, and a video of one second")
        started = startup(videos[1.0], common)
        points = []
        for fps in rates:
            for length in lengths:
                on_run(f"{length:g} s of video at --fps {fps:g}")
                points.append(Point(length, fps, *_segment(videos[length], fps, common)))
    return {
        "startup": started,
        "points": [asdict(point) for point in points],
        "fits": [fit(points, fps) for fps in rates],
    }


def startup(video: Path, common: list[str]) -> dict[str, float]:
    """What starting costs: ``--help``, and a video of one second from the start of the command to its mask."""
    helps = [_run(["--help"])[0] for _ in range(HELP_RUNS)]
    return {"help_seconds": min(helps), "one_second_video_seconds": _segment(video, 1.0, common)[0]}


def measure_startup(checkpoint: str = "default", device: str = "auto") -> dict[str, float]:
    """``startup`` on a video made for it; raises ``AvsegError`` with the command's own message when a run fails."""
    with TemporaryDirectory(prefix="avseg-startup-") as folder:
        return startup(make_video(Path(folder) / "1.mp4", 1.0), ["--checkpoint", checkpoint, "--device", device])


def fit(points: list[Point], fps: float) -> dict[str, float | None]:
    """The straight line through the points of one rate: what a second of video costs, and how far memory moved."""
    own = [point for point in points if point.fps == fps]
    lengths = [point.video_seconds for point in own]
    slope, start = np.polyfit(lengths, [point.seconds for point in own], 1)
    busy = [point.cpu_seconds for point in own if point.cpu_seconds is not None]
    peaks = [point.peak_bytes for point in own if point.peak_bytes is not None]
    return {
        "fps": fps,
        "seconds_per_video_second": float(slope),
        "seconds_to_start": float(start),
        "cpu_seconds_per_video_second": float(np.polyfit(lengths, busy, 1)[0]) if busy else None,
        "memory_growth": max(peaks) / min(peaks) if peaks else None,
    }


def check_ready(options: ScalingOptions) -> None:
    """Raises for the plot, the device or the checkpoint that ``run_scaling`` and ``draw`` would miss."""
    if options.plot:
        check_plot(Path(options.plot))
    load_model(options.checkpoint, options.device)


def check_plot(path: Path) -> None:
    """Whether ``draw`` will be able to, asked before the long runs; raises ``AvsegError`` if not."""
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in kinds:
        raise AvsegError(f"{path}: no picture format {path.suffix!r}; use one of {', '.join(sorted(kinds))}")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: the folder is not there; make it first")


# What is drawn: a point's figure, its heading, the unit of its axis and the figure's worth of that unit.
PANELS = (
    ("seconds", "Time", "seconds", 1),
    ("cpu_seconds", "Processor time", "seconds", 1),
    ("peak_bytes", "Peak memory", "MB", 1e6),
)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by all eyes (Okabe and Ito)
MARKS = "osD^vP"


def draw(report: dict[str, Any], path: Path) -> None:
    """Time and memory over length: measured points, and the straight line through those of each rate.

    Raises ``OutputError`` when the picture cannot be written.
    """
    from matplotlib.figure import Figure

    told = [panel for panel in PANELS if report["points"][0][panel[0]] is not None]
    figure = Figure(figsize=(4.2 * len(told), 3.6), layout="constrained")
    for panel, axes in zip(told, figure.subplots(1, len(told), squeeze=False)[0], strict=True):
        _draw_panel(axes, report["points"], *panel)
    with writing(path):
        write_whole(path, lambda partial: figure.savefig(partial, dpi=150, format=path.suffix.lstrip(".")))


def _draw_panel(axes: Axes, points: list[dict[str, Any]], name: str, heading: str, unit: str, worth: float) -> None:
    for index, fps in enumerate(dict.fromkeys(point["fps"] for point in points)):
        own = [point for point in points if point["fps"] == fps]
        lengths, values = [point["video_seconds"] for point in own], [point[name] / worth for point in own]
        slope, start = np.polyfit(lengths, values, 1)
        ends = np.array([0, max(lengths)])
        look = {"color": COLOURS[index % len(COLOURS)]}
        axes.plot(ends, start + slope * ends, lw=1.2, **look)
        label = f"--fps {fps:g}: {slope:+.2g} {unit} a second of video"
        axes.plot(lengths, values, MARKS[index % len(MARKS)], ms=6, clip_on=False, label=label, **look)
    highest = max(point[name] for point in points) / worth
    axes.set(xlabel="length of the video, seconds", ylabel=unit, xlim=(0, None), ylim=(0, 1.5 * highest))
    axes.set_title(heading, loc="left", weight="bold", size=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", frameon=False, fontsize=9, handletextpad=0.2)


def _segment(video: Path, fps: float, common: list[str]) -> tuple[float, float | None, int | None]:
    out = video.with_suffix(".json")
    options = ["-o", str(out), "--format", "json", "--fps", f"{fps:g}", "--overwrite"]
    return _run(["segment", str(video), *options, *common])


# Runs a command and tells its seconds, processor seconds and peak memory. A process of its own, and a small one:
# Linux counts what the parent held when it started a process towards that process's peak.
LAUNCHER = """
import os, sys, time
told = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
began = time.perf_counter()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds = time.perf_counter() - began
os.write(told, f"{seconds} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}".encode())
sys.exit(1 if status else 0)
"""


def _run(arguments: list[str]) -> tuple[float, float | None, int | None]:
    """Seconds, processor seconds and peak resident bytes of the command line with these arguments."""
    command = [sys.executable, "-m", "avseg_cli", *arguments]
    measured = hasattr(os, "wait4")  # not on Windows
    if measured:
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    start = perf_counter()
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    seconds = perf_counter() - start
    if ran.returncode:
        said = ran.stderr.strip().splitlines()
        raise AvsegError(f"`avseg {arguments[0]}` failed: {said[-1] if said else 'no message'}")
    if not measured:
        return seconds, None, None
    seconds, busy, peak = map(float, ran.stdout.split())
    return seconds, busy, int(peak) * (1 if sys.platform == "darwin" else 1024)
